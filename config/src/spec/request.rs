//! What is asked of the route table, and what it answers.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Rule;

/// What of a request decides where it goes.
#[derive(Debug, Clone, Copy)]
pub struct RouteRequest<'a> {
    /// The `Host` header or `:authority`; a port in it is ignored, and so is case.
    pub host: &'a str,
    /// The path without its query.
    pub path: &'a str,
    /// What follows the `?`.
    pub query: Option<&'a str>,
    /// The method.
    pub method: &'a http::Method,
    /// The headers. An `x-ai-eg-model` among them decides nothing.
    pub headers: &'a http::HeaderMap,
    /// The model, as far as it is known.
    pub model: RequestModel<'a>,
}

/// What is known of the model that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestModel<'a> {
    /// The body was not read yet.
    Unread,
    /// The body was read and names none.
    Absent,
    /// The body names this one.
    Named(&'a str),
}

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'a> {
    /// This rule serves it.
    Rule(Matched<'a>),
    /// The model was [`RequestModel::Unread`] and decides: read the body and ask again.
    NeedsModel,
    /// A rule would serve it if it asked for another model.
    UnknownModel,
    /// No rule would serve it whatever the model.
    NoRoute,
}

/// The rule that a request matched, and by what.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The path prefix that matched, without its final slash (so `/` is empty); `None` if the rule matched by an
    /// exact path or a pattern.
    pub prefix: Option<&'a str>,
}

/// A model that a listener serves, as `GET /v1/models` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEntry {
    /// The name that clients ask for.
    pub id: Arc<str>,
    /// Seconds since the Unix epoch.
    pub created: u64,
    /// Who offers it.
    pub owned_by: Arc<str>,
    /// How many tokens prompt and answer may have together.
    pub max_model_len: Option<u64>,
    /// Where its weights come from.
    pub root: Option<Arc<str>>,
    /// The base model, if this one is an adapter.
    pub parent: Option<Arc<str>>,
}

impl ModelEntry {
    /// The entry in OpenAI's shape, with the fields that vLLM and SGLang add. What is not known is left out.
    pub fn to_json(&self) -> Value {
        let mut entry = json!({
            "id": &*self.id,
            "object": "model",
            "created": self.created,
            "owned_by": &*self.owned_by,
        });
        let root = self.root.as_deref().map(Value::from);
        let parent = self.parent.as_deref().map(Value::from);
        let known =
            [("root", root), ("parent", parent), ("max_model_len", self.max_model_len.map(Value::from))];
        for (name, value) in known {
            if let Some(value) = value {
                entry[name] = value;
            }
        }
        entry
    }
}
