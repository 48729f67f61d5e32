//! The store of counters that gateways share: a Redis or a Valkey.
//!
//! | what | where |
//! |---|---|
//! | the script: what a counter is, and what a lease does to it | `lease.lua`, `script` |
//! | periods of calendars, by the store's clock | `calendar` |
//! | what is known to be booked, for answers that are lost and stores without data | `ledger` |
//! | connections to one server, a cluster, or a primary that sentinels know | `connect` |
//! | one connection, kept, behind a circuit breaker | `link` |
//! | a call about one counter | `caller` |
//! | from the queue of counters to the store and back | `worker` |
//! | what metrics are told | `observe` |
//!
//! A gateway asks in advance: the store debits a lease, and requests are admitted from it without a round trip. Turned down,
//! with the figures that were measured: `docs/design/leases.md`.

mod calendar;
mod caller;
mod connect;
mod ledger;
mod link;
mod observe;
mod script;
#[cfg(test)]
#[path = "../tests/leases/server.rs"]
#[expect(dead_code, reason = "the integration tests use all of it")]
mod server;
mod worker;

pub use observe::{Observe, Outcome, State};
pub use script::MAX_AMOUNT;
pub use worker::{Clock, Leases};
