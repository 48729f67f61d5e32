//! Keys of clients: Secrets of them become a file of digests, so that nothing that is published has a key.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use penstock_config::KeyDigest;
use penstock_config::raw::RawExtract;
use sha2::{Digest as _, Sha256};

use super::{Fault, File, Keys, MAX_FILE_BYTES};
use crate::api::{KeyAccess, KeyPlaces, SecretRef};
use crate::context::{Context, Referrer};
use crate::output::Made;
use crate::world::{Key, Kind};

/// What Envoy takes off a header's value before it compares the key.
const BEARER: &str = "Bearer ";

/// The most clients that a status names.
const MAX_NAMED: usize = 8;

pub(super) fn read(context: &Context<'_>, policy: &Key, spec: &KeyAccess, notes: &mut Vec<String>) -> Keys {
    let refs = &spec.credential_refs;
    Keys {
        file: (!refs.is_empty()).then(|| digests(context, policy, refs, notes)),
        places: spec.extract_from.iter().flat_map(places).collect(),
        header: spec.forward_client_id_header.clone(),
        sanitize: spec.sanitize,
    }
}

/// The places, in the order in which they are looked at.
fn places(places: &KeyPlaces) -> Vec<RawExtract> {
    let mut all = Vec::new();
    for name in &places.headers {
        let header = RawExtract { header: Some(name.clone()), ..RawExtract::default() };
        all.push(RawExtract { prefix: Some(BEARER.to_owned()), ..header.clone() });
        all.push(header);
    }
    all.extend(
        places.params.iter().map(|it| RawExtract { query: Some(it.clone()), ..RawExtract::default() }),
    );
    all.extend(
        places.cookies.iter().map(|it| RawExtract { cookie: Some(it.clone()), ..RawExtract::default() }),
    );
    let mut distinct: Vec<RawExtract> = Vec::with_capacity(all.len());
    for place in all {
        if !distinct.contains(&place) {
            distinct.push(place);
        }
    }
    distinct
}

/// The file of digests. Of several keys for one client the first counts; one key of two clients says nothing of who asks.
fn digests(
    context: &Context<'_>,
    policy: &Key,
    refs: &[SecretRef],
    notes: &mut Vec<String>,
) -> Result<File, Fault> {
    let from = Referrer::of(Kind::SecurityPolicy, &policy.namespace);
    let mut clients: BTreeMap<&str, &Key> = BTreeMap::new();
    let mut keys: BTreeMap<[u8; 32], &str> = BTreeMap::new();
    let mut text = String::new();
    let mut doubled = Vec::new();
    let mut found = Vec::with_capacity(refs.len());
    for reference in refs {
        let secret = context.referred_secret(from, reference, "Invalid").map_err(|error| error.message)?;
        found.push(secret);
    }
    for (secret, values) in &found {
        for (client, value) in values.iter() {
            if let Some(first) = clients.get(client.as_str()) {
                doubled.push(format!("{client} (Secret {first})"));
                continue;
            }
            let key = value.expose().trim_ascii();
            if key.is_empty() || !key.iter().all(|byte| (0x20..0x7f).contains(byte)) {
                return Err(format!("{client} of Secret {secret} is not a key that requests can show"));
            }
            let digest: [u8; 32] = Sha256::digest(key).into();
            if let Some(other) = keys.insert(digest, client) {
                return Err(format!("{client} of Secret {secret} has the key of {other}"));
            }
            clients.insert(client, secret);
            // Writing to a String does not fail.
            let _ = writeln!(text, "{client} {}", KeyDigest(digest));
        }
    }
    if text.len() > MAX_FILE_BYTES {
        return Err(format!("the digests of all keys have more than {MAX_FILE_BYTES} bytes"));
    }
    if !doubled.is_empty() {
        let more = doubled.len().saturating_sub(MAX_NAMED);
        doubled.truncate(MAX_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        notes.push(format!(
            "clients that several Secrets have use the key of the first: {}{more}",
            doubled.join(", ")
        ));
    }
    let names: Vec<String> = found.iter().map(|(secret, _)| format!("Secret {secret}")).collect();
    let of = format!("a line `NAME sha256:DIGEST` for each key of {}", names.join(", "));
    Ok(File::made("access", policy, "api-keys", Made::new(text, of)))
}
