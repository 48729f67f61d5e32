//! The plugins that are built, made from their parameters.

use http::HeaderName;
use penstock_config::{Knob, Span};

use super::{PrefixOptions, chooser::Chooser, decode::Object};
use crate::{
    endpoint::BYTES_PER_TOKEN,
    saturation::Detector,
    scorer::{ExpectedTtft, Scorer},
    session,
};

const LOAD_AWARE_THRESHOLD: f64 = 128.0;
/// 4 Mi tokens: 128 requests of 32 Ki.
const TOKEN_LOAD_THRESHOLD: f64 = 4_194_304.0;
/// Tokens of a prefix that count as long.
const LONG_PREFIX_TOKENS: f64 = 8192.0;
const NO_HIT_REMEMBERED: u64 = 1024;
/// Bytes between two hashes of a chain; also the least that a block can have.
const BASE_BLOCK_BYTES: u64 = 256;
/// Largest number that a threshold may be.
const MAX_THRESHOLD: f64 = 1e15;

/// A plugin of a document.
#[derive(Debug, Clone)]
pub(super) enum Plugin {
    /// Scores; with how prompts are indexed, where it says so.
    Scorer(Scorer, Option<PrefixOptions>),
    /// Chooses among the scored.
    Chooser(Chooser),
    /// Drops candidates.
    Filter(Detector),
    /// Tells saturation; as a filter when a profile lists it.
    Detector(Detector),
    /// Says how prompts are indexed.
    PrefixProducer(PrefixOptions),
    /// Runs the one profile.
    Handler,
    /// Names what is done anyway.
    Inherent,
}

impl Plugin {
    /// How prompts are indexed, if this plugin says so.
    pub(super) fn prefix_options(&self) -> Option<PrefixOptions> {
        match self {
            Self::PrefixProducer(options) | Self::Scorer(_, Some(options)) => Some(*options),
            _ => None,
        }
    }
}

/// Makes the plugin of type `kind`; `None` if none of that type is built. Faults in parameters are noted there.
pub(super) fn instantiate(kind: &str, parameters: &Object<'_>) -> Option<Plugin> {
    let scorer = |scorer| Some(Plugin::Scorer(scorer, None));
    match kind {
        "queue-scorer" => scorer(Scorer::Queue),
        "running-requests-size-scorer" => scorer(Scorer::RunningRequests),
        "kv-cache-utilization-scorer" => scorer(Scorer::KvCacheUtilization),
        "lora-affinity-scorer" => scorer(Scorer::LoraAffinity),
        "load-aware-scorer" => scorer(Scorer::LoadAware {
            threshold: parameters.number("threshold", 1.0..=MAX_THRESHOLD).unwrap_or(LOAD_AWARE_THRESHOLD),
        }),
        "active-request-scorer" => scorer(active_request(parameters)),
        "token-load-scorer" => scorer(token_load(parameters)),
        "expected-ttft-scorer" => scorer(expected_ttft(parameters)),
        "prefix-cache-scorer" => Some(prefix_cache(parameters)),
        "no-hit-lru-scorer" => scorer(no_hit_lru(parameters)),
        "session-affinity-scorer" => scorer(session_affinity(parameters)),
        "max-score-picker" => Some(chooser(parameters, Chooser::MaxScore)),
        "random-picker" => Some(chooser(parameters, Chooser::Random)),
        "weighted-random-picker" => Some(chooser(parameters, Chooser::WeightedRandom)),
        "single-profile-handler" => Some(Plugin::Handler),
        "utilization-detector" => Some(Plugin::Detector(detector(parameters))),
        "utilization-filter" => Some(Plugin::Filter(detector(parameters))),
        "approx-prefix-cache-producer" => {
            Some(Plugin::PrefixProducer(prefix_options(parameters).unwrap_or_default()))
        }
        _ => None,
    }
}

fn active_request(parameters: &Object<'_>) -> Scorer {
    // Ignored upstream as well: requests are tracked until they end.
    let _ = (parameters.text("requestTimeout"), parameters.text("inFlightLoadProducerName"));
    let idle_threshold = parameters.integer("idleThreshold", 0).unwrap_or(0);
    Scorer::ActiveRequest {
        idle_threshold: u32::try_from(idle_threshold).unwrap_or(u32::MAX),
        max_busy_score: parameters.number("maxBusyScore", 0.0..=1.0).unwrap_or(1.0),
    }
}

fn token_load(parameters: &Object<'_>) -> Scorer {
    let _ = parameters.text("inFlightLoadProducerName");
    let threshold = parameters.number("queueThresholdTokens", 1.0..=MAX_THRESHOLD);
    Scorer::TokenLoad { threshold: threshold.unwrap_or(TOKEN_LOAD_THRESHOLD) }
}

fn expected_ttft(parameters: &Object<'_>) -> Scorer {
    let number = |name, range, default| parameters.number(name, range).unwrap_or(default);
    let default = ExpectedTtft::default();
    Scorer::ExpectedTtft(ExpectedTtft {
        batch_delay_weight: number("batchDelayWeight", 0.0..=1000.0, default.batch_delay_weight),
        request_tokens: number("requestTokens", 0.0..=MAX_THRESHOLD, default.request_tokens),
        home_share: number("homeShare", 0.0..=1.0, default.home_share),
        cache_memory: number("cacheMemory", 0.1..=100.0, default.cache_memory),
    })
}

