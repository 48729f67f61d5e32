//! Knobs that choose one of a few things.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::knob::plain_knob;

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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Balancing {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// At random, by weight.
    Random,
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

plain_knob!(Encoding, Engine, UpstreamProtocol, SaturationAction, Balancing, DebugAccess);
