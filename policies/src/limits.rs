//! How much: limits on requests, tokens, money and what is in flight.
//!
//! A request **reserves** before it is served and **settles** after. A limit counts what is used over its window; beside that
//! it knows what requests hold that are under way, and admits one if `used + held + hold <= amount`. When the request ends,
//! in whatever way, what it used is counted in the place of what it held.
//!
//! | what | where |
//! |---|---|
//! | one policy's limits, and how a request passes all of them or none | `limiter`, `rule` |
//! | which requests a limit is for, and which counter is theirs | `matching`, `key` |
//! | what a request is expected to take | `estimator` |
//! | what it holds until it is settled, while it streams, and when nobody settles it | `holds` |
//! | the table of counters, and one of them | `counters`, `counter` |
//! | what counts as used over a window | `window`, with calendars in `window/calendar` |
//! | counters that gateways share, and what they ask of the store | `lease`, with its state machine in `lease/state` |
//! | what tokens cost, and what expressions make of them | `prices`, `expression` |
//! | what clients and logs are told | `standing` |
//!
//! **What is held** is what a request is expected to take: its prompt by the bytes that a token of the model has, and of the
//! answer what 19 of 20 such answers have, but no more than it allows and, together, no more than half of the amount. So a
//! request that may take much, and seldom does, does not starve a budget. It may take more than it holds; what a limit is
//! exceeded by is bounded by that, and by nothing else:
//!
//! > used ≤ amount + Σ over requests of max(0, used − held)
//!
//! Where streams are cut, one that has used up what it holds holds more, or ends; then it is exceeded by what a piece of
//! each stream brings. Debt is not forgiven: a bucket goes below empty, and is filled from there.
//!
//! **Shared counters** admit from leases. The store debits them in advance, so that whatever gateways use was taken off what
//! is left before. `docs/design/limits.md` has the bounds with their reasons, and what was turned down.
//!
//! Nothing here does I/O, waits or reads a clock: callers say what time it is ([`Now`]), and somebody else carries what
//! shared counters ask ([`LeaseQueue`]) to the store.

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
#[cfg(test)]
mod testing;
mod window;

pub use ask::{Ask, Now, Usage};
pub use counters::Counters;
pub use estimator::Estimator;
pub use holds::{Holds, Seen, Settled, Spent};
pub use lease::{Granted, LeaseAsk, LeaseQueue, LeaseWait, LeaseWindow, is_common};
pub use limiter::{Limiter, Wants};
pub(crate) use matching::is_text_met;
pub use prices::{PriceFor, Prices};
pub use standing::{CountKind, Denied, LimitName, Standing, Stop, Unavailable};

#[cfg(test)]
mod tests;