fn no_hit_lru(parameters: &Object<'_>) -> Scorer {
    for ignored in ["prefixPluginType", "prefixPluginName", "prefixMatchInfoProducerName"] {
        let _ = parameters.text(ignored);
    }
    let remembered = parameters.integer("lruSize", 1).unwrap_or(NO_HIT_REMEMBERED);
    Scorer::NoHitLru { remembered: usize::try_from(remembered).unwrap_or(usize::MAX) }
}

fn session_affinity(parameters: &Object<'_>) -> Scorer {
    const ENCODED: &str = "encoded_endpoint_header";
    const BY_ID: &str = "session_id_header";
    let algorithm = parameters.text("algorithm").unwrap_or(ENCODED);
    if algorithm != ENCODED && algorithm != BY_ID {
        let message = format_args!("unknown algorithm {algorithm}; there are {ENCODED} and {BY_ID}");
        parameters.fault("algorithm", message);
    }
    if parameters.value("profileName").is_some() {
        parameters.fault("profileName", "known but not built yet: there is one profile");
    }
    let header = parameters.text("headerName").and_then(|name| {
        let header = HeaderName::try_from(name);
        if header.is_err() {
            parameters.fault("headerName", format_args!("{name} is no header name"));
        }
        header.ok()
    });
    if algorithm == BY_ID {
        Scorer::SessionId { header: header.unwrap_or(session::DEFAULT_ID_HEADER) }
    } else {
        Scorer::SessionAffinity { header: header.unwrap_or(session::DEFAULT_HEADER) }
    }
}

fn prefix_cache(parameters: &Object<'_>) -> Plugin {
    let _ = parameters.text("prefixMatchInfoProducerName");
    // The parameter was renamed upstream while it was young.
    let length_weight = ["matchLengthWeight", "prefixLengthWeight"]
        .into_iter()
        .filter_map(|name| parameters.number(name, 0.0..=1.0))
        .next_back()
        .unwrap_or(0.0);
    let max_tokens = parameters.number("maxModelLen", 1.0..=MAX_THRESHOLD).unwrap_or(LONG_PREFIX_TOKENS);
    Plugin::Scorer(Scorer::PrefixCache { length_weight, max_tokens }, prefix_options(parameters))
}

/// How prompts are indexed; `None` if no parameter says so.
fn prefix_options(parameters: &Object<'_>) -> Option<PrefixOptions> {
    let block_bytes = {
        let in_tokens = parameters.integer("blockSizeTokens", 0).filter(|tokens| *tokens > 0);
        let in_bytes = [parameters.integer("blockSize", 0), parameters.integer("hashBlockSize", 0)];
        let in_bytes = in_bytes.into_iter().flatten().find(|bytes| *bytes > 0);
        in_tokens.map(|tokens| tokens.saturating_mul(BYTES_PER_TOKEN)).or(in_bytes)
    };
    let max_tokens = parameters.integer("maxPrefixTokensToMatch", 0).filter(|tokens| *tokens > 0);
    let max_blocks = parameters.integer("maxPrefixBlocksToMatch", 0).filter(|blocks| *blocks > 0);
    let capacity = parameters.integer("lruCapacityPerServer", 0).filter(|blocks| *blocks > 0);
    let is_tuned = parameters.boolean("autoTune");
    let is_silent = block_bytes.is_none()
        && max_tokens.is_none()
        && max_blocks.is_none()
        && capacity.is_none()
        && is_tuned.is_none();
    if is_silent {
        return None;
    }

    let default = PrefixOptions::default();
    let stride = block_bytes.unwrap_or(0).div_ceil(BASE_BLOCK_BYTES).clamp(1, 1 << 20);
    let stride_tokens = stride * BASE_BLOCK_BYTES / BYTES_PER_TOKEN;
    let max_blocks = match (max_tokens, max_blocks) {
        (Some(tokens), _) => (tokens / stride_tokens).max(1),
        (None, Some(blocks)) => blocks,
        (None, None) => (PrefixOptions::DEFAULT_MAX_TOKENS / stride_tokens).max(1),
    };
    Some(PrefixOptions {
        stride: usize::try_from(stride).unwrap_or(1),
        max_blocks: usize::try_from(max_blocks).unwrap_or(usize::MAX),
        capacity: capacity.map_or(default.capacity, |blocks| usize::try_from(blocks).unwrap_or(usize::MAX)),
        is_tuned: is_tuned.unwrap_or(default.is_tuned),
    })
}

fn chooser(parameters: &Object<'_>, chooser: Chooser) -> Plugin {
    // One endpoint is given out at a time; a retry asks again without those that failed, with fresher numbers.
    let _ = parameters.integer("maxNumOfEndpoints", 1);
    Plugin::Chooser(chooser)
}

fn detector(parameters: &Object<'_>) -> Detector {
    let _ = parameters.text("inFlightLoadProducerName");
    // Checked, but staleness is judged by the pool's own scrape interval: an adaptive one would trip any fixed value.
    if let Some(text) = parameters.text("metricsStalenessThreshold") {
        match Span::parse(text) {
            Ok(span) if !span.value().is_zero() => {}
            Ok(_) => parameters.fault("metricsStalenessThreshold", "must be longer than nothing"),
            Err(error) => parameters.fault("metricsStalenessThreshold", error),
        }
    }
    let default = Detector::default();
    Detector {
        queue_depth: parameters
            .integer("queueDepthThreshold", 1)
            .map_or(default.queue_depth, |depth| depth as f64),
        kv_usage: parameters
            .number("kvCacheUtilThreshold", f64::MIN_POSITIVE..=1.0)
            .unwrap_or(default.kv_usage),
        headroom: parameters.number("headroom", 0.0..=1000.0).unwrap_or(default.headroom),
    }
}
