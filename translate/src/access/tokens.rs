//! Tokens of identity providers.

use std::collections::BTreeSet;

use penstock_config::Span;
use penstock_config::raw::{RawClaimHeader, RawExtract, RawJwtProvider};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::{Fault, File, MAX_FILE_BYTES, Tokens, distinct};
use crate::api::{LocalKeys, RemoteKeys, TokenAccess, TokenPlaces, TokenProvider};
use crate::context::{Context, Secrets};
use crate::hosts;
use crate::output::Made;
use crate::world::{Key, shorten};

/// The key of a ConfigMap that has a key set.
const JWKS: &str = "jwks";

/// The shortest and longest times that documents have for it.
const CACHE_DURATIONS: (Span, Span) = (Span::secs(1), Span::secs(7 * 24 * 60 * 60));

/// The claim that says who asks.
const SUBJECT: &str = "sub";

/// An identity provider.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    /// As documents have it.
    pub(super) raw: RawJwtProvider,
    /// What it names.
    pub(super) secrets: Secrets,
    /// Whether claims shall change the route.
    pub(super) recomputes_route: bool,
}

pub(super) fn read(context: &Context<'_>, policy: &Key, spec: &TokenAccess) -> Tokens {
    let providers = (!spec.providers.is_empty()).then(|| providers(context, policy, &spec.providers));
    Tokens { optional: spec.optional, providers }
}

fn providers(context: &Context<'_>, policy: &Key, all: &[TokenProvider]) -> Result<Vec<Provider>, Fault> {
    let mut names = BTreeSet::new();
    let mut providers = Vec::with_capacity(all.len());
    for (index, spec) in all.iter().enumerate() {
        if !names.insert(&spec.name) {
            return Err(format!("jwt.providers[{index}] has the name of another"));
        }
        let read = provider(context, policy, spec);
        providers.push(read.map_err(|fault| format!("jwt.providers[{index}].{fault}"))?);
    }
    Ok(providers)
}

fn provider(context: &Context<'_>, policy: &Key, spec: &TokenProvider) -> Result<Provider, Fault> {
    let mut raw = RawJwtProvider {
        name: spec.name.clone(),
        issuer: spec.issuer.clone().filter(|issuer| !issuer.is_empty()),
        audiences: distinct(&spec.audiences),
        keys_url: None,
        keys_file: None,
        // Envoy Gateway's as well.
        cache_duration: RawJwtProvider::CACHE_DURATION,
        extract_from: spec.extract_from.as_ref().map(places).unwrap_or_default(),
        claim_headers: spec.claim_to_headers.iter().map(claim_header).collect(),
        consumer_claim: SUBJECT.to_owned(),
        // As Envoy Gateway does it.
        forward: true,
    };
    let mut secrets = Secrets::new();
    match (&spec.remote_jwks, &spec.local_jwks) {
        (Some(remote), None) => {
            raw.keys_url = Some(address(context, &remote.uri)?);
            raw.cache_duration = cache_duration(remote)?;
        }
        (None, Some(local)) => {
            let file = key_set(context, policy, local).map_err(|fault| format!("localJWKS{fault}"))?;
            raw.keys_file = Some(file.path);
            secrets = file.secrets;
        }
        (Some(_), Some(_)) => return Err("remoteJWKS and localJWKS cannot both be".to_owned()),
        (None, None) => return Err("remoteJWKS or localJWKS is missing".to_owned()),
    }
    Ok(Provider { raw, secrets, recomputes_route: spec.recompute_route == Some(true) })
}

fn claim_header(spec: &crate::api::ClaimToHeader) -> RawClaimHeader {
    RawClaimHeader { header: spec.header.clone(), claim: spec.claim.clone() }
}

fn places(places: &TokenPlaces) -> Vec<RawExtract> {
    let mut all = Vec::new();
    for header in &places.headers {
        let prefix = header.value_prefix.clone().filter(|prefix| !prefix.is_empty());
        all.push(RawExtract { header: Some(header.name.clone()), prefix, ..RawExtract::default() });
    }
    all.extend(
        places.params.iter().map(|it| RawExtract { query: Some(it.clone()), ..RawExtract::default() }),
    );
    all.extend(
        places.cookies.iter().map(|it| RawExtract { cookie: Some(it.clone()), ..RawExtract::default() }),
    );
    all
}

/// The address of a key set. The data plane's own host is none, as with Backends. No message has a text of it that may have
/// a password.
fn address(context: &Context<'_>, uri: &str) -> Result<String, Fault> {
    let uri = uri.trim();
    match hosts::check_address(uri, context.options.allow_loopback) {
        Ok(()) => Ok(uri.to_owned()),
        Err(_) if uri.contains('@') => Err("remoteJWKS.uri has a user's name before its host".to_owned()),
        Err(why) => Err(format!("remoteJWKS.uri {:?} {why}", shorten(uri, 80))),
    }
}

fn cache_duration(remote: &RemoteKeys) -> Result<Span, Fault> {
    let Some(text) = &remote.cache_duration else { return Ok(RawJwtProvider::CACHE_DURATION) };
    let span = Span::parse(text).map_err(|error| format!("remoteJWKS.cacheDuration: {error}"))?;
    Ok(span.clamp(CACHE_DURATIONS.0, CACHE_DURATIONS.1))
}

/// A key set that is at hand. It is no secret, and lies with those: documents have no other place for files.
fn key_set(context: &Context<'_>, policy: &Key, spec: &LocalKeys) -> Result<File, Fault> {
    let (text, of) = match (spec.kind.as_deref().unwrap_or("Inline"), &spec.inline, &spec.value_ref) {
        ("Inline", Some(text), _) => (text.clone(), format!("localJWKS.inline of SecurityPolicy {policy}")),
        ("ValueRef", _, Some(reference)) => {
            let is_map = reference.group.as_deref().unwrap_or_default().is_empty()
                && reference.kind.as_deref().is_none_or(|kind| kind == "ConfigMap");
            if !is_map {
                return Err(".valueRef is not for a ConfigMap".to_owned());
            }
            let map = Key::new(policy.namespace.as_str(), &reference.name);
            let data = context.config_map(&map);
            let data = data.ok_or_else(|| format!(".valueRef: the ConfigMap {map} does not exist"))?;
            let (key, text) = data
                .get_key_value(JWKS)
                .or_else(|| data.first_key_value())
                .ok_or_else(|| format!(".valueRef: the ConfigMap {map} has no {JWKS}"))?;
            (text.clone(), format!("{key} of ConfigMap {map}"))
        }
        (kind, ..) => return Err(format!(" has nothing for its type {:?}", shorten(kind, 40))),
    };
    let keys = serde_json::from_str::<Value>(&text).ok();
    let keys = keys.as_ref().and_then(|set| set.get("keys")).and_then(Value::as_array);
    if keys.is_none_or(Vec::is_empty) {
        return Err(format!(": {of} is no key set (JSON with \"keys\")"));
    }
    if text.len() > MAX_FILE_BYTES {
        return Err(format!(": {of} has more than {MAX_FILE_BYTES} bytes"));
    }
    // By what is in it, so that no provider ever has another's keys while document and Secret arrive one after the other.
    let part = format!("jwks-{:016x}", xxh3_64(text.as_bytes()));
    Ok(File::made("access", policy, &part, Made::new(text, of)))
}
