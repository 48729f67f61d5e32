//! A run: threads that send, the clock that tells them when, and what it all comes to.
//!
//! Each thread has a single-threaded runtime, its own connections and its own record, so that they share no more
//! than a few counters; a work-stealing runtime would spend on locks what the measurement needs. The times of an
//! open loop are kept by a thread that sleeps in the kernel, which is exact to some 60 µs, where tokio's timer
//! wheel knows milliseconds only.

use std::{
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    runtime,
    sync::{Semaphore, mpsc},
    task::LocalSet,
    time::Instant,
};

use super::{
    Error,
    arrival::Arrivals,
    client::Client,
    plan::{Mode, Plan, Times},
    progress::ProgressLine,
    record::Recorder,
    resources::{UsageSnapshot, UsageWindow},
    series::Series,
    shared::{Phase, Shared},
};
use crate::report::schema::{LOAD_SCHEMA, Report, Results, Second, Settings};

/// Arrivals that wait for one thread at most; beyond that the generator is hopelessly late, and says so.
const MAX_BEHIND: usize = 1 << 16;
/// How often the controlling thread looks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// One arrival of an open loop.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    number: u64,
    intended: Instant,
    is_measured: bool,
}

/// What a thread sends.
enum RequestSource {
    Closed { users: usize },
    Open { arrivals: mpsc::Receiver<Arrival>, max_in_flight: Option<usize> },
}

/// Runs to the end. Blocks the calling thread.
pub(super) fn run(plan: Plan, settings: Settings) -> Result<(Report, Recorder), Error> {
    let started_at_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let shared = Arc::new(Shared::new(plan));
    let (sources, clock) = sources(&shared);
    let threads: Vec<_> = sources
        .into_iter()
        .map(|source| {
            let shared = shared.clone();
            thread::Builder::new().name("load".to_owned()).spawn(move || send(&shared, source))
        })
        .collect::<Result<_, _>>()
        .map_err(Error::Thread)?;
    let clock = clock
        .map(|keep| thread::Builder::new().name("clock".to_owned()).spawn(keep))
        .transpose()
        .map_err(Error::Thread)?;

    let is_over = || threads.iter().all(thread::JoinHandle::is_finished);
    let (series, window) = watch(&shared, &is_over)?;
    let mut recorder = Recorder::new(shared.began, shared.plan.slo, shared.plan.keeps_rows);
    for thread in threads {
        recorder.merge(thread.join().map_err(|_| Error::Panicked)??);
    }
    if let Some(clock) = clock {
        clock.join().map_err(|_| Error::Panicked)?;
    }
    let results = results(&shared, &recorder, &series);
    let report = Report {
        schema: LOAD_SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at_unix_s,
        settings,
        results,
        process: window.process(&shared),
        generator: window.generator(&shared, &recorder),
        series: with_latencies(series, &recorder),
    };
    Ok((report, recorder))
}

/// One feed a thread, and the clock that fills them.
fn sources(shared: &Arc<Shared>) -> (Vec<RequestSource>, Option<impl FnOnce() + Send + 'static + use<>>) {
    let threads = shared.plan.threads;
    let share = |total: usize, index: usize| total / threads + usize::from(index < total % threads);
    match shared.plan.mode {
        Mode::Closed { concurrency } => {
            let sources = (0..threads)
                .map(|index| RequestSource::Closed { users: share(concurrency, index) })
                .filter(|source| !matches!(source, RequestSource::Closed { users: 0 }))
                .collect();
            (sources, None)
        }
        Mode::Open { times, max_concurrency } => {
            let threads = threads.min(max_concurrency.unwrap_or(usize::MAX));
            let (senders, sources) = (0..threads)
                .map(|index| {
                    let (sender, arrivals) = mpsc::channel(MAX_BEHIND);
                    let max_in_flight =
                        max_concurrency.map(|max| max / threads + usize::from(index < max % threads));
                    (sender, RequestSource::Open { arrivals, max_in_flight })
                })
                .unzip();
            let shared = shared.clone();
            (sources, Some(move || keep_time(&shared, times, senders)))
        }
    }
}

/// Hands out arrivals when they are due, until the run is over.
#[expect(clippy::needless_pass_by_value, reason = "the feeds end when their senders are dropped here")]
fn keep_time(shared: &Shared, times: Times, sources: Vec<mpsc::Sender<Arrival>>) {
    let mut process = match times {
        Times::Process(rate, spacing) => Some(Arrivals::new(rate, spacing, shared.plan.workload.seed)),
        Times::Trace => None,
    };
    loop {
        let number = shared.take_number();
        let at = match &mut process {
            Some(arrivals) => arrivals.next(),
            None => shared.plan.workload.due(number),
        };
        let Some(intended) = at.and_then(|at| shared.began.checked_add(at)) else { return };
        let is_measured = intended >= shared.window_start();
        let is_over = shared.plan.workload.is_over(number)
            || shared.window_end().is_some_and(|end| intended >= end)
            || (is_measured && !shared.may_measure());
        if is_over {
            return;
        }
        if !sleep_until(shared, intended) {
            return;
        }
        let arrival = Arrival { number, intended, is_measured };
        let source = &sources[usize::try_from(number).unwrap_or(0) % sources.len()];
        // Where the feed is full this waits, and what comes behind is late, which its latency shows.
        if source.blocking_send(arrival).is_err() {
            return;
        }
    }
}

