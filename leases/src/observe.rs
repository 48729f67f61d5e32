//! What the store's state and calls are told to: the gateway's metrics.

use std::time::Duration;

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A lease was granted, or none was asked for.
    Granted,
    /// What was needed is not left.
    Nothing,
    /// No answer within the deadline.
    Deadline,
    /// The store refused the call, or the connection broke.
    Failed,
    /// The store was known to be away, and was not asked.
    Away,
}

/// How the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// There is none.
    #[default]
    None,
    /// It is asked.
    Closed,
    /// It is away, and tried again at the moment.
    HalfOpen,
    /// It is away, and not asked.
    Open,
}

/// Is told of the store. Called on the path of leases: it does not wait.
pub trait Observe: Send + Sync + 'static {
    /// A call is over, after this time.
    fn called(&self, outcome: Outcome, took: Duration);
    /// The store is in this state now.
    fn state(&self, state: State);
    /// So many counters have something of the store.
    fn counters(&self, count: usize);
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Granted, Self::Nothing, Self::Deadline, Self::Failed, Self::Away];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Nothing => "nothing",
            Self::Deadline => "deadline",
            Self::Failed => "failed",
            Self::Away => "away",
        }
    }
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Closed, Self::HalfOpen, Self::Open];

    /// Its name in metrics: that of a circuit breaker's state.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}
