//! Calls about one counter, until the store has answered or it is clear that it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::{self, StreamExt as _};
use penstock_config::Window;
use penstock_policies::limits::LeaseWindow;
use redis::{ErrorKind, RedisError, ServerErrorKind};
use tokio::time::timeout;

use crate::calendar;
use crate::connect::Connection;
use crate::ledger::{Counter, Ledger, Told};
use crate::link::Link;
use crate::script::{Answer, Booked, Call, Frame, Lent};

/// How many counters a store that is back is told of at a time.
const TOLD_AT_A_TIME: usize = 64;

/// Who calls: this gateway, and this start of it.
pub(crate) struct Caller {
    holder: String,
    sequence: AtomicU64,
    ledger: Ledger,
}

/// What a counter wants of the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The counter.
    pub(crate) key: &'a Arc<str>,
    /// Over what time it counts.
    pub(crate) window: &'a LeaseWindow,
    /// The most.
    pub(crate) amount: u64,
    /// What somebody waits for.
    pub(crate) need: u64,
    /// What would be useful.
    pub(crate) want: u64,
    /// Used beyond what was lent.
    pub(crate) debt: u64,
    /// Lent, and not used.
    pub(crate) give_back: u64,
    /// Of what runs at a time: all that the gateway has and keeps.
    pub(crate) keep: u64,
    /// Whether it only tells what is booked. Where another call is under way, that one does.
    pub(crate) is_reminder: bool,
    /// Whether it was told before, without an answer.
    pub(crate) is_repeated: bool,
}

/// Why a lease was not had.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store is away, and was not asked.
    Away,
    /// No answer in time.
    Deadline,
    /// The store refused the call, or the connection broke.
    Redis(RedisError),
    /// There is no such period.
    Calendar,
    /// A reminder that another call makes needless.
    Told,
}

/// A call that is under way: whoever gives it up by dropping it does not know what becomes of it.
struct Open<'a> {
    ledger: &'a Ledger,
    key: &'a Arc<str>,
    is_answered: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.ledger.give_up(self.key);
        }
    }
}

impl Default for Caller {
    fn default() -> Self {
        let holder = format!("{:016x}", fastrand::u64(..));
        Self { holder, sequence: AtomicU64::new(1), ledger: Ledger::default() }
    }
}

impl Caller {
    /// Asks the store, within its deadline.
    ///
    /// # Errors
    /// There is no answer. Whether the call was executed is not known then: the next one about the counter settles it.
    pub(crate) async fn lend(&self, wish: &Wish<'_>, link: &Link) -> Result<Lent, Failure> {
        let answer = timeout(link.store.redis.deadline, self.ask(wish, link)).await;
        answer.unwrap_or_else(|_| Err(if link.is_away() { Failure::Away } else { Failure::Deadline }))
    }

    /// Tells a store that is back what is booked, of the counters that nobody asks about at the moment: what it lost is
    /// booked again before others are lent it, and what it did without being heard is undone.
    pub(crate) async fn tell_again(&self, link: &Link) {
        let tell = |(key, window, amount): (Arc<str>, LeaseWindow, u64)| async move {
            let (key, window) = (&key, &window);
            let (need, want, debt, give_back, keep) = (0, 0, 0, 0, 0);
            let (is_reminder, is_repeated) = (true, false);
            let nothing =
                Wish { key, window, amount, need, want, debt, give_back, keep, is_reminder, is_repeated };
            if !link.is_away() {
                self.lend(&nothing, link).await.ok();
            }
        };
        stream::iter(self.ledger.to_tell()).for_each_concurrent(TOLD_AT_A_TIME, tell).await;
    }

    /// Forgets what does not matter any more at this time of the store; says how many counters are left.
    pub(crate) fn sweep(&self, store_now: u64) -> usize {
        self.ledger.sweep(store_now)
    }

    async fn ask(&self, wish: &Wish<'_>, link: &Link) -> Result<Lent, Failure> {
        let mut connection = link.connection().await.map_err(|_| Failure::Away)?;
        let mut store_now = link.now();
        // A clock here that is wrong by more than a period is found out by the first answer.
        for _ in 0..2 {
            let frame = frame_of(wish.window, store_now).ok_or(Failure::Calendar)?;
            let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
            let call = self.fill(wish, frame, sequence, store_now).ok_or(Failure::Told)?;
            let mut open = Open { ledger: &self.ledger, key: wish.key, is_answered: false };
            let told = Told { sequence, debt: call.debt, give_back: call.give_back };
            match answer(&call, link, &mut connection).await? {
                Answer::Lent(lent) => {
                    self.ledger.close(wish.key, frame, told, &lent);
                    open.is_answered = true;
                    link.answered(lent.now);
                    return Ok(lent);
                }
                Answer::Outside(now) => {
                    link.answered(now);
                    store_now = now;
                }
                Answer::Stale => return Err(Failure::Deadline),
            }
        }
        Err(Failure::Calendar)
    }

    fn fill<'a>(&'a self, wish: &Wish<'a>, frame: Frame, sequence: u64, store_now: u64) -> Option<Call<'a>> {
        let Wish { key, window, amount, is_reminder, .. } = *wish;
        let counter = Counter { key, window, amount, is_reminder };
        let booked = self.ledger.open(counter, frame, sequence, store_now)?;
        // What runs at a time is told as a whole.
        let (give_back, debt, booked) = match frame {
            Frame::Now => (0, 0, Booked { amount: wish.keep, ..booked }),
            // The store may have it already, and nobody knows from when on it would have to be undone.
            _ if wish.is_repeated && !self.ledger.remembers(key) => (0, wish.debt, booked),
            _ => (wish.give_back, wish.debt, booked),
        };
        Some(Call {
            key: wish.key,
            holder: &self.holder,
            sequence,
            frame,
            amount: wish.amount,
            need: wish.need,
            want: wish.want,
            give_back,
            debt,
            booked,
        })
    }
}

/// One call of the script, which is loaded where the server does not have it.
async fn answer(call: &Call<'_>, link: &Link, connection: &mut Connection) -> Result<Answer, Failure> {
    let command = call.command(&link.script, &link.store.redis);
    match command.query_async(connection).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            link.script.load_async(connection).await.map_err(Failure::Redis)?;
            command.query_async(connection).await.map_err(Failure::Redis)
        }
        other => other.map_err(Failure::Redis),
    }
}

fn frame_of(window: &LeaseWindow, store_now: u64) -> Option<Frame> {
    Some(match window {
        LeaseWindow::Concurrency | LeaseWindow::Window(Window::Now) => Frame::Now,
        LeaseWindow::Window(Window::TokenBucket(length)) => Frame::Bucket(*length),
        LeaseWindow::Window(Window::Sliding(length)) => Frame::Sliding(*length),
        LeaseWindow::Window(Window::Fixed(length)) => Frame::Fixed(*length),
        LeaseWindow::Window(Window::Calendar { period, zone }) => calendar::frame(*period, zone, store_now)?,
    })
}
