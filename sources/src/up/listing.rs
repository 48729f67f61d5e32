//! The list of models that a server answers with (`GET /v1/models`, OpenAI's API), and those of hosted APIs.

use penstock_config::{Engine, MAX_MODEL_DETAIL_BYTES};
use serde::Deserialize;
use serde_json::Value;

/// The latest time that a document can write: the end of the year 9999.
const MAX_CREATED: u64 = 253_402_300_799;

/// The longest context that a document can write.
const MAX_MODEL_LEN: u64 = 1_000_000_000;

/// A model that a server lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) id: String,
    /// When the server says that it came to be, in seconds since the Unix epoch.
    pub(super) created: Option<u64>,
    /// Who the server says offers it.
    pub(super) owned_by: Option<String>,
    /// How many tokens prompt and answer may have together.
    pub(super) max_model_len: Option<u64>,
    /// Where its weights come from.
    pub(super) root: Option<String>,
    /// The base model, if this one is an adapter.
    pub(super) parent: Option<String>,
}

/// What a server lists, as far as it can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) engine: Engine,
    pub(super) models: Vec<Model>,
    /// Models that are left out, and why.
    pub(super) refused: Vec<String>,
}

/// OpenAI's list, with what vLLM and SGLang add. Of fields that hold something else than they should, nothing is kept:
/// a list is not refused for what is only passed on.
#[derive(Deserialize)]
struct RawListing {
    data: Vec<RawModel>,
}

/// The lists of hosted APIs.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawHostedListing {
    /// Most of them, Anthropic's too.
    OpenAi(RawListing),
    /// Together's.
    Bare(Vec<RawModel>),
    /// Google's, where names begin with `models/`, and Cohere's.
    Named { models: Vec<RawNamed> },
}

#[derive(Deserialize)]
struct RawNamed {
    name: String,
}

#[derive(Default, Deserialize)]
struct RawModel {
    id: String,
    #[serde(default)]
    created: Value,
    #[serde(default)]
    owned_by: Value,
    #[serde(default)]
    max_model_len: Value,
    #[serde(default)]
    root: Value,
    #[serde(default)]
    parent: Value,
}

impl Listing {
    /// Reads an answer's body.
    ///
    /// # Errors
    /// It is no such list.
    pub(super) fn parse(body: &[u8]) -> serde_json::Result<Self> {
        let listing: RawListing = serde_json::from_slice(body)?;
        // The software calls itself by this name. It decides no more than the names of its metrics.
        let engine = match listing.data.first().and_then(|model| model.owned_by.as_str()) {
            Some("sglang") => Engine::Sglang,
            Some("tensorrt_llm") => Engine::TrtllmServe,
            _ => Engine::Vllm,
        };
        Ok(Self::of(engine, listing.data))
    }

    /// Reads the body of a hosted API's answer.
    ///
    /// # Errors
    /// It is none of the lists that are known.
    pub(super) fn parse_hosted(body: &[u8]) -> serde_json::Result<Self> {
        let models = match serde_json::from_slice(body)? {
            RawHostedListing::OpenAi(RawListing { data }) | RawHostedListing::Bare(data) => data,
            RawHostedListing::Named { models } => {
                let id = |name: String| name.strip_prefix("models/").map(str::to_owned).unwrap_or(name);
                models.into_iter().map(|raw| RawModel { id: id(raw.name), ..RawModel::default() }).collect()
            }
        };
        Ok(Self::of(Engine::default(), models))
    }

    /// A list that nobody was asked for.
    pub(super) fn named(models: &[String]) -> Self {
        let models = models.iter().map(|model| Model::named(model)).collect();
        Self { engine: Engine::default(), models, refused: Vec::new() }
    }

    fn of(engine: Engine, listed: Vec<RawModel>) -> Self {
        let (mut models, mut refused) = (Vec::new(), Vec::new());
        for raw in listed {
            match penstock_config::check_model_name(&raw.id) {
                Ok(()) => models.push(Model::from(raw)),
                Err(_) if raw.id.is_empty() => refused.push("a model without a name".to_owned()),
                Err(reason) => refused.push(reason),
            }
        }
        Self { engine, models, refused }
    }
}

impl Model {
    /// A model of which no more is known than its name.
    pub(super) fn named(id: &str) -> Self {
        let id = id.to_owned();
        Self { id, created: None, owned_by: None, max_model_len: None, root: None, parent: None }
    }
}

impl From<RawModel> for Model {
    fn from(raw: RawModel) -> Self {
        let text = |value: &Value| {
            let text = value.as_str()?;
            (1..=MAX_MODEL_DETAIL_BYTES).contains(&text.len()).then(|| text.to_owned())
        };
        Self {
            created: raw.created.as_u64().filter(|created| *created <= MAX_CREATED),
            owned_by: text(&raw.owned_by),
            max_model_len: raw.max_model_len.as_u64().filter(|length| (1..=MAX_MODEL_LEN).contains(length)),
            root: text(&raw.root),
            parent: text(&raw.parent),
            id: raw.id,
        }
    }
}
