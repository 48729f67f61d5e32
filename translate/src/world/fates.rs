//! What becomes of each field that nobody here acts on: it is named in a status, or what it is for is closed.
//!
//! A field restricts if it decides who may ask, or how much. Without it a request would get what it was meant not to get,
//! so the requests that the field is for are answered with 500. All others change how requests are served: they are served
//! without it, and a status says so. The fields that are acted on are those that the types of [`api`](crate::api) have. A
//! test holds that every field of the original definitions has one of the three fates, and no default.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Kind, shorten};

/// The fields of a kind that nobody acts on. Paths are below `spec`; what lies below a path shares its fate.
#[derive(Debug, Clone, Copy)]
pub struct Fates {
    /// The kind.
    pub kind: Kind,
    /// Those that are acted on, of a kind of which most is not. What lies in them may be named or close all the same.
    pub acted_on: &'static [&'static str],
    /// Those that a status names.
    pub named: &'static [&'static str],
    /// Those that close what they are for.
    pub closes: &'static [&'static str],
    /// Lists that do so as well, but for their items that say `failOpen: true`: whoever wrote these has said that requests
    /// may pass without.
    pub closes_unless_open: &'static [&'static str],
    /// Whether fields that a later definition may add close too: the kind is there to restrict.
    pub is_strict: bool,
}

/// Fields that say what a policy is for. They are read of kinds that are otherwise not acted on.
pub const TARGETS: &[&str] = &["mergeType", "targetRef", "targetRefs", "targetSelectors"];

/// The most fields without a definition that are told of one object.
const MAX_UNKNOWN: usize = 8;

/// The longest name of such a field that is told, in bytes.
const MAX_UNKNOWN_BYTES: usize = 80;

/// Nothing.
const NONE: Fates = Fates {
    kind: Kind::GatewayClass,
    acted_on: &[],
    named: &[],
    closes: &[],
    closes_unless_open: &[],
    is_strict: false,
};

/// Of a GatewayConfig.
const GATEWAY_CONFIG: &[&str] = &["extProc", "forwardProxy"];

/// All kinds that have such fields.
pub const FATES: &[Fates] = &[
    Fates {
        kind: Kind::Gateway,
        named: &[
            "addresses[].value",
            "allowedListeners",
            "defaultScope",
            "listeners[].tls.options",
            "tls.backend",
        ],
        ..NONE
    },
    Fates { kind: Kind::ListenerSet, named: &["listeners"], ..NONE },
    Fates {
        kind: Kind::HttpRoute,
        named: &["rules[].sessionPersistence", "useDefaultGateways"],
        // Rules refuse filters by their types.
        ..NONE
    },
    Fates { kind: Kind::BackendTlsPolicy, named: &["options"], ..NONE },
    Fates { kind: Kind::AiGatewayRoute, ..NONE },
    Fates { kind: Kind::AiServiceBackend, named: &["backendRef.port"], ..NONE },
    Fates { kind: Kind::BackendSecurityPolicy, named: OPENID_CONNECT, ..NONE },
    Fates { kind: Kind::GatewayConfig, named: GATEWAY_CONFIG, ..NONE },
    Fates {
        kind: Kind::Backend,
        named: &[
            "endpoints[].hostname",
            "endpoints[].unix",
            "endpoints[].zone",
            "fallback",
            "tls.alpnProtocols",
            "tls.ciphers",
            "tls.ecdhCurves",
            "tls.fingerprints",
            "tls.maxVersion",
            "tls.minVersion",
            "tls.signatureAlgorithms",
        ],
        ..NONE
    },
    Fates { kind: Kind::EnvoyProxy, named: ENVOY_PROXY, ..NONE },
    Fates {
        kind: Kind::SecurityPolicy,
        acted_on: &["apiKeyAuth", "authorization", "basicAuth", "cors", "extAuth", "jwt", "oidc"],
        named: &[
            "extAuth.grpc.backendSettings",
            "extAuth.http.backendSettings",
            "jwt.providers[].remoteJWKS.backendSettings",
            // Tokens are never kept as they are.
            "oidc.disableTokenEncryption",
            "oidc.provider.backendSettings",
        ],
        closes: &[
            "authorization.rules[].principal.clientIPGeoLocations",
            // What the server is told and decides by.
            "extAuth.contextExtensions[].valueRef",
            "extAuth.includeRouteMetadata",
            // Whose keys are believed.
            "jwt.providers[].remoteJWKS.backendRef",
            "jwt.providers[].remoteJWKS.backendRefs",
            // Who is asked for tokens, and shown the client's secret.
            "oidc.provider.backendRef",
            "oidc.provider.backendRefs",
        ],
        is_strict: true,
        ..NONE
    },
    Fates {
        kind: Kind::ClientTrafficPolicy,
        acted_on: &[
            "clientIPDetection",
            "connection",
            "enableProxyProtocol",
            "headers",
            "healthCheck",
            "http2",
            "path",
            "proxyProtocol",
            "scheme",
            "timeout",
            "tls",
        ],
        named: CLIENT_TRAFFIC_POLICY,
        closes: &[
            // What of a client's certificate is looked at beside who signed it.
            "tls.clientValidation.subjectAltNames.otherNames",
        ],
        ..NONE
    },
    Fates {
        kind: Kind::BackendTrafficPolicy,
        acted_on: &[
            "circuitBreaker",
            "healthCheck",
            "http2",
            "loadBalancer",
            "rateLimit",
            "requestBuffer",
            "responseOverride",
            "retry",
            "timeout",
        ],
        named: &[
            "admissionControl",
            "bandwidthLimit",
            "compression",
            "compressor",
            "connection",
            "dns",
            "faultInjection",
            "httpUpgrade",
            "proxyProtocol",
            "routingType",
            "tcpKeepalive",
            "telemetry",
            "useClientProtocol",
        ],
        ..NONE
    },
    Fates {
        kind: Kind::EnvoyExtensionPolicy,
        // A program that sees requests may well refuse some; nobody but its author knows.
        closes: &["dynamicModule", "lua"],
        closes_unless_open: &["extProc", "wasm"],
        is_strict: true,
        ..NONE
    },
    Fates { kind: Kind::EnvoyPatchPolicy, named: &["jsonPatches", "priority", "type"], ..NONE },
    Fates { kind: Kind::QuotaPolicy, acted_on: &["perModelQuotas", "serviceQuota"], is_strict: true, ..NONE },
    Fates { kind: Kind::XBackendTrafficPolicy, named: &["retryConstraint", "sessionPersistence"], ..NONE },
];

