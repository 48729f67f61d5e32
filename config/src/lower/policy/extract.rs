//! Lowering where clients show credentials.

use http::HeaderName;
use http::header::AUTHORIZATION;

use crate::lower::text;
use crate::raw::RawExtract;
use crate::report::{FieldPath, Report};
use crate::spec::Extract;

/// What stands before a key or a token in `authorization` (RFC 6750, 2.1).
const BEARER: &str = "Bearer ";

/// The parameter in which a token may stand (RFC 6750, 2.3).
const ACCESS_TOKEN: &str = "access_token";

/// Headers in which SDKs of Anthropic, Azure and Google show keys.
const KEY_HEADERS: [&str; 3] = ["x-api-key", "api-key", "x-goog-api-key"];

/// Where clients show keys.
pub(super) fn of_keys(raw: &[RawExtract], place: &FieldPath<'_>, report: &mut Report) -> Box<[Extract]> {
    if !raw.is_empty() {
        return places(raw, place, report);
    }
    let plain = KEY_HEADERS.map(|name| header(HeaderName::from_static(name), ""));
    std::iter::once(header(AUTHORIZATION, BEARER)).chain(plain).collect()
}

/// Where clients show tokens.
pub(super) fn of_tokens(raw: &[RawExtract], place: &FieldPath<'_>, report: &mut Report) -> Box<[Extract]> {
    if !raw.is_empty() {
        return places(raw, place, report);
    }
    [header(AUTHORIZATION, BEARER), Extract::Query(ACCESS_TOKEN.into())].into()
}

fn header(name: HeaderName, prefix: &str) -> Extract {
    Extract::Header { name, prefix: prefix.into() }
}

fn places(raw: &[RawExtract], place: &FieldPath<'_>, report: &mut Report) -> Box<[Extract]> {
    let mut places = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let place = place.index(index);
        match one(raw, &place, report) {
            Some(extract) if places.contains(&extract) => {
                report.add(&place, || "is given twice".to_owned());
            }
            extract => places.extend(extract),
        }
    }
    places.into()
}

fn one(raw: &RawExtract, place: &FieldPath<'_>, report: &mut Report) -> Option<Extract> {
    if raw.prefix.is_some() && raw.header.is_none() {
        let message = || "has no meaning without header: leave it out".to_owned();
        report.add(&place.field("prefix"), message);
    }
    match (&raw.header, &raw.query, &raw.cookie) {
        (Some(name), None, None) => {
            let prefix = raw.prefix.as_deref().unwrap_or_default();
            if let Err(message) = text::header_value(prefix) {
                report.add(&place.field("prefix"), || message);
            }
            match text::shown_header_name(name) {
                Ok(name) => Some(header(name, prefix)),
                Err(message) => {
                    report.add(&place.field("header"), || message);
                    None
                }
            }
        }
        (None, Some(name), None) => Some(Extract::Query(name.as_str().into())),
        (None, None, Some(name)) => {
            if let Err(message) = text::cookie_name(name) {
                report.add(&place.field("cookie"), || message);
            }
            Some(Extract::Cookie(name.as_str().into()))
        }
        (None, None, None) => {
            report.add(place, || "says not where to look: give it header, query or cookie".to_owned());
            None
        }
        _ => {
            let message =
                || "is more than one place: make an item of each of header, query and cookie".to_owned();
            report.add(place, message);
            None
        }
    }
}
