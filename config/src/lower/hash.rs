//! Lowering what requests have to have in common to go to the same endpoint.

use http::HeaderName;

use super::text;
use crate::knob::Knob as _;
use crate::raw::{RawHashBy, RawHashCookie};
use crate::report::{FieldPath, Quoted, Report};
use crate::spec::{HashBy, HashCookie};

/// What requests have to have in common.
pub(super) fn by(raw: &RawHashBy, place: &FieldPath<'_>, report: &mut Report) -> HashBy {
    if *raw == RawHashBy::default() {
        report.add(place, || "says nothing: give it client, headers, queryParams or a cookie".to_owned());
    }
    let headers_place = place.field("headers");
    let headers = raw.headers.iter().enumerate().filter_map(|(index, name)| {
        let name = text::asked_header_name(name);
        name.map_err(|message| report.add(&headers_place.index(index), || message)).ok()
    });
    let headers: Box<[HeaderName]> = headers.collect();
    let cookie_place = place.field("cookie");
    let cookie = raw.cookie.as_ref().map(|raw| cookie(raw, &cookie_place, report));
    HashBy {
        client: raw.client,
        headers,
        query_params: raw.query_params.iter().map(|name| name.as_str().into()).collect(),
        cookie,
    }
}

fn cookie(raw: &RawHashCookie, place: &FieldPath<'_>, report: &mut Report) -> HashCookie {
    if let Err(message) = text::cookie_name(&raw.name) {
        report.add(&place.field("name"), || message);
    }
    let attributes_place = place.field("attributes");
    if raw.ttl.is_none() && !raw.attributes.is_empty() {
        report.add(&attributes_place, || "are of no use without ttl: nobody is given a cookie".to_owned());
    }
    let mut attributes = String::new();
    for (name, value) in &raw.attributes {
        let is_value = value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b';');
        if text::cookie_name(name).is_err() || !is_value {
            let message = || format!("{}={} is no attribute of a cookie", Quoted(name), Quoted(value));
            report.add(&attributes_place, message);
        }
        attributes.push_str("; ");
        attributes.push_str(name);
        if !value.is_empty() {
            attributes.push('=');
            attributes.push_str(value);
        }
    }
    let attributes = raw.ttl.map(|ttl| {
        let seconds = ttl.value().as_secs();
        let age = if seconds > 0 { format!("; Max-Age={seconds}") } else { String::new() };
        // Scripts have no use for it.
        let is_hidden = raw.attributes.keys().any(|name| name.eq_ignore_ascii_case("HttpOnly"));
        format!("{age}{attributes}{}", if is_hidden { "" } else { "; HttpOnly" }).into()
    });
    HashCookie { name: raw.name.as_str().into(), attributes }
}
