//! Policies: how a gateway chooses a server.
//!
//! | policy | what decides |
//! |---|---|
//! | `random`, `round-robin`, `least-request`, `p2c` | nothing, turns, requests in flight, those of two at random |
//! | `consistent-hash` | the prompt's head by consistent hashing with bounded loads (Mirrokni et al. 2018), as KubeAI has it |
//! | `lmetric` | new prompt tokens × batch size (arXiv 2603.15202) |
//! | `dualmap` | two candidates by the prompt's head, the better cached unless it misses the SLO (arXiv 2602.06502) |
//! | `epp-default`, `walkthrough` | the real picker with the weights of the reference endpoint picker, scraped every 50 ms and never corrected, as that has it |
//! | `penstock` | the real picker as it is: its default profile, its adaptive scraping, its correction |

mod picker;
mod rule;
mod sent_load;

use std::time::Duration;

use penstock_picker::simulation::ManualClock;

pub(crate) use self::picker::Profile;
use self::{picker::PickerPolicy, rule::RulePolicy};
use super::server::Gauges;

/// Time between two scrapes of the reference endpoint picker.
const EPP_INTERVAL: Duration = Duration::from_millis(50);

/// What a gateway is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoutingRequest<'a> {
    /// The request, for what is told of it later.
    pub(crate) id: usize,
    /// Hashes of the prompt's full blocks.
    pub(crate) hashes: &'a [u64],
    pub(crate) prompt_tokens: u32,
}

/// How a gateway learns of the servers' load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scraping {
    /// Not at all.
    Never,
    /// At a fixed interval.
    Every(Duration),
    /// As the picker does: between these two intervals.
    Adaptive(Duration, Duration),
}

/// Chooses servers, for one gateway.
pub(crate) trait Policy: Send {
    /// The server for a request; `None` if it is refused.
    fn pick(&mut self, request: &RoutingRequest<'_>) -> Option<usize>;
    /// The answer to a request began.
    fn first_token(&mut self, id: usize);
    /// The answer to a request ended.
    fn finished(&mut self, id: usize);
    /// A metrics page is asked for. Returns whether requests of this gateway are at the server.
    fn scrape_began(&mut self, server: usize) -> bool;
    /// The page that was asked for last came.
    fn scrape_ended(&mut self, server: usize, gauges: Gauges);
    /// These servers are there from now on.
    fn set_members(&mut self, servers: &[usize]);
    /// How it learns of load.
    fn scraping_mode(&self) -> Scraping;
}

/// What a policy is made from.
#[derive(Debug, Clone)]
pub(crate) struct PolicyConfig {
    /// The simulation's clock.
    pub(crate) clock: ManualClock,
    pub(crate) seed: u64,
    /// Blocks that a server's cache holds.
    pub(crate) blocks: usize,
    /// Time of a prompt token, for policies that are told.
    pub(crate) token_ns: f64,
    /// Time to the first token that is promised, for policies that go by it.
    pub(crate) slo_ttft_ns: f64,
    /// Gateways that there are.
    pub(crate) replicas: u32,
}

/// There is no policy of that name.
#[derive(Debug, thiserror::Error)]
#[error("no policy is called {0}; there are {known}", known = NAMES.join(", "))]
pub struct UnknownPolicy(String);

/// All policies, in the order of the table.
pub(super) const NAMES: [&str; 10] = [
    "random",
    "round-robin",
    "least-request",
    "p2c",
    "epp-default",
    "walkthrough",
    "consistent-hash",
    "lmetric",
    "dualmap",
    "penstock",
];

/// The policy of that name for one gateway.
pub(crate) fn make(name: &str, config: &PolicyConfig) -> Result<Box<dyn Policy>, UnknownPolicy> {
    if let Some(rule) = rule::Rule::named(name) {
        return Ok(Box::new(RulePolicy::new(rule, config)));
    }
    let profile = Profile::named(name).ok_or_else(|| UnknownPolicy(name.to_owned()))?;
    Ok(Box::new(PickerPolicy::new(profile, config)))
}