/// Whether the run still goes on then.
#[expect(
    clippy::disallowed_methods,
    reason = "this thread has no other task, and tokio's timer is too coarse"
)]
fn sleep_until(shared: &Shared, until: Instant) -> bool {
    loop {
        if matches!(shared.phase(), Phase::Draining | Phase::Cutting) {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(POLL_INTERVAL));
    }
}

/// What a thread does.
fn send(shared: &Arc<Shared>, source: RequestSource) -> Result<Recorder, Error> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
    let client = Rc::new(Client::new(shared.clone()));
    let local = LocalSet::new();
    match source {
        RequestSource::Closed { users } => {
            for _ in 0..users {
                local.spawn_local(closed_loop_user(shared.clone(), client.clone()));
            }
        }
        RequestSource::Open { arrivals, max_in_flight } => {
            local.spawn_local(open_loop(shared.clone(), client.clone(), arrivals, max_in_flight));
        }
    }
    runtime.block_on(local);
    Rc::into_inner(client).map(Client::into_record).ok_or(Error::Panicked)
}

/// A user of a closed loop.
async fn closed_loop_user(shared: Arc<Shared>, client: Rc<Client>) {
    tokio::time::sleep_until(shared.began).await;
    loop {
        let phase = shared.phase();
        let is_measured = phase == Phase::Measuring;
        if matches!(phase, Phase::Draining | Phase::Cutting) || (is_measured && !shared.may_measure()) {
            return;
        }
        let number = shared.take_number();
        if shared.plan.workload.is_over(number) {
            return;
        }
        client.converse(number, Instant::now(), is_measured).await;
    }
}

/// All users of an open loop.
async fn open_loop(
    shared: Arc<Shared>,
    client: Rc<Client>,
    mut arrivals: mpsc::Receiver<Arrival>,
    max_in_flight: Option<usize>,
) {
    let permits = max_in_flight.map(|max| Arc::new(Semaphore::new(max)));
    while let Some(Arrival { number, intended, is_measured }) = arrivals.recv().await {
        // Later ones of the same users would only find the same queue, and a run must end.
        if intended.elapsed() > shared.plan.timeout {
            client.not_sent(intended, is_measured);
            continue;
        }
        let (client, permits) = (client.clone(), permits.clone());
        tokio::task::spawn_local(async move {
            let _permit = match permits {
                None => None,
                Some(permits) => permits.acquire_owned().await.ok(),
            };
            client.converse(number, intended, is_measured).await;
        });
    }
}

/// Goes through the phases until all threads have ended, and writes down what it sees on the way.
fn watch(shared: &Shared, is_over: &dyn Fn() -> bool) -> Result<(Vec<Second>, UsageWindow), Error> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
    runtime.block_on(async {
        let progress = ProgressLine::new(&shared.plan);
        let mut series = Series::new(shared);
        tokio::time::sleep_until(shared.window_start()).await;
        series.catch_up(shared);
        shared.enter(Phase::Measuring);
        let from = UsageSnapshot::now(&shared.plan.accounts);
        let mut to = None;
        while !is_over() {
            let now = Instant::now();
            series.catch_up(shared);
            progress.show(shared);
            if let Some(end) = shared.window_end().filter(|_| to.is_none()) {
                if now >= end {
                    to = Some(UsageSnapshot::now(&shared.plan.accounts));
                    shared.enter(if shared.plan.cuts { Phase::Cutting } else { Phase::Draining });
                }
                tokio::time::sleep_until(end.max(now).min(now + POLL_INTERVAL)).await;
            } else {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        let to = to.unwrap_or_else(|| UsageSnapshot::now(&shared.plan.accounts));
        series.finish(shared);
        progress.finish();
        Ok((series.seconds, UsageWindow { from, to }))
    })
}

fn results(shared: &Shared, recorder: &Recorder, series: &[Second]) -> Results {
    let from = shared.window_start();
    let end = recorder.last_end.unwrap_or(from);
    // Answers that come after the end belong to the run, as in vLLM's benchmark.
    let duration_s = match shared.window_end() {
        Some(planned) if !shared.plan.cuts => end.max(planned) - from,
        Some(planned) => planned - from,
        None => end.saturating_duration_since(from),
    }
    .as_secs_f64();
    let rate = |count: u64| if duration_s > 0.0 { count as f64 / duration_s } else { 0.0 };
    let errors = recorder.errors();
    Results {
        duration_s,
        completed: recorder.completed,
        failed: errors.iter().map(|error| error.count).sum(),
        cut: recorder.cut,
        resent: recorder.resent,
        errors,
        input_tokens: recorder.input_tokens,
        output_tokens: recorder.output_tokens,
        request_throughput: rate(recorder.completed),
        goodput: shared.plan.slo.is_set().then(|| rate(recorder.good)),
        output_throughput: rate(recorder.output_tokens),
        peak_output_throughput: series.iter().map(|second| second.tokens).max().unwrap_or(0) as f64,
        peak_concurrency: shared.counters.peak_in_flight.load(Relaxed),
        ttft: recorder.ttft.summary(),
        tpot: recorder.tpot.summary(),
        itl: recorder.itl.summary(),
        e2e: recorder.e2e.summary(),
    }
}

fn with_latencies(mut series: Vec<Second>, recorder: &Recorder) -> Vec<Second> {
    for (index, second) in series.iter_mut().enumerate() {
        (second.mean_ms, second.max_ms) = recorder.latency_in(index);
    }
    series
}