const CLIENT_TRAFFIC_POLICY: &[&str] = &[
    "grpc",
    "headers.disableRateLimitHeaders",
    "headers.enableEnvoyHeaders",
    "http1",
    "http3",
    "tcpKeepalive",
    "tls.ecdhCurves",
    "tls.fingerprints",
    "tls.session",
    "tls.signatureAlgorithms",
];

const ENVOY_PROXY: &[&str] = &[
    "backendTLS",
    "bootstrap",
    "concurrency",
    "dynamicModules",
    "extraArgs",
    "filterOrder",
    "geoIP",
    "ipFamily",
    "logging",
    "luaValidation",
    "mergeGateways",
    "mergeType",
    "preserveRouteOrder",
    "provider.host",
    "provider.kubernetes.envoyDaemonSet",
    "provider.kubernetes.envoyDeployment.container.env",
    "provider.kubernetes.envoyDeployment.container.image",
    "provider.kubernetes.envoyDeployment.container.imageRepository",
    "provider.kubernetes.envoyDeployment.container.securityContext",
    "provider.kubernetes.envoyDeployment.container.volumeMounts",
    "provider.kubernetes.envoyDeployment.initContainers",
    "provider.kubernetes.envoyDeployment.name",
    "provider.kubernetes.envoyDeployment.patch",
    "provider.kubernetes.envoyDeployment.pod.securityContext",
    "provider.kubernetes.envoyDeployment.pod.volumes",
    "provider.kubernetes.envoyDeployment.strategy",
    "provider.kubernetes.envoyHpa.name",
    "provider.kubernetes.envoyHpa.patch",
    "provider.kubernetes.envoyPDB.name",
    "provider.kubernetes.envoyPDB.patch",
    "provider.kubernetes.envoyService.allocateLoadBalancerNodePorts",
    "provider.kubernetes.envoyService.name",
    "provider.kubernetes.envoyServiceAccount",
    "provider.kubernetes.useListenerPortAsContainerPort",
    "routingType",
    "shutdown.minDrainDuration",
    "telemetry",
];

/// Fields of an OpenID Connect client that are for logging people in, at each of these places.
macro_rules! openid_connect {
    ($($place:literal)*) => {
        &[$(
            concat!($place, ".cookieConfig"),
            concat!($place, ".cookieDomain"),
            concat!($place, ".cookieNames"),
            concat!($place, ".csrfTokenTTL"),
            concat!($place, ".defaultRefreshTokenTTL"),
            concat!($place, ".defaultTokenTTL"),
            concat!($place, ".denyRedirect"),
            concat!($place, ".disableTokenEncryption"),
            concat!($place, ".forwardAccessToken"),
            concat!($place, ".forwardIDToken"),
            concat!($place, ".logoutPath"),
            concat!($place, ".passThroughAuthHeader"),
            concat!($place, ".provider.authorizationEndpoint"),
            concat!($place, ".provider.backendRef"),
            concat!($place, ".provider.backendRefs"),
            concat!($place, ".provider.backendSettings"),
            concat!($place, ".provider.endSessionEndpoint"),
            concat!($place, ".redirectURL"),
            concat!($place, ".refreshToken"),
            concat!($place, ".resources"),
        )*]
    };
}

const OPENID_CONNECT: &[&str] = openid_connect! {
    "awsCredentials.oidcExchangeToken.oidc"
    "azureCredentials.oidcExchangeToken.oidc"
    "gcpCredentials.workloadIdentityFederationConfig.oidcExchangeToken.oidc"
};

