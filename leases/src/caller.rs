//! Calls about one counter, until the store has answered or it is clear that it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use penstock_config::Window;
use penstock_policies::limits::LeaseWindow;
use redis::{ErrorKind, RedisError, ServerErrorKind};
use tokio::time::timeout;

use crate::calendar;
use crate::connect::Connection;
use crate::ledger::{Counter, Ledger, Told};
use crate::link::Link;
use crate::script::{Answer, Booked, Call, Frame, Lent};

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
        if !matches!(answer, Ok(Ok(_))) {
            self.ledger.give_up(wish.key);
        }
        answer.unwrap_or_else(|_| Err(if link.is_away() { Failure::Away } else { Failure::Deadline }))
    }

    /// Tells a store that is back what is booked, of the counters that nobody asks about at the moment: what it lost is
    /// booked again before others are lent it, and what it did without being heard is undone.
    pub(crate) async fn tell_again(&self, link: &Link) {
        for (key, window, amount) in self.ledger.to_tell() {
            let nothing =
                Wish { key: &key, window: &window, amount, need: 0, want: 0, debt: 0, give_back: 0, keep: 0 };
            if self.lend(&nothing, link).await.is_err() && link.is_away() {
                return;
            }
        }
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
            let call = self.fill(wish, frame, sequence, store_now);
            let told = Told { sequence, debt: call.debt, give_back: call.give_back };
            match answer(&call, link, &mut connection).await? {
                Answer::Lent(lent) => {
                    self.ledger.close(wish.key, frame, told, &lent);
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

    fn fill<'a>(&'a self, wish: &Wish<'a>, frame: Frame, sequence: u64, store_now: u64) -> Call<'a> {
        let counter = Counter { key: wish.key, window: wish.window, amount: wish.amount };
        let booked = self.ledger.open(counter, frame, sequence, store_now);
        // What runs at a time is told as a whole.
        let (give_back, debt, booked) = match frame {
            Frame::Now => (0, 0, Booked { amount: wish.keep, ..booked }),
            _ => (wish.give_back, wish.debt, booked),
        };
        Call {
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
        }
    }
}

/// One call of the script, which is loaded where the server does not have it.
async fn answer(call: &Call<'_>, link: &Link, connection: &mut Connection) -> Result<Answer, Failure> {
    let command = call.command(&link.script, &link.store.redis.key_prefix);
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
