//! `EndpointPickerConfig` documents and the scheduling profile that they become: filters in order, then the sum of
//! weight × score over the scorers, then the choice of one.
//!
//! Documents of both API groups are read as they are. Whatever is wrong with one is reported at once, and a plugin
//! that is known upstream but not built here is told apart from one that does not exist.

mod build;
mod catalog;
mod chooser;
mod decode;
mod plugin;

use std::sync::Arc;

use http::HeaderName;
use penstock_config::{Fault, ProfileCheck};
use serde_json::Value;

use self::chooser::Chooser;
use crate::{
    saturation::Detector,
    scorer::{Candidate, Context, ExpectedTtft, Scorer},
};

/// Checks `EndpointPickerConfig` documents for the configuration crate.
#[derive(Debug, Clone, Copy, Default)]
pub struct EpcCheck;

/// How a pool's endpoints are ranked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Profile {
    filters: Vec<(Arc<str>, Detector)>,
    scorers: Vec<WeightedScorer>,
    /// [`Chooser::MaxScore`] unless the document says.
    chooser: Option<Chooser>,
    detector: Detector,
    prefix: PrefixOptions,
}

/// A scorer in a profile.
#[derive(Debug, Clone, PartialEq)]
struct WeightedScorer {
    name: Arc<str>,
    scorer: Scorer,
    weight: f64,
}

/// How prompts are indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrefixOptions {
    /// Base blocks of 256 bytes in a block of the index.
    pub(crate) stride: usize,
    /// Blocks of a prompt that are looked at.
    pub(crate) max_blocks: usize,
    /// Blocks that an endpoint holds, where its metrics do not tell.
    pub(crate) capacity: usize,
    /// Whether the capacity follows the endpoint's metrics.
    pub(crate) is_tuned: bool,
}

/// Space for a pick, kept between picks so that they allocate nothing.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) matched: Vec<u32>,
    /// Endpoints that hold some of the prompt: how much, and their places in the pool.
    pub(crate) holders: Vec<(u32, u32)>,
    scores: Vec<f64>,
    totals: Vec<f64>,
    order: Vec<usize>,
}

/// Told of each step of a decision.
pub(crate) trait Observer {
    /// A filter dropped an endpoint.
    fn dropped(&mut self, filter: &Arc<str>, candidate: &Candidate);
    /// A scorer gave its scores.
    fn scored(&mut self, scorer: &Arc<str>, candidates: &[Candidate], scores: &[f64]);
    /// All scores were added up.
    fn totalled(&mut self, candidates: &[Candidate], totals: &[f64]);
}

/// Is told and forgets.
#[derive(Debug)]
pub(crate) struct NoObserver;

impl ProfileCheck for EpcCheck {
    fn check(&self, document: &Value) -> Vec<Fault> {
        Profile::build(document).err().unwrap_or_default()
    }
}

impl Default for PrefixOptions {
    fn default() -> Self {
        Self { stride: 1, max_blocks: Self::DEFAULT_MAX_BLOCKS, capacity: 31_250, is_tuned: true }
    }
}

impl PrefixOptions {
    /// Tokens of a prompt that are looked at.
    pub(crate) const DEFAULT_MAX_TOKENS: u64 = 131_072;
    const DEFAULT_MAX_BLOCKS: usize = 2048;
    /// Tokens in a base block.
    const BASE_BLOCK_TOKENS: usize = 64;

    /// Tokens in a block of the index.
    pub(crate) fn block_tokens(&self) -> usize {
        self.stride.saturating_mul(Self::BASE_BLOCK_TOKENS)
    }
}

impl Default for Profile {
    /// The endpoint that is expected to begin its answer soonest; `docs/design/default-profile.md` has the reasons. The
    /// reference endpoint picker's own default is queue 2, KV cache 2, prefix 3, which a document can ask for.
    fn default() -> Self {
        let mut profile = Self::empty();
        profile.scorers = vec![WeightedScorer {
            name: "expected-ttft-scorer".into(),
            scorer: Scorer::ExpectedTtft(ExpectedTtft::default()),
            weight: 1.0,
        }];
        profile
    }
}

impl Profile {
    fn empty() -> Self {
        Self {
            filters: Vec::new(),
            scorers: Vec::new(),
            chooser: None,
            detector: Detector::default(),
            prefix: PrefixOptions::default(),
        }
    }

