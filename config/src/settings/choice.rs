//! Knobs that choose one of a few things.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::knob::{Knob, plain_knob};

/// A model server's software.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// vLLM.
    #[default]
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server.
    TrtllmServe,
    /// Triton.
    Triton,
    /// Triton with the TensorRT-LLM backend.
    #[serde(rename = "triton-tensorrt-llm")]
    TritonTensorrtLlm,
}

/// Whose names metrics of generative AI have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GenAiConvention {
    /// Those of OpenTelemetry's conventions for a client: `gen_ai_client_operation_duration_seconds` and the like.
    OpenTelemetry,
    /// Those of Envoy AI Gateway, as its dashboards have them: `gen_ai_server_request_duration_seconds` and the like.
    EnvoyAIGateway,
}

impl Knob for Vec<GenAiConvention> {
    type Value = Self;

    fn value(&self) -> Self {
        self.clone()
    }
}

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 over TLS; the upstream must agree to it by ALPN.
    H2,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// HTTP/2 or HTTP/1.1 over TLS, whichever the upstream prefers by ALPN.
    Auto,
}

/// The API that an upstream serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ApiSchema {
    /// OpenAI's, and all that are like it.
    #[default]
    OpenAI,
    /// Anthropic's Messages.
    Anthropic,
    /// AWS Bedrock's Converse.
    AWSBedrock,
    /// Anthropic's Messages behind AWS Bedrock's InvokeModel.
    AWSAnthropic,
    /// OpenAI's, as Azure serves it.
    AzureOpenAI,
    /// Google's generateContent on Vertex AI.
    GCPVertexAI,
    /// Anthropic's Messages on Vertex AI.
    GCPAnthropic,
    /// Google's generateContent of the Gemini API.
    Gemini,
    /// Cohere's rerank.
    Cohere,
}

/// An API that an upstream may serve beside OpenAI's chat completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ServedApi {
    /// Anthropic's Messages (`/v1/messages`), with its counts of tokens.
    Messages,
    /// OpenAI's Responses (`/v1/responses`).
    Responses,
}

/// A hosted API that is known by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// api.openai.com.
    OpenAI,
    /// api.anthropic.com.
    Anthropic,
    /// generativelanguage.googleapis.com.
    Gemini,
    /// api.mistral.ai.
    Mistral,
    /// api.groq.com.
    Groq,
    /// api.deepseek.com.
    DeepSeek,
    /// api.together.xyz.
    Together,
    /// api.fireworks.ai.
    Fireworks,
    /// openrouter.ai.
    OpenRouter,
    /// api.x.ai.
    XAI,
    /// api.cohere.com.
    Cohere,
    /// bedrock-runtime of the schema's region.
    Bedrock,
}

/// What becomes of a request with members that the API of its upstream has no place for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Untranslatable {
    /// It is sent without them, and its response names them in `x-penstock-dropped`.
    #[default]
    Drop,
    /// It is refused with 400, which names them.
    Refuse,
}

impl Untranslatable {
    /// For documents that leave defaults out.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When streams of OpenAI's chat and completions report the tokens that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StreamUsage {
    /// Where the client asks for it (`stream_options.include_usage`).
    #[default]
    AsAsked,
    /// Always: the gateway asks for it. A client that did not is not sent the event that brings nothing else.
    Required,
}

impl StreamUsage {
    /// For documents that leave defaults out.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How compressed bodies (`Content-Encoding`) pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Not compressed.
    #[default]
    Identity,
    /// As they come.
    Any,
}

/// What happens to a request for a saturated pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SaturationAction {
    /// It is refused with 429.
    #[default]
    Reject,
    /// It waits in a bounded queue.
    Queue,
}

/// How requests are spread over a backend's endpoints.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Balancing {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// At random, by weight.
    Random,
    /// Of two that are drawn at random, by weight, the one with fewer requests.
    LeastRequest,
}

/// What happens to a request that has headers with an underscore in their names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HeadersWithUnderscores {
    /// It is refused with 400.
    #[default]
    Reject,
    /// It loses those headers.
    Drop,
    /// They are headers like others.
    Allow,
}

