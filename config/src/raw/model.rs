//! What is known of models.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most bytes that a text about a model may have: its owner, its root, its parent.
pub const MAX_MODEL_DETAIL_BYTES: usize = 1024;

/// What `GET /v1/models` says of a model. Clients size their context by it. `penstock up` takes it from the model servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawModel {
    /// The name that clients ask for, as a rule has it; unique among models.
    #[schemars(length(min = 1, max = 4096))]
    pub name: String,
    /// Who offers it. Left out, its route's `modelsOwnedBy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_MODEL_DETAIL_BYTES))]
    pub owned_by: Option<String>,
    /// Since when, in RFC 3339, such as `2026-01-31T12:00:00Z`. Left out, its route's `modelsCreatedAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub created_at: Option<String>,
    /// How many tokens prompt and answer may have together: `max_model_len`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_model_len: Option<u64>,
    /// Where its weights come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_MODEL_DETAIL_BYTES))]
    pub root: Option<String>,
    /// The base model, if this one is an adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_MODEL_DETAIL_BYTES))]
    pub parent: Option<String>,
}