/// The fields of an object that nobody acts on, each with `spec.` before it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Those that a status names.
    pub(crate) named: Vec<String>,
    /// Those that close what they are for.
    pub(crate) closing: Vec<String>,
}

/// Looks for the declared fields of a kind in a body, and for those that are not read in what is acted on: `ignored` has
/// their places, as `serde_ignored` tells them.
pub(crate) fn find(kind: Kind, spec: &Value, ignored: &[String]) -> Found {
    let mut found = Found::default();
    let Some(fates) = FATES.iter().find(|fates| fates.kind == kind) else { return found };
    let full = |path: &&str| format!("spec.{path}");
    let is_there = |path: &&&str| is_present(spec, path);
    found.named.extend(fates.named.iter().filter(is_there).map(full));
    found.closing.extend(fates.closes.iter().filter(is_there).map(full));
    for path in fates.closes_unless_open {
        let items = spec.get(path).and_then(Value::as_array).into_iter().flatten();
        let is_open = |item: &Value| item.get("failOpen") == Some(&Value::Bool(true));
        let (open, closed): (Vec<&Value>, Vec<&Value>) = items.partition(|item| is_open(item));
        found.closing.extend((!closed.is_empty()).then(|| full(path)));
        found.named.extend((!open.is_empty()).then(|| format!("spec.{path}[] with failOpen")));
    }
    if kind.is_unsupported() {
        let unread = fates.unread(spec, ignored);
        let unknown = if fates.is_strict { &mut found.closing } else { &mut found.named };
        unknown.extend(fates.unknown(spec).chain(unread));
    }
    found
}

impl Fates {
    /// Whether any of its fields restricts: those that close, and limits, which are acted on.
    pub(crate) fn restricts(&self) -> bool {
        self.is_strict
            || self.acted_on.contains(&"rateLimit")
            || !self.closes.is_empty()
            || !self.closes_unless_open.is_empty()
    }

    /// Fields in those that are acted on that nobody reads and that are not declared. Each once.
    fn unread(&self, spec: &Value, ignored: &[String]) -> BTreeSet<String> {
        let declared = || self.named.iter().chain(self.closes);
        let is_declared = |field: &str| {
            let lies_in = |path: &str| {
                field.strip_prefix(path).is_some_and(|it| it.is_empty() || it.starts_with(['.', '[']))
            };
            declared().any(|path| lies_in(path))
        };
        let is_inside =
            |place: &str| place.split_once('.').is_some_and(|(first, _)| self.acted_on.contains(&first));
        let there = ignored.iter().filter(|place| is_inside(place) && is_something(spec, place));
        let fields = there.map(|place| field_of(place)).filter(|field| !is_declared(field));
        fields.take(MAX_UNKNOWN).map(|field| format!("spec.{}", shorten(&field, MAX_UNKNOWN_BYTES))).collect()
    }

    /// Fields that no definition had when this was written.
    fn unknown<'s>(&'s self, spec: &'s Value) -> impl Iterator<Item = String> + 's {
        let is_known = |name: &str| {
            let lists = [self.acted_on, self.named, self.closes, self.closes_unless_open, TARGETS];
            lists.iter().flat_map(|list| *list).any(|path| path.split(['.', '[']).next() == Some(name))
        };
        let names = spec.as_object().into_iter().flat_map(|fields| fields.keys());
        let unknown = names.filter(move |name| !is_known(name)).take(MAX_UNKNOWN);
        unknown.map(|name| format!("spec.{}", shorten(name, MAX_UNKNOWN_BYTES)))
    }
}

/// A field by its place: `rules.0.name` is `rules[].name`.
fn field_of(place: &str) -> String {
    let mut field = String::new();
    for step in place.split('.').filter(|step| *step != "?") {
        let is_index = step.bytes().all(|byte| byte.is_ascii_digit());
        match (is_index, field.is_empty()) {
            (true, _) => field.push_str("[]"),
            (false, true) => field.push_str(step),
            (false, false) => field.extend([".", step]),
        }
    }
    field
}

/// Whether there is something at a place. `false` and lists without items are nothing.
fn is_something(spec: &Value, place: &str) -> bool {
    let mut steps = place.split('.').filter(|step| *step != "?");
    let found = steps.try_fold(spec, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        value => value.get(step),
    });
    // What is called so that it is not found is there all the same.
    found.is_none_or(|found| *found != Value::Bool(false) && *found != Value::Array(Vec::new()))
}

/// Whether a body has something at a path. `false` and lists without items are nothing.
fn is_present(value: &Value, path: &str) -> bool {
    let (step, rest) = path.split_once('.').map_or((path, None), |(step, rest)| (step, Some(rest)));
    let (name, is_list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
    let Some(inner) = value.get(name) else { return false };
    match (rest, is_list, inner) {
        (Some(rest), true, Value::Array(items)) => items.iter().any(|item| is_present(item, rest)),
        (Some(_), true, _) | (None, _, Value::Null | Value::Bool(false)) => false,
        (Some(rest), false, inner) => is_present(inner, rest),
        (None, _, Value::Array(items)) => !items.is_empty(),
        (None, ..) => true,
    }
}

#[cfg(test)]
mod tests;
