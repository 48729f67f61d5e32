//! Pools and backends.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    RawConnection, RawCredential, RawEjection, RawFailureRuns, RawHashBy, RawHealthCheck, RawMetrics,
    RawSaturation,
};
use crate::knob::{Address, Span};
use crate::settings::{
    ApiSchema, Balancing, CircuitBreaker, Encoding, Engine, Provider, ServedApi, UpstreamProtocol,
};

/// A group of model servers that serve the same models. The picker chooses among them for each request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawPool {
    /// Its name, by which targets choose it; unique among pools. Lower case letters, digits, `-` and `.`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its model servers. A pool may have none for a while: the answer is then 503.
    #[serde(default)]
    #[schemars(length(max = 50_000))]
    pub endpoints: Vec<RawEndpoint>,
    /// Where more of its model servers are listed: paths of `Endpoints` documents, relative to this one; in
    /// Kubernetes, names of ConfigMaps in the same namespace that have one at the key `endpoints.yaml`. Of an address
    /// listed twice, the first counts. A list that is missing has no endpoints yet; a change to one is taken over
    /// without rebuilding anything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub endpoints_from: Vec<String>,
    /// The software of its model servers, which decides the names of their metrics.
    #[serde(default)]
    pub engine: Engine,
    /// How they are spoken to.
    #[serde(default)]
    pub protocol: UpstreamProtocol,
    /// The API that they serve, where clients of other APIs are to be served as well. Left out, requests and responses
    /// pass as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<RawApi>,
    /// TLS towards them. Left out, it is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RawUpstreamTls>,
    /// What the gateway shows them to be let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<RawCredential>,
    /// How compressed requests reach them: `identity` decodes their bodies first, as vLLM and most others need it; `any`
    /// passes them on as they come, unless the model is renamed.
    #[serde(default)]
    pub request_encoding: Encoding,
    /// How their responses may be compressed: `identity` asks them not to compress whatever the client accepts, so that
    /// tokens can be counted; `any` lets the client choose.
    #[serde(default)]
    pub response_encoding: Encoding,
    /// Connections to them.
    #[serde(default)]
    pub connection: RawConnection,
    /// Reading their load.
    #[serde(default)]
    pub metrics: RawMetrics,
    /// How the picker chooses: an `EndpointPickerConfig`, as the Gateway API Inference Extension defines it. Left out,
    /// the endpoint is chosen that is expected to begin its answer soonest (`expected-ttft-scorer`): by the prompt tokens
    /// that it has to compute first, those of the prompt that it has not cached, and the requests that it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub picker: Option<serde_json::Value>,
    /// What happens when all of them are full.
    #[serde(default)]
    pub saturation: RawSaturation,
    /// When one of them is left out for a while.
    #[serde(default)]
    pub ejection: RawEjection,
    /// Priorities that requests can ask for by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub objectives: Vec<RawObjective>,
    /// What models are called here (`InferenceModelRewrite`). The first that names the model asked for is used; it
    /// comes after the target's `modelOverride`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub model_rewrites: Vec<RawModelRewrite>,
    /// The names of policies whose limits hold for what is asked of it. They have limits only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub policies: Vec<String>,
}

/// New names for models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawModelRewrite {
    /// The models that are renamed. None is every model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub models: Vec<String>,
    /// What they become, one of these by weight.
    #[schemars(length(min = 1, max = 64))]
    pub targets: Vec<RawModelRewriteTarget>,
}

/// A new name for a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawModelRewriteTarget {
    /// The name that is written into the body.
    #[schemars(length(min = 1, max = 1024))]
    pub model: String,
    /// Its share of the requests.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub weight: u32,
}

/// The API that an upstream serves. Requests of clients that speak another one are translated, and responses back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawApi {
    /// The API. Left out: the provider's, or `OpenAI`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<ApiSchema>,
    /// What stands before the API's paths in place of `v1`. Of `OpenAI`, `Anthropic` and `Cohere`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub prefix: Option<String>,
    /// The API's version: `api-version` of `AzureOpenAI` (left out, its v1 API is used), `anthropic-version` of `Anthropic`,
    /// `anthropic_version` of `AWSAnthropic` and `GCPAnthropic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub version: Option<String>,
    /// The Google Cloud project. Of `GCPVertexAI` and `GCPAnthropic`, which need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub project: Option<String>,
    /// APIs that it serves itself beside chat completions: requests of these pass as they are, those of others are
    /// translated. Of `OpenAI` and `AzureOpenAI`. Left out: the provider's, or `Responses`. vLLM and SGLang serve
    /// `Messages` too; an engine that only has chat has `[]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2))]
    pub serves: Option<Vec<ServedApi>>,
    /// The region, such as `us-east-1` or `global`. Of `GCPVertexAI` and `GCPAnthropic`, which need it, and of AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
}

