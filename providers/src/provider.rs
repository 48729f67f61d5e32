//! An upstream's API, and what a client's request becomes there.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::api::{Api, Family};
use crate::conversation::Refused;
use crate::gemini;
use crate::json::Written;
use crate::response::Translation;

mod counts;
mod documents;
mod paths;
#[cfg(test)]
mod tests;
mod translate;

/// The APIs of upstreams, by the names that Envoy AI Gateway gives them (`AIServiceBackend.spec.schema.name`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Schema {
    /// OpenAI's, and all that are like it.
    OpenAi,
    /// Anthropic's Messages.
    Anthropic,
    /// AWS Bedrock's Converse.
    AwsBedrock,
    /// Anthropic's Messages behind Bedrock's InvokeModel.
    AwsAnthropic,
    /// OpenAI's, as Azure serves it.
    AzureOpenAi,
    /// Google's generateContent on Vertex AI.
    GcpVertexAi,
    /// Anthropic's Messages on Vertex AI.
    GcpAnthropic,
    /// Google's generateContent of the Gemini API.
    Gemini,
    /// Cohere's rerank.
    Cohere,
}

/// Where in an upstream its API is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// What stands before the API's paths, without slashes at its ends; `None` is `v1`.
    pub prefix: Option<Box<str>>,
    /// The API's version; `None` is the schema's own.
    pub version: Option<Box<str>>,
    /// The Google Cloud project.
    pub project: Box<str>,
    /// The Google Cloud region.
    pub region: Box<str>,
}

/// An upstream's API.
#[derive(Clone, Debug)]
pub struct Provider {
    schema: Schema,
    place: Place,
    /// Whether it is an inference engine of one's own.
    is_engine: bool,
    served: Served,
}

/// What an upstream of OpenAI's API serves itself beside chat completions. What it does not is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Anthropic's Messages, with their counts of tokens.
    pub messages: bool,
    /// OpenAI's Responses.
    pub responses: bool,
}

impl Default for Served {
    /// What OpenAI itself serves.
    fn default() -> Self {
        Self { messages: false, responses: true }
    }
}

/// A client's request.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The API that it is for; `None` if its path is of none that is known here.
    pub api: Option<Api>,
    /// Its path.
    pub path: &'a str,
    /// Its query, without the question mark.
    pub query: Option<&'a str>,
    /// The model, as the upstream calls it.
    pub model: Option<&'a str>,
    /// The model, as the client called it.
    pub asked_model: Option<&'a str>,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, all of it, not compressed; may be left out where it is not read ([`Provider::reads_body`]).
    pub body: &'a [u8],
    /// Now, in seconds since 1970.
    pub now: u64,
    /// Identifies it.
    pub request_id: &'a str,
}

/// What the upstream is sent.
#[derive(Debug)]
pub struct Encoded {
    /// Path and query.
    pub target: String,
    /// Headers to set, or to remove.
    pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// The body, written from the request's; `None` leaves that as it is.
    pub body: Option<Written>,
    /// Members of the request that the upstream's API has no place for.
    pub dropped: Vec<Cow<'static, str>>,
    /// Translates the response; `None` leaves it as it is.
    pub translation: Option<Translation>,
}

/// Why a request cannot be put to an upstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotEncoded {
    /// Something in the request.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The upstream has nothing like the API that is asked for. Claude Code counts tokens itself where it is told so.
    #[error("the API that serves this model ({upstream}) has no {api}")]
    Unserved {
        /// The API that is asked for, as [`Api::name`] has it.
        api: &'static str,
        /// The upstream's, as [`Schema::name`] has it.
        upstream: &'static str,
    },
}

impl<'a> Call<'a> {
    /// A request at `path`, of which no more is known.
    pub fn new(path: &'a str, headers: &'a HeaderMap, body: &'a [u8]) -> Self {
        Self {
            api: Api::of_path(path),
            path,
            query: None,
            model: None,
            asked_model: None,
            headers,
            body,
            now: 0,
            request_id: "",
        }
    }
}

/// How an API is served by an upstream that has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is the upstream's own: nothing of the body is touched.
    AsItIs,
    /// The upstream's platform wraps it: the body is written anew, the response may be framed otherwise.
    Wrapped,
    /// By translation.
    Translated,
    /// Not at all.
    Unserved,
}

impl Provider {
    /// The API `schema` at `place`. `is_engine` is whether an inference engine (vLLM, SGLang) serves it, which takes more
    /// than OpenAI does.
    pub fn new(schema: Schema, place: Place, is_engine: bool) -> Self {
        Self { schema, place, is_engine, served: Served::default() }
    }

    /// The same upstream, which serves these APIs itself. Makes a difference for OpenAI's and Azure's only.
    #[must_use]
    pub fn serving(self, served: Served) -> Self {
        Self { served, ..self }
    }

    /// Whether the body of a request for `api` is read: where its API is the upstream's own it is not.
    pub fn reads_body(&self, api: Option<Api>) -> bool {
        api.is_some_and(|api| !matches!(self.way(api), Way::AsItIs | Way::Unserved))
    }

    /// Whether it says in the bodies of its refusals for how long it wants to be left alone ([`crate::gemini::retry_after`]),
    /// and not in headers.
    pub fn tells_delays_in_bodies(&self) -> bool {
        self.schema.family() == Family::Google
    }

