//! Says how a pick would come out, and why: people will ask.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use serde::Serialize;

use super::Pool;
use crate::{
    endpoint::Gate,
    profile::{Observer, Scratch},
    request::{PickError, PickRequest},
    scorer::Candidate,
};

/// Why a request would go where it goes.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Explanation {
    /// The pool's name.
    pub pool: Arc<str>,
    /// Every endpoint of the pool, in the order of the document.
    pub endpoints: Vec<ExplainedEndpoint>,
    /// The best endpoint, which would be picked; of several with the same total, any. In a large pool a pick may not look
    /// at it.
    pub picked: Option<SocketAddr>,
    /// Why none would be picked.
    pub error: Option<String>,
    /// The same, for programs.
    #[serde(skip)]
    pub refusal: Option<PickError>,
    /// Mean utilization of the endpoints whose load is known; 1 is saturated.
    pub saturation: f64,
    /// The priority that the request has, by itself or by its objective.
    pub priority: i32,
}

/// How an endpoint fares.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedEndpoint {
    /// Where requests are sent.
    pub address: SocketAddr,
    /// Its name, such as `namespace/pod`.
    pub name: Arc<str>,
    /// The weighted sum of its scores; absent where it was filtered out.
    pub total: Option<f64>,
    /// Its score by each scorer, 0 to 1, before weighting.
    pub scores: BTreeMap<Arc<str>, f64>,
    /// Blocks of 256 bytes from the head of the prompt that it is believed to hold.
    pub matched_blocks: usize,
    /// What kept it from being scored: a filter's name, `excluded` or `ejected`.
    pub filtered_by: Option<Arc<str>>,
}

/// Writes down what happens to each endpoint.
struct Recorder<'a>(&'a mut [ExplainedEndpoint]);

impl Pool {
    /// Says how a pick would come out, and why. Changes nothing.
    pub fn explain(&self, request: &PickRequest<'_>) -> Explanation {
        let state = self.state.load();
        let mut scratch = Scratch::default();
        let now_ns = self.shared.now_ns();
        let priority = state.priority(request);
        let outcome = self.gather_all(&state, request, priority, &mut scratch, now_ns);

        let stride = state.profile.prefix().map_or(1, |options| options.stride);
        let mut endpoints: Vec<ExplainedEndpoint> = state
            .endpoints
            .iter()
            .map(|endpoint| ExplainedEndpoint {
                address: endpoint.address(),
                name: Arc::clone(endpoint.name()),
                total: None,
                scores: BTreeMap::new(),
                matched_blocks: scratch
                    .matched
                    .get(usize::from(endpoint.slot()))
                    .map_or(0, |matched| *matched as usize * stride),
                filtered_by: if request.exclude.contains(&endpoint.id()) {
                    Some("excluded".into())
                } else {
                    (endpoint.breaker.gate(now_ns) == Gate::Ejected).then(|| "ejected".into())
                },
            })
            .collect();
        for candidate in &scratch.candidates {
            endpoints[candidate.index].filtered_by = None;
        }

        let context = self.context(&state, request, now_ns);
        let decided = outcome.and_then(|()| {
            state
                .profile
                .decide(&context, &mut scratch, &mut Recorder(&mut endpoints))
                .ok_or(state.saturated())
        });
        Explanation {
            pool: Arc::clone(&self.name),
            picked: decided.as_ref().ok().map(|candidate| state.endpoints[candidate.index].address()),
            error: decided.as_ref().err().map(ToString::to_string),
            refusal: decided.as_ref().err().copied(),
            saturation: self.gauge(&state, now_ns).saturation(),
            priority,
            endpoints,
        }
    }
}

impl Observer for Recorder<'_> {
    fn dropped(&mut self, filter: &Arc<str>, candidate: &Candidate) {
        self.0[candidate.index].filtered_by = Some(Arc::clone(filter));
    }

    fn scored(&mut self, scorer: &Arc<str>, candidates: &[Candidate], scores: &[f64]) {
        for (candidate, score) in candidates.iter().zip(scores) {
            self.0[candidate.index].scores.insert(Arc::clone(scorer), *score);
        }
    }

    fn totalled(&mut self, candidates: &[Candidate], totals: &[f64]) {
        for (candidate, total) in candidates.iter().zip(totals) {
            self.0[candidate.index].total = Some(*total);
        }
    }
}