/// One model server of a pool. Several ports of one pod are several endpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawEndpoint {
    /// Its IP address and port, unique in the pool.
    pub address: Address,
    /// What people call it, such as `namespace/pod`; the address if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub name: Option<String>,
    /// Its software, where it differs from the pool's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// The port of its metrics page, where it differs from the address's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub metrics_port: Option<u16>,
    /// Labels that the picker's filters select by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A priority with a name (`InferenceObjective`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawObjective {
    /// What requests name in `x-llm-d-inference-objective` or `x-gateway-inference-objective`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Higher is served first; below zero is shed first. A request that names none has 0.
    #[serde(default)]
    pub priority: i32,
}

/// TLS towards an upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawUpstreamTls {
    /// The name that is asked for and verified; the endpoint's host if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub sni: Option<String>,
    /// The path of a PEM file, or `secret:KEY`, with the authorities to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ca_file: Option<String>,
    /// The path of a PEM file, or `secret:KEY`, with the gateway's own certificate. Needs `clientKeyFile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub client_certificate_file: Option<String>,
    /// The path of a PEM file, or `secret:KEY`, with the private key of that certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub client_key_file: Option<String>,
    /// Accept any certificate. Whoever can reach the network between can then read and change everything.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// A plain upstream: a service, or a hosted API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawBackend {
    /// Its name, by which targets choose it; unique among backends. Lower case letters, digits, `-` and `.`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// A hosted API that is known by this name: `endpoints`, `tls` and `api` are then left out, or written to differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Where it serves. At least one, unless `endpointsFrom` or `provider` says where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10_000))]
    pub endpoints: Vec<RawBackendEndpoint>,
    /// Where more of its endpoints are listed, as in a pool. While all lists are missing or empty, the answer is 503.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub endpoints_from: Vec<String>,
    /// How it is spoken to.
    #[serde(default)]
    pub protocol: UpstreamProtocol,
    /// The API that it serves. Left out, requests and responses pass as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<RawApi>,
    /// TLS towards it. Left out, it is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RawUpstreamTls>,
    /// What the gateway shows it to be let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<RawCredential>,
    /// How requests are spread over its endpoints.
    #[serde(default)]
    pub balancing: Balancing,
    /// Which requests go to the same endpoint, in place of `balancing`. Left out, nothing binds a request to an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_by: Option<RawHashBy>,
    /// How often DNS names are resolved again.
    #[serde(default = "half_a_minute")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub resolve_interval: Span,
    /// Active health checks. Left out, there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<RawHealthCheck>,
    /// How compressed requests reach it: `any` passes them on as they come, unless the model is renamed; `identity` decodes
    /// their bodies first.
    #[serde(default = "any_encoding")]
    pub request_encoding: Encoding,
    /// How its responses may be compressed, as in a pool.
    #[serde(default)]
    pub response_encoding: Encoding,
    /// Connections to it.
    #[serde(default)]
    pub connection: RawConnection,
    /// When an endpoint is left out for a while.
    #[serde(default)]
    pub ejection: RawEjection,
    /// Runs of failures that eject an endpoint too. Left out, there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_runs: Option<RawFailureRuns>,
    /// The share of its endpoints, in percent, that has to be well: while fewer are, requests go to all of them, whatever
    /// health checks and ejections say, since those that are left would break down. 0: never.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = 100))]
    pub panic_percent: u32,
    /// How much may be under way there at one time. Left out, there is no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// The names of policies whose limits hold for what is asked of it. They have limits only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub policies: Vec<String>,
}

/// One address of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawBackendEndpoint {
    /// An IP address, or a DNS name, which may stand for several addresses.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// The port.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// Its share of the requests.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000))]
    pub weight: u32,
}

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object" })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn any_encoding() -> Encoding {
    Encoding::Any
}

fn half_a_minute() -> Span {
    Span::secs(30)
}

fn one() -> u32 {
    1
}
