//! Lowering how clients say who they are.

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::limit::Lowering;
use super::{Known, extract, jwt, oidc, told};
use crate::lower::file::Files;
use crate::raw::{RawApiKeys, RawAuthentication, RawBasic};
use crate::report::{FieldPath, Report};
use crate::spec::{ApiKeys, Authentication, Basic, Extract};

/// The ways of a policy.
pub(super) fn lower(
    raw: &RawAuthentication,
    known: &Known<'_>,
    place: &FieldPath<'_>,
    files: &mut Files,
    limits: &mut Lowering<'_, '_>,
) -> Authentication {
    let within = place.field("oidc");
    let oidc = raw.oidc.as_ref().and_then(|raw| oidc::lower(raw, &within, files, limits));
    let report = &mut *limits.report;
    if raw.api_key.is_none() && raw.basic.is_none() && raw.jwt.is_none() && raw.oidc.is_none() {
        report.add(place, || "has no way to say who one is: give it apiKey, basic, jwt or oidc".to_owned());
    }
    if raw.optional && raw.oidc.is_some() {
        let message = "has no meaning with oidc, which leads those to log in who show nothing: leave it out";
        report.add(&place.field("optional"), || message.to_owned());
    }
    let within = place.field("apiKey");
    let api_key = raw.api_key.as_ref().map(|raw| api_keys(raw, known, &within, files, report));
    let basic = raw.basic.as_ref().map(|raw| basic(raw, &place.field("basic"), files, report));
    let jwt = raw.jwt.as_ref().map(|raw| jwt::lower(raw, &place.field("jwt"), files, report));
    let authentication = Authentication { is_optional: raw.optional, api_key, basic, jwt, oidc };
    check_told(raw, &authentication, place, report);
    authentication
}

fn api_keys(
    raw: &RawApiKeys,
    known: &Known<'_>,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> ApiKeys {
    let file = raw.file.as_deref().map(|file| files.path(file, &place.field("file"), report));
    if file.is_none() && !known.has_keys {
        let message =
            || "is missing: no consumer has keys, so give consumers some, or name a file".to_owned();
        report.add(&place.field("file"), message);
    }
    ApiKeys {
        extract_from: extract::of_keys(&raw.extract_from, &place.field("extractFrom"), report),
        file,
        consumer_header: told(raw.consumer_header.as_deref(), &place.field("consumerHeader"), report),
        is_forwarded: raw.forward,
    }
}

fn basic(raw: &RawBasic, place: &FieldPath<'_>, files: &mut Files, report: &mut Report) -> Basic {
    Basic {
        file: files.path(&raw.file, &place.field("file"), report),
        user_header: told(raw.user_header.as_deref(), &place.field("userHeader"), report),
        is_forwarded: raw.forward,
    }
}

/// Reports headers in which upstreams are told something and clients show a credential: clients cannot send the former.
fn check_told(raw: &RawAuthentication, lowered: &Authentication, place: &FieldPath<'_>, report: &mut Report) {
    let of_keys = lowered.api_key.iter().flat_map(|keys| &keys.extract_from);
    let of_tokens = lowered.jwt.iter().flatten().flat_map(|provider| &provider.extract_from);
    let in_header = |extract: &Extract| match extract {
        Extract::Header { name, .. } => Some(name.clone()),
        Extract::Query(_) | Extract::Cookie(_) => None,
    };
    let of_passwords = lowered.basic.as_ref().map(|_| AUTHORIZATION);
    let shown: Vec<HeaderName> = of_keys.chain(of_tokens).filter_map(in_header).chain(of_passwords).collect();
    let mut check = |written: &str, place: &FieldPath<'_>| {
        if let Some(name) = shown.iter().find(|name| name.as_str().eq_ignore_ascii_case(written)) {
            let message = || format!("the header {name} is where clients show a credential: choose another");
            report.add(place, message);
        }
    };
    if let Some(name) = raw.api_key.as_ref().and_then(|keys| keys.consumer_header.as_ref()) {
        check(name, &place.field("apiKey").field("consumerHeader"));
    }
    if let Some(name) = raw.basic.as_ref().and_then(|basic| basic.user_header.as_ref()) {
        check(name, &place.field("basic").field("userHeader"));
    }
    let outer = place;
    let jwt = place.field("jwt");
    let place = jwt.field("providers");
    let providers = raw.jwt.iter().flat_map(|jwt| &jwt.providers);
    for (index, provider) in providers.enumerate() {
        let place = place.index(index);
        let place = place.field("claimHeaders");
        for (index, claim) in provider.claim_headers.iter().enumerate() {
            check(&claim.header, &place.index(index).field("header"));
        }
    }
    let place = outer.field("oidc");
    if let Some(name) = raw.oidc.iter().find_map(|client| client.id_token_header.as_ref())
        && !name.eq_ignore_ascii_case(AUTHORIZATION.as_str())
    {
        check(name, &place.field("idTokenHeader"));
    }
    let place = place.field("claimHeaders");
    for (index, claim) in raw.oidc.iter().flat_map(|client| &client.claim_headers).enumerate() {
        check(&claim.header, &place.index(index).field("header"));
    }
}