    /// The profile of an `EndpointPickerConfig`, or everything that is wrong with it.
    pub(crate) fn build(document: &Value) -> Result<Self, Vec<Fault>> {
        build::build(document)
    }

    /// Tells saturation.
    pub(crate) fn detector(&self) -> &Detector {
        &self.detector
    }

    /// How prompts are indexed; `None` if no scorer asks what endpoints hold.
    pub(crate) fn prefix(&self) -> Option<&PrefixOptions> {
        self.scorers.iter().any(|weighted| weighted.scorer.uses_prefixes()).then_some(&self.prefix)
    }

    /// For how many times its cache it is remembered what an endpoint was sent.
    pub(crate) fn cache_memory(&self) -> f64 {
        let memory = |weighted: &WeightedScorer| match &weighted.scorer {
            Scorer::ExpectedTtft(parameters) => Some(parameters.cache_memory),
            _ => None,
        };
        self.scorers.iter().find_map(memory).unwrap_or(1.0)
    }

    /// The one scorer of a profile that need not see all endpoints of a large pool: it compares none with the others, and
    /// the best of some will do.
    pub(crate) fn sampled(&self) -> Option<&ExpectedTtft> {
        let is_best_taken = matches!(self.chooser, None | Some(Chooser::MaxScore));
        match &*self.scorers {
            [WeightedScorer { scorer: Scorer::ExpectedTtft(scorer), .. }]
                if is_best_taken && self.filters.is_empty() =>
            {
                Some(scorer)
            }
            _ => None,
        }
    }

    /// Whether the profile keeps an eye on whose turn it is for prompts that nobody holds.
    pub(crate) fn tracks_cold_picks(&self) -> bool {
        self.scorers.iter().any(|weighted| matches!(weighted.scorer, Scorer::NoHitLru { .. }))
    }

    /// Header that keeps sessions together, if the profile does that.
    pub(crate) fn session_header(&self) -> Option<&HeaderName> {
        self.scorers.iter().find_map(|weighted| match &weighted.scorer {
            Scorer::SessionAffinity { header } => Some(header),
            _ => None,
        })
    }

    /// Header with a session's id, if the profile goes by one.
    pub(crate) fn session_id_header(&self) -> Option<&HeaderName> {
        self.scorers.iter().find_map(|weighted| match &weighted.scorer {
            Scorer::SessionId { header } => Some(header),
            _ => None,
        })
    }

    /// Decides among the candidates in `scratch`. Returns the one chosen; `None` if filters left none.
    pub(crate) fn decide(
        &self,
        context: &Context<'_>,
        scratch: &mut Scratch,
        observer: &mut impl Observer,
    ) -> Option<Candidate> {
        let Scratch { candidates, scores, totals, order, .. } = scratch;
        for (name, filter) in &self.filters {
            // Where all would go, none goes: a filter sorts out the worse, and then there are no better.
            if candidates.iter().any(|candidate| filter.has_room(&candidate.load)) {
                candidates.retain(|candidate| {
                    let stays = filter.has_room(&candidate.load);
                    if !stays {
                        observer.dropped(name, candidate);
                    }
                    stays
                });
            }
        }

        scores.clear();
        scores.resize(candidates.len(), 0.0);
        totals.clear();
        totals.resize(candidates.len(), 0.0);
        for WeightedScorer { name, scorer, weight } in &self.scorers {
            scorer.score(context, candidates, scores, order);
            for (total, score) in totals.iter_mut().zip(scores.iter_mut()) {
                *score = clamp(*score);
                *total += *score * weight;
            }
            observer.scored(name, candidates, scores);
        }
        observer.totalled(candidates, totals);
        let chosen = self.chooser.unwrap_or(Chooser::MaxScore).choose(totals)?;
        Some(candidates[chosen])
    }
}

impl Observer for NoObserver {
    fn dropped(&mut self, _: &Arc<str>, _: &Candidate) {}
    fn scored(&mut self, _: &Arc<str>, _: &[Candidate], _: &[f64]) {}
    fn totalled(&mut self, _: &[Candidate], _: &[f64]) {}
}

/// Into 0 to 1; what is not a number counts as 0.
fn clamp(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests;
