//! The script that a lease is one call of, what it is called with, and what it answers.

use std::time::Duration;

use penstock_config::{Period, RedisSpec};
use penstock_policies::limits::is_common;
use redis::{Cmd, FromRedisValue, Script};

#[cfg(test)]
mod tests;

/// The script's text.
pub(crate) const TEXT: &str = include_str!("lease.lua");

/// The most that a counter holds: numbers of Lua are exact up to here.
pub const MAX_AMOUNT: u64 = (1 << 53) - 1;

/// After how long a holder that is not heard of has what runs at a time no more.
pub(crate) const CONCURRENCY_PATIENCE: Duration = Duration::from_secs(10);

/// After how long a holder that is not heard of is no more counted among those who share.
const PATIENCE: Duration = Duration::from_secs(60);

/// After how long a holder that is not heard of is forgotten: what it had no answer to can be undone until then. Each start of
/// a gateway is another holder, of which a counter that is in use for a year would otherwise keep all.
const MEMORY: Duration = Duration::from_hours(24);

/// Over what time a counter counts, as the script knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Frame {
    /// A bucket that is filled in this time.
    Bucket(Duration),
    /// Any stretch of this length.
    Sliding(Duration),
    /// Stretches of this length from 1970 on.
    Fixed(Duration),
    /// A period of the calendar and the one after it, in microseconds since 1970.
    Calendar {
        /// Which.
        period: Period,
        /// When it begins.
        begins: u64,
        /// When it ends, and the next begins.
        ends: u64,
        /// When the next ends.
        next_ends: u64,
    },
    /// At a time.
    Now,
}

/// What a holder knows to be booked for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Booked {
    /// The last call that was answered; where what became of all is known, the one before the call that tells it.
    pub(crate) acknowledged: u64,
    /// The window of the last answer.
    pub(crate) window: u64,
    /// The counter's birth: another one has lost what was counted.
    pub(crate) birth: u64,
    /// How much, in that window.
    pub(crate) amount: u64,
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The counter.
    pub(crate) key: &'a str,
    /// The gateway, and its start.
    pub(crate) holder: &'a str,
    /// Greater than that of any call before.
    pub(crate) sequence: u64,
    /// Over what time.
    pub(crate) frame: Frame,
    /// The limit.
    pub(crate) amount: u64,
    /// The least that is of use.
    pub(crate) need: u64,
    /// The most that is of use.
    pub(crate) want: u64,
    /// What is not needed of what was lent in `booked`'s window.
    pub(crate) give_back: u64,
    /// What was used beyond what was lent.
    pub(crate) debt: u64,
    /// What is booked.
    pub(crate) booked: Booked,
}

/// What the store said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is booked.
    Lent(Lent),
    /// A later call was there before.
    Stale,
    /// It is neither the period that the call names nor the next by the store's clock, which says this, in microseconds.
    Outside(u64),
}

/// What was lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lent {
    /// How much. Nothing, where what was needed is not there.
    pub(crate) lease: u64,
    /// What is left to others and for later.
    pub(crate) left: u64,
    /// How long it is good for.
    pub(crate) good_for: Duration,
    /// The window it is booked in.
    pub(crate) window: u64,
    /// The counter's birth.
    pub(crate) birth: u64,
    /// The store's time, in microseconds since 1970.
    pub(crate) now: u64,
    /// How many share the counter.
    pub(crate) holders: u64,
    /// After how long there may be what was needed and is not there; `None` if the window has to end.
    pub(crate) wait: Option<Duration>,
}

impl Frame {
    /// What stands in a counter's key: another frame is another counter.
    pub(crate) fn tag(&self) -> String {
        match self {
            Self::Bucket(length) => format!("b{}", length.as_micros()),
            Self::Sliding(length) => format!("s{}", length.as_micros()),
            Self::Fixed(length) => format!("f{}", length.as_micros()),
            Self::Calendar { period, .. } => format!("c{}", letter(*period)),
            Self::Now => "n".to_owned(),
        }
    }

    /// Its name, and its length in microseconds.
    fn name(&self) -> (&'static str, u128) {
        match self {
            Self::Bucket(length) => ("bucket", length.as_micros()),
            Self::Sliding(length) => ("sliding", length.as_micros()),
            Self::Fixed(length) => ("fixed", length.as_micros()),
            Self::Calendar { .. } => ("calendar", 0),
            Self::Now => ("now", 0),
        }
    }

    fn patience(&self) -> Duration {
        if *self == Self::Now { CONCURRENCY_PATIENCE } else { PATIENCE }
    }

    fn memory(&self) -> Duration {
        if *self == Self::Now { CONCURRENCY_PATIENCE } else { MEMORY }
    }
}

fn letter(period: Period) -> char {
    match period {
        Period::Hour => 'h',
        Period::Day => 'd',
        Period::Week { from_sunday: false } => 'w',
        Period::Week { from_sunday: true } => 's',
        Period::Month => 'm',
        Period::Year => 'y',
    }
}

impl Call<'_> {
    /// The command that calls `script`, which the server has to know. Both keys of a counter are in one slot of a cluster.
    pub(crate) fn command(&self, script: &Script, store: &RedisSpec) -> Cmd {
        let mut counter = store.key_prefix.to_string();
        if let Some(scope) = store.scope.as_ref().filter(|_| !is_common(self.key)) {
            counter = format!("{counter}:{scope}");
        }
        counter = format!("{counter}:{{{}}}:{}", self.key, self.frame.tag());
        let (kind, length) = self.frame.name();
        let (begins, ends, next_ends) = match self.frame {
            Frame::Calendar { begins, ends, next_ends, .. } => (begins, ends, next_ends),
            _ => (0, 0, 0),
        };
        let mut command = redis::cmd("EVALSHA");
        command.arg(script.get_hash()).arg(2).arg(&counter).arg(format!("{counter}:h"));
        command.arg(self.holder).arg(self.sequence).arg(self.booked.acknowledged).arg(kind);
        for number in [self.amount, u64::try_from(length).unwrap_or(u64::MAX), self.need, self.want] {
            command.arg(number.min(MAX_AMOUNT));
        }
        let booked = &self.booked;
        for number in [self.give_back, self.debt, booked.window, booked.birth, booked.amount] {
            command.arg(number.min(MAX_AMOUNT));
        }
        for time in [self.frame.patience(), self.frame.memory()] {
            command.arg(u64::try_from(time.as_micros()).unwrap_or(MAX_AMOUNT));
        }
        command.arg(begins).arg(ends).arg(next_ends);
        command
    }
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: redis::Value) -> Result<Self, redis::ParsingError> {
        let (status, lease, left, good_for, window, birth, now, holders, wait) =
            <(String, u64, u64, u64, u64, u64, u64, u64, u64)>::from_redis_value(value)?;
        match status.as_str() {
            "ok" => {
                let good_for = Duration::from_micros(good_for);
                let wait = (wait > 0).then(|| Duration::from_micros(wait));
                Ok(Self::Lent(Lent { lease, left, good_for, window, birth, now, holders, wait }))
            }
            "stale" => Ok(Self::Stale),
            "outside" => Ok(Self::Outside(now)),
            other => Err(format!("the script answered {other:?}").into()),
        }
    }
}
