//! Lowering which web pages may ask.

use http::{HeaderValue, Method};

use super::check_distinct;
use crate::lower::text;
use crate::raw::RawCors;
use crate::report::{FieldPath, Quoted, Report};
use crate::spec::{Cors, Listed, Origin};

/// Which web pages may ask.
pub(in crate::lower) fn lower(
    raw: &RawCors,
    place: &FieldPath<'_>,
    report: &mut Report,
    warnings: &mut Report,
) -> Cors {
    let origins_place = place.field("allowOrigins");
    check_distinct(&raw.allow_origins, &origins_place, report);
    let mut origins = Vec::with_capacity(raw.allow_origins.len());
    for (index, text) in raw.allow_origins.iter().enumerate() {
        match Origin::parse(text) {
            Some(origin) => origins.push(origin),
            None => report.add(&origins_place.index(index), || {
                format!(
                    "{} is no origin: write https://app.example.com, https://*.example.com, https://* or *, without a path",
                    Quoted(text)
                )
            }),
        }
    }
    if raw.allow_credentials && origins.contains(&Origin::Any) {
        let message = "lets every web page ask with what browsers hold for the gateway (allowCredentials): name origins";
        warnings.add(&origins_place, || message.to_owned());
    }
    let is_method = |text: &str| match Method::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{} is no method", Quoted(text))),
    };
    let is_header = |text: &str| text::header_name(text).map(drop);
    Cors {
        origins: origins.into(),
        methods: listed(&raw.allow_methods, is_method, &place.field("allowMethods"), report),
        headers: listed(&raw.allow_headers, is_header, &place.field("allowHeaders"), report),
        exposed: listed(&raw.expose_headers, is_header, &place.field("exposeHeaders"), report),
        max_age: raw.max_age.map(|age| HeaderValue::from(age.0.as_secs())),
        allows_credentials: raw.allow_credentials,
    }
}

/// Names, or all of them.
fn listed(
    raw: &[String],
    check: impl Fn(&str) -> Result<(), String>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Listed {
    check_distinct(raw, place, report);
    for (index, name) in raw.iter().enumerate().filter(|(_, name)| *name != "*") {
        if let Err(message) = check(name) {
            report.add(&place.index(index), || message);
        }
    }
    if raw.iter().any(|name| name == "*") {
        return Listed::All;
    }
    match HeaderValue::from_str(&raw.join(", ")) {
        Ok(value) if !raw.is_empty() => Listed::These(value),
        _ => Listed::None,
    }
}
