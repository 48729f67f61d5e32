//! Lowering identity providers.

use http::HeaderName;
use rustc_hash::FxHashSet;

use super::{boxed, check_distinct, extract, told};
use crate::lower::file::Files;
use crate::lower::names::Names;
use crate::lower::text;
use crate::raw::{RawClaimHeader, RawJwt, RawJwtProvider};
use crate::report::{FieldPath, Quoted, Report};
use crate::spec::{ClaimPath, JwtProvider, KeySetSource};

/// The providers of a policy.
pub(super) fn lower(
    raw: &RawJwt,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Box<[JwtProvider]> {
    let place = place.field("providers");
    let names = raw.providers.iter().map(|provider| provider.name.as_str());
    Names::checked(names, text::label, &place, report);
    let provider = |(index, raw): (usize, &RawJwtProvider)| provider(raw, &place.index(index), files, report);
    raw.providers.iter().enumerate().filter_map(provider).collect()
}

fn provider(
    raw: &RawJwtProvider,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Option<JwtProvider> {
    check_distinct(&raw.audiences, &place.field("audiences"), report);
    let keys = keys(raw, place, files, report);
    let extract_from = extract::of_tokens(&raw.extract_from, &place.field("extractFrom"), report);
    let claim_headers = claim_headers(&raw.claim_headers, &place.field("claimHeaders"), report);
    let consumer_claim = claim(&raw.consumer_claim, &place.field("consumerClaim"), report);
    Some(JwtProvider {
        name: raw.name.as_str().into(),
        issuer: raw.issuer.as_deref().map(Into::into),
        audiences: boxed(&raw.audiences),
        keys: keys?,
        extract_from,
        claim_headers,
        consumer_claim: consumer_claim?,
        is_forwarded: raw.forward,
    })
}

fn keys(
    raw: &RawJwtProvider,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Option<KeySetSource> {
    let fault = match (&raw.keys_url, &raw.keys_file) {
        (Some(url), None) => match text::fetched_address(url) {
            Ok(()) => {
                let cache_duration = raw.cache_duration.0;
                return Some(KeySetSource::Url { url: url.as_str().into(), cache_duration });
            }
            Err(message) => ("keysUrl", message),
        },
        (None, Some(file)) => {
            if raw.cache_duration != RawJwtProvider::CACHE_DURATION {
                let message =
                    "has no meaning with keysFile, which is read again when it changes: leave it out";
                report.add(&place.field("cacheDuration"), || message.to_owned());
            }
            return Some(KeySetSource::File(files.path(file, &place.field("keysFile"), report)));
        }
        (Some(_), Some(_)) => ("keysFile", "stands in place of keysUrl: give one of the two".to_owned()),
        (None, None) => {
            report.add(place, || "says not where its keys are: give it keysUrl or keysFile".to_owned());
            return None;
        }
    };
    let (field, message) = fault;
    report.add(&place.field(field), || message);
    None
}

/// Headers in which upstreams are told claims.
pub(super) fn claim_headers(
    raw: &[RawClaimHeader],
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Box<[(HeaderName, ClaimPath)]> {
    let mut seen = FxHashSet::default();
    let mut headers = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let place = place.index(index);
        let field = place.field("header");
        let header = told(Some(&raw.header), &field, report);
        let claim = claim(&raw.claim, &place.field("claim"), report);
        if let Some(name) = &header
            && !seen.insert(name.clone())
        {
            report.add(&field, || format!("the header {name} has a claim already"));
        }
        headers.extend(header.zip(claim));
    }
    headers.into()
}

/// A claim, by its names with dots between them.
pub(super) fn claim(written: &str, place: &FieldPath<'_>, report: &mut Report) -> Option<ClaimPath> {
    let claim = ClaimPath::parse(written);
    if claim.is_none() {
        let message = || {
            format!(
                "{} is not a claim: write names with a dot between each two, as in \"realm.roles\"",
                Quoted(written)
            )
        };
        report.add(place, message);
    }
    claim
}
