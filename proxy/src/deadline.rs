//! The deadlines of a request, and of the attempt that is running for it, behind one timer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use penstock_config::Timeouts;
use penstock_wire::ConnectionOptions;
use tokio::time::{Instant, Sleep};

use crate::error::Error;

/// When a request has to end, or its running attempt.
#[derive(Debug)]
pub(crate) struct Deadlines {
    request: Option<Instant>,
    attempt: Option<Instant>,
    stream_idle: Option<Duration>,
    upstream_read: Option<Duration>,
    upstream_write: Option<Duration>,
    is_answered: bool,
    last_activity: Instant,
    timer: Timer,
}

/// A timer that outlives its requests. It is registered once and moved only when it fires early, because activity pushes
/// deadlines out all the time, and so does the next request on a connection.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Resolves when `at` has come, or before: who is woken has to look at the clock, and poll again.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        // A timer that is due earlier than needed is left alone: it fires, finds that there is time left, and is moved
        // then. One that is due later has to be moved now.
        if timer.deadline() > at || timer.is_elapsed() {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx)
    }
}

impl Deadlines {
    /// Of a request for which nothing has been decided.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            request: None,
            attempt: None,
            stream_idle: None,
            upstream_read: None,
            upstream_write: None,
            is_answered: false,
            last_activity: now,
            timer: Timer::default(),
        }
    }
    /// Takes over the timer of the connection's last request.
    pub(crate) fn set_timer(&mut self, timer: Timer) {
        self.timer = timer;
    }

    /// Gives the timer back for the connection's next request.
    pub(crate) fn take_timer(&mut self) -> Timer {
        std::mem::take(&mut self.timer)
    }

    /// Sets when the request has to be over, whatever is tried for it.
    pub(crate) fn limit_request(&mut self, at: Option<Instant>) {
        self.request = at;
    }

    /// Whether the request has to be over.
    pub(crate) fn is_out_of_time(&self, now: Instant) -> bool {
        self.request.is_some_and(|at| at <= now)
    }

    /// Resolves when the request has to be over.
    pub(crate) fn out_of_time(&self) -> impl Future<Output = Error> + use<> {
        let at = self.request;
        async move {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
            Error::RequestTimeout
        }
    }

    /// Starts the clock of one attempt.
    pub(crate) fn start_attempt(&mut self, timeouts: &Timeouts, connection: &ConnectionOptions) {
        let now = Instant::now();
        self.attempt = timeouts.per_try.map(|limit| now + limit);
        self.stream_idle = timeouts.stream_idle;
        self.upstream_read = connection.read_timeout;
        self.upstream_write = connection.write_timeout;
        self.is_answered = false;
        self.last_activity = now;
    }

    /// Stops the clock of the attempt: what comes before the next one does not count against it.
    pub(crate) fn end_attempt(&mut self) {
        self.attempt = None;
        self.stream_idle = None;
        self.upstream_read = None;
        self.upstream_write = None;
    }

    /// Notes that the final response has begun: from here on silence counts, and not the whole attempt.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.is_answered = true;
        self.last_activity = now;
    }

    /// Notes that something came from the upstream.
    pub(crate) fn touch(&mut self, now: Instant) {
        self.last_activity = now;
    }

    /// The deadline that has passed, if one has. `stalled_since`: since when the upstream takes nothing.
    pub(crate) fn passed(&self, now: Instant, stalled_since: Option<Instant>) -> Option<Error> {
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_over(self.request) {
            return Some(Error::RequestTimeout);
        }
        let silent = |limit: Option<Duration>| is_over(limit.map(|limit| self.last_activity + limit));
        let is_stalled =
            is_over(self.upstream_write.and_then(|limit| stalled_since.map(|since| since + limit)));
        match self.is_answered {
            true if silent(self.stream_idle) => Some(Error::StreamIdle),
            true if silent(self.upstream_read) || is_stalled => Some(Error::StreamBroken(None)),
            false if is_over(self.attempt) => Some(Error::UpstreamTimeout),
            false if silent(self.upstream_read) || is_stalled => Some(Error::UpstreamReset(None)),
            _ => None,
        }
    }

    /// Resolves with the next deadline that passes.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, stalled_since: Option<Instant>) -> Poll<Error> {
        loop {
            let Some(at) = self.next(stalled_since) else { return Poll::Pending };
            std::task::ready!(self.timer.poll(cx, at));
            if let Some(error) = self.passed(Instant::now(), stalled_since) {
                return Poll::Ready(error);
            }
        }
    }

    fn next(&self, stalled_since: Option<Instant>) -> Option<Instant> {
        let after = |limit: Option<Duration>| limit.map(|limit| self.last_activity + limit);
        let attempt = if self.is_answered { after(self.stream_idle) } else { self.attempt };
        let write = self.upstream_write.and_then(|limit| stalled_since.map(|since| since + limit));
        [self.request, attempt, after(self.upstream_read), write].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use penstock_config::ConnectionSpec;

    use super::*;
    use crate::peers::options;

    const SECOND: Duration = Duration::from_secs(1);

    fn timeouts(per_try: Option<Duration>, stream_idle: Option<Duration>) -> Timeouts {
        Timeouts { request: None, per_try, stream_idle }
    }

    async fn expiry(deadlines: &mut Deadlines) -> (Duration, Error) {
        let start = Instant::now();
        let error = poll_fn(|cx| deadlines.poll(cx, None)).await;
        (start.elapsed(), error)
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_once_the_response_has_begun() {
        let mut deadlines = Deadlines::new(Instant::now());
        deadlines.start_attempt(
            &timeouts(Some(2 * SECOND), Some(3 * SECOND)),
            &options(&ConnectionSpec::default()),
        );
        let (after, error) = expiry(&mut deadlines).await;
        assert!(matches!((after.as_secs(), &error), (2, Error::UpstreamTimeout)), "{after:?}, {error}");
        deadlines.answered(Instant::now());
        tokio::time::advance(2 * SECOND).await;
        deadlines.touch(Instant::now());
        let (after, error) = expiry(&mut deadlines).await;
        assert!(matches!((after.as_secs(), &error), (3, Error::StreamIdle)), "{after:?}, {error}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_ends_over_all_its_attempts() {
        let mut deadlines = Deadlines::new(Instant::now());
        deadlines.limit_request(Some(Instant::now() + SECOND));
        for _ in 0..2 {
            deadlines.start_attempt(&timeouts(Some(9 * SECOND), None), &options(&ConnectionSpec::default()));
            deadlines.end_attempt();
        }
        let (after, error) = expiry(&mut deadlines).await;
        assert!(matches!((after.as_secs(), &error), (1, Error::RequestTimeout)), "{after:?}, {error}");
        assert!(deadlines.is_out_of_time(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_takes_nothing_is_given_up() {
        let mut deadlines = Deadlines::new(Instant::now());
        let connection = ConnectionSpec { write_timeout: Some(SECOND), ..ConnectionSpec::default() };
        deadlines.start_attempt(&timeouts(None, None), &options(&connection));
        let stalled = Some(Instant::now());
        let error = poll_fn(|cx| deadlines.poll(cx, stalled)).await;
        assert!(matches!(error, Error::UpstreamReset(None)), "{error}");
        assert!(deadlines.passed(Instant::now(), None).is_none(), "it takes again");
    }
}
