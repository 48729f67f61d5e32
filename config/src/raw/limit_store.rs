//! Where gateways share the counters of limits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::knob::Span;

/// Where the gateways that serve this document share the counters of limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawLimitStore {
    /// In a Redis or Valkey.
    pub redis: RawRedis,
    /// What becomes of shared limits while it cannot be reached.
    #[serde(default, skip_serializing_if = "RawOnStoreFailure::is_default")]
    pub on_failure: RawOnStoreFailure,
}

/// What becomes of shared limits while their store cannot be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawOnStoreFailure {
    /// Each gateway counts by itself, up to its share of the amount (`replicas`).
    #[default]
    LocalShare,
    /// Requests pass, and are counted where they can be.
    Open,
    /// Requests are answered with 503.
    Closed,
}

/// A Redis or Valkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRedis {
    /// Where it is, `HOST:PORT`: the server, nodes of the cluster, or sentinels.
    #[schemars(length(min = 1, max = 64))]
    pub addresses: Vec<String>,
    /// How the servers belong together.
    #[serde(default)]
    pub mode: RawRedisMode,
    /// With `mode: Sentinel`: the name by which sentinels know the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub primary: Option<String>,
    /// The number of the database. A cluster has 0 alone.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0, max = 65_535))]
    pub database: u32,
    /// The user. Left out: the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub username: Option<String>,
    /// The path of a file, or `secret:KEY`, with the password. Read again when a connection is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub password_file: Option<String>,
    /// TLS towards it. Left out, it is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RawRedisTls>,
    /// How long a request that has to wait for the store waits.
    #[serde(default = "deadline", skip_serializing_if = "is_deadline")]
    #[schemars(extend("default" = "20ms", "x-minimum" = "1ms", "x-maximum" = "5s"))]
    pub deadline: Span,
    /// What stands before each key, so that several installations can use one store.
    #[serde(default = "key_prefix", skip_serializing_if = "is_key_prefix")]
    #[schemars(length(min = 1, max = 512), extend("default" = KEY_PREFIX))]
    pub key_prefix: String,
    /// What stands behind that before each key, so that several documents of one installation have counters of their own. Not
    /// before those of limits with `sharedAs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub scope: Option<String>,
}

/// How servers of Redis belong together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawRedisMode {
    /// One server.
    #[default]
    Single,
    /// A cluster.
    Cluster,
    /// One primary, which sentinels know.
    Sentinel,
}

/// Certificates of a Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRedisTls {
    /// The path of a file, or `secret:KEY`, with the certificates of those who sign its. Left out: those that the system
    /// trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ca_file: Option<String>,
}

impl RawOnStoreFailure {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl RawRedis {
    /// How long the store is waited for if the document does not say it.
    pub const DEADLINE: Span = Span::ms(20);
}

impl Default for RawRedis {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            mode: RawRedisMode::default(),
            primary: None,
            database: 0,
            username: None,
            password_file: None,
            tls: None,
            deadline: deadline(),
            key_prefix: key_prefix(),
            scope: None,
        }
    }
}

const KEY_PREFIX: &str = "penstock";

fn deadline() -> Span {
    RawRedis::DEADLINE
}

fn is_deadline(deadline: &Span) -> bool {
    *deadline == RawRedis::DEADLINE
}

fn key_prefix() -> String {
    KEY_PREFIX.to_owned()
}

fn is_key_prefix(prefix: &str) -> bool {
    prefix == KEY_PREFIX
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
