//! How much: limits on requests, tokens, money and what is in flight.

mod ask;
mod counter;
mod counters;
mod estimator;
mod expression;
mod holds;
mod key;
mod lease;
mod limiter;
mod matching;
mod prices;
mod rule;
mod standing;
mod window;

pub use ask::{Ask, Now, Usage};
pub use counters::Counters;
pub use estimator::Estimator;
pub use holds::{Holds, Seen, Settled, Spent};
pub use lease::{Granted, LeaseAsk, LeaseQueue, LeaseWait, LeaseWindow};
pub use limiter::{Limiter, Wants};
pub use prices::{PriceFor, Prices};
pub use standing::{CountKind, Denied, Standing, Stop, Unavailable};