impl HeadersWithUnderscores {
    /// For documents that leave defaults out.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When a response's headers tell which of its rule's targets were tried (`x-penstock-tried`) and which one answered
/// (`x-penstock-target`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetHeaders {
    /// Not at all: clients do not learn the names of pools and backends.
    Never,
    /// Where one was left for another.
    #[default]
    Failover,
    /// Always.
    Always,
}

impl TargetHeaders {
    /// For documents that leave defaults out.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Who is answered on the debug pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DebugAccess {
    /// Whoever connects from 127.0.0.1 or ::1, as `kubectl port-forward` does.
    #[default]
    Local,
    /// Whoever can connect.
    Anyone,
}

/// Whether connections begin with a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ProxyProtocol {
    /// They do not: such a header is no request.
    #[default]
    Never,
    /// They do: others are closed.
    Required,
    /// They may. A client that connects without a proxy can then say that it is anybody.
    Optional,
}

/// Whether the ids that clients give their requests are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestIds {
    /// Those that are harmless are.
    #[default]
    Keep,
    /// None is: each request gets a new one.
    Replace,
}

/// What happens to a request with an escaped slash in its path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EscapedSlashes {
    /// It is passed on as it is, and no slash to routes.
    #[default]
    Keep,
    /// It is refused with 400.
    Refuse,
    /// It becomes a slash before anything looks at the path.
    Unescape,
}

/// A version of TLS.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum TlsVersion {
    /// TLS 1.2, the oldest that is spoken.
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V13,
}

impl TlsVersion {
    /// For documents that leave defaults out.
    pub(crate) fn is_oldest(&self) -> bool {
        *self == Self::V12
    }
}

/// A cipher suite of TLS 1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum CipherSuite {
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")]
    EcdsaAes256,
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")]
    EcdsaAes128,
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdsaChacha20,
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")]
    RsaAes256,
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")]
    RsaAes128,
    #[serde(rename = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")]
    RsaChacha20,
}

impl CipherSuite {
    /// The suite that OpenSSL calls so.
    pub fn from_openssl(name: &str) -> Option<Self> {
        match name {
            "ECDHE-ECDSA-AES256-GCM-SHA384" => Some(Self::EcdsaAes256),
            "ECDHE-ECDSA-AES128-GCM-SHA256" => Some(Self::EcdsaAes128),
            "ECDHE-ECDSA-CHACHA20-POLY1305" => Some(Self::EcdsaChacha20),
            "ECDHE-RSA-AES256-GCM-SHA384" => Some(Self::RsaAes256),
            "ECDHE-RSA-AES128-GCM-SHA256" => Some(Self::RsaAes128),
            "ECDHE-RSA-CHACHA20-POLY1305" => Some(Self::RsaChacha20),
            _ => None,
        }
    }
}

/// What clients speak over TLS, as ALPN calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ClientProtocol {
    /// HTTP/2.
    #[serde(rename = "h2")]
    H2,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http1,
}

/// What clients have to show of themselves in a TLS handshake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ClientProof {
    /// A certificate of one of the authorities.
    #[default]
    Verified,
    /// No certificate, or one of those.
    VerifiedIfGiven,
    /// Any certificate whose key they have. Who signed it is not looked at.
    Any,
}

/// A kind of name in a certificate (`subjectAltName`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CertificateNameKind {
    /// A DNS name, in any case. A wildcard is a name as it is written.
    #[serde(rename = "DNS")]
    Dns,
    /// A URI, such as a SPIFFE id.
    #[serde(rename = "URI")]
    Uri,
    /// An address of mail.
    Email,
    /// An IP address.
    Address,
}

/// How a name in a certificate is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CertificateNameMatch {
    /// It is the value.
    #[default]
    Exact,
    /// It begins with the value.
    Prefix,
    /// It ends with the value.
    Suffix,
}

/// Makes choices tell whether they are what a document that says nothing has.
macro_rules! with_default {
    ($($choice:ty),*) => { $(
        impl $choice {
            /// For documents that leave defaults out.
            pub(crate) fn is_default(&self) -> bool {
                *self == Self::default()
            }
        }
    )* };
}

with_default!(ProxyProtocol, RequestIds, EscapedSlashes, CertificateNameMatch);

plain_knob!(Encoding, Engine, UpstreamProtocol, SaturationAction, Balancing, DebugAccess);
