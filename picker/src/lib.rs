//! Chooses the endpoint of an inference pool.
//!
//! The picker runs inside the proxy, so a decision costs nanoseconds to microseconds instead of a round trip to a
//! separate scheduler. It knows no HTTP server and no Kubernetes: it is told which pools exist
//! ([`Picker::apply`]), scrapes the load of their endpoints by itself, and answers [`Pool::pick`].
//!
//! The way through the crate is the way of a pick:
//!
//! | step | module |
//! |---|---|
//! | what is asked, and how it can fail | `request` |
//! | may this request be served now, or must it wait | `pool`, `saturation`, `queue` |
//! | what is known about each endpoint | `endpoint`, `load` |
//! | which prompt blocks are where | `prefix` |
//! | filters, scorers and the final choice | `profile`, `scorer` |
//! | what was sent and how it ended | `endpoint` |
//!
//! Scraping (`scrape`), reading a metrics page of each engine (`engine`) and load reports in responses (`orca`)
//! feed the endpoints from the side.
//!
//! No module refers to one that refers back to it: `picker` → `pool` → `profile` → `scorer` → `endpoint` → `load`,
//! with `scrape` between `pool` and `endpoint`.

pub mod engine;
pub mod orca;
pub mod prefix;
pub mod scrape;

mod clock;
mod endpoint;
mod endpoint_id;
mod failure;
mod load;
mod picker;
mod pool;
mod profile;
mod queue;
mod random;
mod request;
mod saturation;
mod scorer;
mod session;

/// What a simulation of gateways needs besides pools: time, chance and scraping that it drives itself.
pub mod simulation {
    pub use crate::{
        clock::ManualClock,
        random::seed_thread,
        scrape::pace::{Budget, Pace, Pause, ScrapeOutcome, jittered},
    };
}

pub use crate::endpoint::{Endpoint, ErrorKind, InFlight, Mark, Outcome, ScrapeCounters};
pub use crate::endpoint_id::EndpointId;
pub use crate::failure::{Failures, LastFailure, MAX_CAUSE_BYTES};
pub use crate::load::{EngineCount, LoadSample, LoraState};
pub use crate::picker::{Applied, ApplyError, Picker};
pub use crate::pool::{
    EffectiveLoad, EjectionState, EndpointReport, ExplainedEndpoint, Explanation, Picked, Pool, PoolReport,
    ScrapedReport,
};
pub use crate::profile::EpcCheck;
pub use crate::request::{PickError, PickRequest};
pub use crate::scrape::Shows;
