//! Lowering the headers in which clients bring credentials of their own.

use http::HeaderName;

use super::Kind;
use crate::lower::text;
use crate::raw::RawCredentialOverride;
use crate::report::{FieldPath, Report};
use crate::settings::ApiSchema;
use crate::spec::{
    Action, BackendSpec, ClientCredential, ClientHeaders, Credential, Destination, PoolSpec, Rule, Upstream,
};

/// Where clients bring a credential of `kind`. `None` if one of the headers is none.
pub(super) fn lower(
    raw: &RawCredentialOverride,
    kind: Kind,
    schema: Option<ApiSchema>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<ClientCredential> {
    let of_aws = [
        ("accessKeyIdHeader", &raw.access_key_id_header, "x-aigw-aws-access-key-id"),
        ("secretAccessKeyHeader", &raw.secret_access_key_header, "x-aigw-aws-secret-access-key"),
        ("sessionTokenHeader", &raw.session_token_header, "x-aigw-aws-session-token"),
    ];
    let mut name = |field: &str, written: &Option<String>, default: &'static str| {
        let named = written.as_deref().map(text::editable_header_name);
        named
            .unwrap_or_else(|| Ok(HeaderName::from_static(default)))
            .map_err(|message| report.add(&place.field(field), || message))
            .ok()
    };
    let headers = if kind == Kind::Aws {
        let [id, secret, token] = of_aws.map(|(field, written, default)| name(field, written, default));
        let (access_key_id, secret_access_key, session_token) = (id?, secret?, token?);
        if access_key_id == secret_access_key
            || access_key_id == session_token
            || secret_access_key == session_token
        {
            report.add(place, || "names one header twice: each part of a key has its own".to_owned());
        }
        ClientHeaders::Aws { access_key_id, secret_access_key, session_token }
    } else {
        ClientHeaders::Key(name("header", &raw.header, default_header(kind, schema))?)
    };
    let unused: &[_] = if kind == Kind::Aws {
        &[("header", raw.header.is_some())]
    } else {
        &of_aws.map(|(field, written, _)| (field, written.is_some()))
    };
    for (field, _) in unused.iter().filter(|(_, is_there)| *is_there) {
        let message = match kind {
            Kind::Aws => "has no meaning beside aws: its keys come in three headers, each with a field",
            _ => "has no meaning without aws: leave it out",
        };
        report.add(&place.field(field), || message.to_owned());
    }
    Some(ClientCredential { headers, falls_back: raw.fallback_to_configured })
}

/// With what the names begin that Envoy AI Gateway gives these headers.
const PREFIX: &str = "x-aigw-";

/// Names that Envoy AI Gateway gives these headers.
fn default_header(kind: Kind, schema: Option<ApiSchema>) -> &'static str {
    match (kind, schema) {
        (Kind::Azure, _) => "x-aigw-azure-access-token",
        (Kind::Gcp, _) => "x-aigw-gcp-access-token",
        (_, Some(ApiSchema::Anthropic)) => "x-aigw-anthropic-api-key",
        (_, Some(ApiSchema::AzureOpenAI)) => "x-aigw-azure-api-key",
        _ => "x-aigw-api-key",
    }
}

/// Has rules take out the headers in which clients bring a credential for one of their upstreams, wherever a request
/// goes: what is meant for one upstream is not another's.
pub(in crate::lower) fn strip_of_clients(rules: &mut [Rule], pools: &[PoolSpec], backends: &[BackendSpec]) {
    let credential = |upstream: Upstream| -> Option<&Credential> {
        match upstream {
            Upstream::Pool(index) => pools.get(index.0)?.credential.as_ref(),
            Upstream::Backend(index) => backends.get(index.0)?.credential.as_ref(),
        }
    };
    // Names that have no other meaning are nobody else's either, in whatever rule.
    let of_pools = pools.iter().filter_map(|pool| pool.credential.as_ref());
    let of_all = of_pools.chain(backends.iter().filter_map(|backend| backend.credential.as_ref()));
    let of_all = of_all.filter_map(|credential| credential.client.as_ref());
    let everywhere: Vec<_> = of_all
        .flat_map(|client| client.headers.names())
        .filter(|name| name.as_str().starts_with(PREFIX))
        .collect();
    for rule in rules {
        let tiers = match &rule.action {
            Action::Forward(tiers) => &tiers[..],
            Action::Redirect(_) | Action::Respond(_) => &[],
        };
        let targets =
            tiers.iter().flat_map(|tier| &tier.targets).filter_map(|target| match target.destination {
                Destination::Upstream(upstream) => Some(upstream),
                Destination::Status(_) | Destination::Closed(_) => None,
            });
        let upstreams = targets.chain(rule.mirrors.iter().map(|mirror| mirror.upstream));
        let clients = upstreams.filter_map(|upstream| credential(upstream)?.client.as_ref());
        let mut names: Vec<_> = clients.flat_map(|client| client.headers.names()).cloned().collect();
        names.extend(everywhere.iter().copied().cloned());
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        rule.client_credentials = names.into();
    }
}
