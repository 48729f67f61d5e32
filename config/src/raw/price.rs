//! What models cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;

/// What models cost, in US dollars. For a request, the price counts that names the upstream and the whole model; else the
/// upstream and the longest beginning of it; else those without an upstream, in the same order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawPrice {
    /// The models, by the names that upstreams use: exact, or a prefix followed by `*`.
    #[schemars(length(min = 1, max = 1024))]
    pub models: Vec<String>,
    /// The pool or backend whose they are. Left out: any that has no price of its own for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub upstream: Option<String>,
    /// How many tokens the prices below are for.
    #[serde(default)]
    pub per: RawPriceUnit,
    /// Of the prompt.
    #[serde(default)]
    pub input: Decimal,
    /// Of the prompt, that came from a cache. Left out: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Decimal>,
    /// Of the prompt, that were written to a cache. Left out: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Decimal>,
    /// Generated.
    #[serde(default)]
    pub output: Decimal,
    /// Generated, that are reasoning. Left out: as `output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Decimal>,
    /// What a request costs beside its tokens.
    #[serde(default)]
    pub request: Decimal,
    /// Other prices for long prompts: of these, the last counts whose `aboveInputTokens` the prompt exceeds, for all of its
    /// tokens and of the answer's. What a tier leaves out is as in the one before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tiers: Vec<RawPriceTier>,
}

/// How many tokens a price is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawPriceUnit {
    /// A million, as providers' pages have it.
    #[default]
    Million,
    /// One.
    Token,
}

/// What tokens cost where a prompt is long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawPriceTier {
    /// It is for prompts of more tokens than this.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub above_input_tokens: u64,
    /// Of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Decimal>,
    /// Of the prompt, that came from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Decimal>,
    /// Of the prompt, that were written to a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Decimal>,
    /// Generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Decimal>,
    /// Generated, that are reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Decimal>,
}

/// A file of prices, which `pricesFile` names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PricesDocument {
    /// What models cost.
    #[schemars(length(max = 20_000))]
    pub prices: Vec<RawPrice>,
}
