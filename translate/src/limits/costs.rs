//! What is counted of requests for models, by the keys that limits refer to it by.

use std::collections::BTreeMap;

use penstock_config::check_expression;
use penstock_config::raw::{RawCount, RawLimit};

use super::Fault;
use crate::api::AiRequestCost;
use crate::world::shorten;

/// The most keys that a status names.
const MAX_NAMED: usize = 12;

/// What is counted of a route's requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Costs<'a> {
    by_key: BTreeMap<&'a str, &'a AiRequestCost>,
    /// Whether the route is one for models.
    pub(crate) is_of_models: bool,
}

/// What a limit counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Counted {
    Kind(RawCount),
    Expression(String),
}

impl<'a> Costs<'a> {
    /// Those of a route, which take the place of those of its Gateway.
    pub(crate) fn of(route: &'a [AiRequestCost], gateway: &'a [AiRequestCost], is_of_models: bool) -> Self {
        let all = gateway.iter().chain(route);
        Self { by_key: all.map(|cost| (cost.metadata_key.as_str(), cost)).collect(), is_of_models }
    }

    /// What is counted under a key; `None` if nothing is.
    ///
    /// # Errors
    /// It cannot be reckoned.
    pub(super) fn get(&self, key: &str) -> Result<Option<Counted>, Fault> {
        let Some(cost) = self.by_key.get(key) else { return Ok(None) };
        let fault =
            |message: &str| format!("llmRequestCosts: {:?}: {}", shorten(key, 80), shorten(message, 200));
        let kind = match (cost.kind.as_str(), &cost.cel) {
            ("InputToken", _) => RawCount::InputTokens,
            ("CachedInputToken", _) => RawCount::CachedInputTokens,
            ("CacheCreationInputToken", _) => RawCount::CacheWriteTokens,
            ("OutputToken", _) => RawCount::OutputTokens,
            ("ReasoningToken", _) => RawCount::ReasoningTokens,
            ("TotalToken", _) => RawCount::TotalTokens,
            ("CEL", Some(expression)) => {
                check_expression(expression).map_err(|message| fault(&format!("cel: {message}")))?;
                return Ok(Some(Counted::Expression(expression.clone())));
            }
            ("CEL", None) => return Err(fault("cel is missing")),
            (other, _) => return Err(fault(&format!("there is no type {other:?}"))),
        };
        Ok(Some(Counted::Kind(kind)))
    }

    /// Why a limit of a key that nothing is counted under is none.
    pub(super) fn unknown(&self, key: &str) -> Fault {
        let named: Vec<&str> = self.by_key.keys().copied().take(MAX_NAMED).collect();
        let there = if named.is_empty() { "there are none".to_owned() } else { named.join(", ") };
        format!(
            "cost.response.metadata.key {:?}: llmRequestCosts of the route, or of its Gateway's GatewayConfig, has no such \
             metadataKey, so the limit would never count ({})",
            shorten(key, 80),
            shorten(&there, 300)
        )
    }
}

impl Counted {
    /// Lets a limit count it.
    pub(super) fn put_into(self, raw: &mut RawLimit) {
        match self {
            Self::Kind(kind) => raw.count = Some(kind),
            Self::Expression(expression) => {
                raw.count = None;
                raw.expression = Some(expression);
            }
        }
    }
}