    /// Makes a request one of the upstream's API.
    ///
    /// # Errors
    /// The upstream does not serve that API, or the request cannot be put into its own; which part of it, and why.
    pub fn encode(&self, call: &Call<'_>) -> Result<Encoded, NotEncoded> {
        let Some(api) = call.api else {
            return Ok(self.as_it_is(paths::other(self, call)));
        };
        match self.way(api) {
            Way::AsItIs => Ok(self.with_version(self.as_it_is(paths::own(self, call, api)?), call)),
            Way::Wrapped | Way::Translated if api == Api::CountTokens => {
                Ok(counts::count_tokens(self, call)?)
            }
            Way::Wrapped => Ok(translate::wrapped(self, call)?),
            Way::Translated if api == Api::Embeddings => Ok(documents::embeddings(self, call)?),
            Way::Translated if api == Api::Rerank => Ok(documents::rerank(self, call)?),
            Way::Translated => Ok(translate::conversation(self, call, api)?),
            Way::Unserved => Err(NotEncoded::Unserved { api: api.name(), upstream: self.schema.name() }),
        }
    }

    /// How `api` is served here.
    pub(crate) fn way(&self, api: Api) -> Way {
        use Api::{Bedrock, ChatCompletions, CountTokens, Embeddings, Gemini, Messages, Rerank, Responses};
        let is_conversation = matches!(api, ChatCompletions | Messages | Responses);
        match (self.schema, api) {
            (Schema::OpenAi | Schema::AzureOpenAi, Messages | CountTokens) if self.served.messages => {
                Way::AsItIs
            }
            (Schema::OpenAi | Schema::AzureOpenAi, Messages) => Way::Translated,
            (Schema::OpenAi | Schema::AzureOpenAi, Responses) if !self.served.responses => Way::Translated,
            // Engines count the tokens of a chat.
            (Schema::OpenAi, CountTokens) if self.is_engine => Way::Translated,
            (Schema::OpenAi, CountTokens | Bedrock | Gemini) => Way::Unserved,
            (Schema::OpenAi, _) => Way::AsItIs,
            (Schema::AzureOpenAi, CountTokens | Bedrock | Gemini | Rerank) => Way::Unserved,
            (Schema::AzureOpenAi, _) => Way::AsItIs,
            (Schema::Anthropic, Messages | CountTokens) => Way::AsItIs,
            (Schema::AwsAnthropic | Schema::GcpAnthropic, Messages | CountTokens) => Way::Wrapped,
            (Schema::AwsBedrock | Schema::GcpVertexAi | Schema::Gemini, CountTokens) => Way::Translated,
            (Schema::AwsBedrock | Schema::AwsAnthropic, Bedrock) => Way::AsItIs,
            (Schema::GcpVertexAi | Schema::Gemini, Gemini) => Way::AsItIs,
            (Schema::GcpVertexAi | Schema::Gemini | Schema::AwsBedrock, Embeddings) => Way::Translated,
            (Schema::GcpVertexAi | Schema::AwsBedrock, Rerank) => Way::Translated,
            (Schema::Cohere, Rerank) => Way::AsItIs,
            (Schema::Cohere, _) => Way::Unserved,
            _ if is_conversation => Way::Translated,
            _ => Way::Unserved,
        }
    }

    fn google_place(&self) -> gemini::paths::Place<'_> {
        gemini::paths::Place { project: &self.place.project, location: &self.place.region }
    }

    fn as_it_is(&self, target: String) -> Encoded {
        Encoded { target, headers: Vec::new(), body: None, dropped: Vec::new(), translation: None }
    }

    /// The request with the version of Anthropic's API, which that insists on, where the client names none.
    fn with_version(&self, mut encoded: Encoded, call: &Call<'_>) -> Encoded {
        if self.schema == Schema::Anthropic && !call.headers.contains_key(&ANTHROPIC_VERSION) {
            encoded.headers.push((ANTHROPIC_VERSION, Some(self.anthropic_version())));
        }
        encoded
    }

    fn anthropic_version(&self) -> HeaderValue {
        let version = self.place.version.as_deref().unwrap_or(DEFAULT_ANTHROPIC_VERSION);
        HeaderValue::from_str(version).unwrap_or(HeaderValue::from_static(DEFAULT_ANTHROPIC_VERSION))
    }
}

/// The version of Anthropic's API that this crate writes.
const DEFAULT_ANTHROPIC_VERSION: &str = "2023-06-01";

/// The header that names it.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

impl Schema {
    /// Its name in Envoy AI Gateway's objects.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::Anthropic => "Anthropic",
            Self::AwsBedrock => "AWSBedrock",
            Self::AwsAnthropic => "AWSAnthropic",
            Self::AzureOpenAi => "AzureOpenAI",
            Self::GcpVertexAi => "GCPVertexAI",
            Self::GcpAnthropic => "GCPAnthropic",
            Self::Gemini => "Gemini",
            Self::Cohere => "Cohere",
        }
    }

    /// The form of its errors.
    fn family(self) -> Family {
        match self {
            Self::OpenAi | Self::AzureOpenAi => Family::OpenAi,
            Self::Anthropic | Self::GcpAnthropic => Family::Anthropic,
            Self::AwsBedrock | Self::AwsAnthropic => Family::Bedrock,
            Self::GcpVertexAi | Self::Gemini => Family::Google,
            Self::Cohere => Family::Cohere,
        }
    }
}
