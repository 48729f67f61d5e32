//! The metrics of both conventions: their names, bounds and labels.

use prometheus::Registry;

use super::Conventions;
use crate::metrics::clock::INTER_TOKEN_BOUNDS;
use crate::metrics::family::Family;
use crate::metrics::histogram::{Bounds, Histogram};

/// What OpenTelemetry's conventions have for the duration of an operation, in microseconds.
const DURATION_BOUNDS: Bounds = &[
    10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000, 2_560_000, 5_120_000, 10_240_000,
    20_480_000, 40_960_000, 81_920_000,
];

/// What they have for numbers of tokens.
const TOKEN_BOUNDS: Bounds =
    &[1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

/// What they have for a server's time to the first token, and Envoy AI Gateway's further ones, in microseconds.
const FIRST_TOKEN_BOUNDS: Bounds = &[
    1_000, 5_000, 10_000, 20_000, 40_000, 60_000, 80_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000, 15_000_000, 20_000_000, 30_000_000, 45_000_000, 60_000_000,
];

/// What they have for a server's time for a token, in microseconds.
const PER_TOKEN_BOUNDS: Bounds = &[
    10_000, 25_000, 50_000, 75_000, 100_000, 150_000, 200_000, 300_000, 400_000, 500_000, 750_000, 1_000_000,
    2_500_000,
];

/// The labels of a client's metrics.
pub(super) const CLIENT: &[&str] =
    &["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "error_type"];

/// The labels that Envoy AI Gateway gives its metrics.
pub(super) const SERVER: &[&str] = &[
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_original_model",
    "gen_ai_request_model",
    "gen_ai_response_model",
    "error_type",
];

/// The labels of what tokens are counted by.
const TOKENS: &[&str] = &[
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_original_model",
    "gen_ai_request_model",
    "gen_ai_response_model",
    "gen_ai_token_type",
];

/// The families of both.
#[derive(Clone, Debug)]
pub(in crate::metrics) struct GenAiFamilies {
    pub(super) tokens: Family<Histogram>,
    pub(super) duration: Family<Histogram>,
    pub(super) first_chunk: Family<Histogram>,
    pub(super) per_chunk: Family<Histogram>,
    pub(super) server_duration: Family<Histogram>,
    pub(super) first_token: Family<Histogram>,
    pub(super) per_token: Family<Histogram>,
}

impl GenAiFamilies {
    pub(in crate::metrics) fn register(registry: &Registry) -> Self {
        let times = |name, help, labels, bounds| {
            Family::register(registry, name, help, labels, move || Histogram::new(bounds))
        };
        Self {
            tokens: Family::register(
                registry,
                "gen_ai_client_token_usage",
                "Tokens of an operation, as its model server counted them.",
                TOKENS,
                || Histogram::of_numbers(TOKEN_BOUNDS),
            ),
            duration: times(
                "gen_ai_client_operation_duration_seconds",
                "From a request's first byte to the end of its response.",
                CLIENT,
                DURATION_BOUNDS,
            ),
            first_chunk: times(
                "gen_ai_client_operation_time_to_first_chunk_seconds",
                "From a streamed request's first byte to the first event with content.",
                CLIENT,
                FIRST_TOKEN_BOUNDS,
            ),
            per_chunk: times(
                "gen_ai_client_operation_time_per_output_chunk_seconds",
                "Between events with content of one stream.",
                CLIENT,
                INTER_TOKEN_BOUNDS,
            ),
            server_duration: times(
                "gen_ai_server_request_duration_seconds",
                "From a request's first byte to the end of its response, by Envoy AI Gateway's name.",
                SERVER,
                DURATION_BOUNDS,
            ),
            first_token: times(
                "gen_ai_server_time_to_first_token_seconds",
                "From a streamed request's first byte to the first event with content, by Envoy AI Gateway's name.",
                SERVER,
                FIRST_TOKEN_BOUNDS,
            ),
            per_token: times(
                "gen_ai_server_time_per_output_token_seconds",
                "Of a stream, what is left of its duration after its first token, for each token more.",
                SERVER,
                PER_TOKEN_BOUNDS,
            ),
        }
    }

    /// Drops series of models that are not kept, and all of conventions that are not asked for.
    pub(in crate::metrics) fn retain(&self, conventions: Conventions, is_kept: &dyn Fn(&str, &str) -> bool) {
        let Conventions { open_telemetry, envoy_ai_gateway } = conventions;
        for (families, is_asked_for) in [
            (vec![&self.duration, &self.first_chunk, &self.per_chunk], open_telemetry),
            (vec![&self.server_duration, &self.first_token, &self.per_token], envoy_ai_gateway),
            (vec![&self.tokens], open_telemetry || envoy_ai_gateway),
        ] {
            for family in families {
                family.retain(&|label, value| is_asked_for && is_kept(label, value));
            }
        }
    }
}
