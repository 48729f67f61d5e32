//! Lowering who may do what.

use std::collections::BTreeMap;

use http::HeaderName;

use super::{Known, boxed, check_distinct, condition, jwt, model_names};
use crate::lower::matching::method;
use crate::lower::text;
use crate::raw::{RawAccess, RawAccessRule, RawAuthorization, RawClaimMatch, RawClaimType, RawHeaderValues};
use crate::report::{FieldPath, Quoted, Report, Suggestion};
use crate::spec::{Access, AccessRule, Authorization, ClaimMatch, MODEL_HEADER, ModelNames, OneOf};

/// The rules of a policy.
pub(super) fn lower(
    raw: &RawAuthorization,
    known: &Known<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
    warnings: &mut Report,
) -> Authorization {
    let place = place.field("rules");
    let rule = |(index, raw): (usize, &RawAccessRule)| {
        let place = place.index(index);
        warn_of_nobody(&raw.consumers, &raw.tags, known, &place, warnings);
        AccessRule {
            name: raw.name.as_deref().map_or_else(|| index.to_string().into(), Into::into),
            ..rule(raw, known, &place, report)
        }
    };
    let rules = raw.rules.iter().enumerate().map(rule).collect();
    Authorization { default_action: access(raw.default_action), rules }
}

fn access(raw: RawAccess) -> Access {
    match raw {
        RawAccess::Allow => Access::Allow,
        RawAccess::Deny => Access::Deny,
    }
}

/// A rule, whose name is not known yet if it has none of its own.
fn rule(raw: &RawAccessRule, known: &Known<'_>, place: &FieldPath<'_>, report: &mut Report) -> AccessRule {
    if let Some(Err(message)) = raw.name.as_deref().map(text::label) {
        report.add(&place.field("name"), || message);
    }
    check_distinct(&raw.consumers, &place.field("consumers"), report);
    check_tokens(raw, known, place, report);
    check_tag_values(&raw.tags, &place.field("tags"), report);
    let tags = raw.tags.iter().map(|(tag, values)| (tag.as_str().into(), boxed(values))).collect();
    AccessRule {
        name: Default::default(),
        action: access(raw.action),
        methods: raw.methods.iter().copied().map(method).collect(),
        models: models(raw, known, place, report),
        addresses: raw.addresses.as_slice().into(),
        consumers: boxed(&raw.consumers),
        tags,
        provider: raw.provider.as_deref().map(Into::into),
        claims: claims(&raw.claims, &place.field("claims"), report),
        scopes: scopes(&raw.scopes, &place.field("scopes"), report),
        headers: headers(&raw.headers, &place.field("headers"), report),
        paths: condition::paths(raw, known, &place.field("paths"), report),
        cel: condition::expression(raw, known, &place.field("cel"), report),
    }
}

/// Reports what is asked of tokens that no request can have.
fn check_tokens(raw: &RawAccessRule, known: &Known<'_>, place: &FieldPath<'_>, report: &mut Report) {
    if let Some(provider) = &raw.provider {
        known.providers.resolve(provider, "provider of tokens", &place.field("provider"), report);
    }
    if known.providers.is_empty() {
        for (field, is_there) in [("claims", !raw.claims.is_empty()), ("scopes", !raw.scopes.is_empty())] {
            if is_there {
                let message = "can never hold: no policy asks for tokens (authentication.jwt) or logs people in (authentication.oidc)";
                report.add(&place.field(field), || message.to_owned());
            }
        }
    }
}

/// Reports tags without values, or with one twice.
pub(super) fn check_tag_values(
    tags: &BTreeMap<String, Vec<String>>,
    place: &FieldPath<'_>,
    report: &mut Report,
) {
    for (tag, values) in tags {
        let place = place.field(tag);
        if values.is_empty() {
            report.add(&place, || "has no values, so nobody has one of them: give it some".to_owned());
        }
        check_distinct(values, &place, report);
    }
}

/// Legal, since consumers may come and go, and rarely meant: nobody is one of `consumers`, or has one of `tags`.
pub(super) fn warn_of_nobody(
    consumers: &[String],
    tags: &BTreeMap<String, Vec<String>>,
    known: &Known<'_>,
    place: &FieldPath<'_>,
    warnings: &mut Report,
) {
    let within = place.field("consumers");
    for (index, name) in consumers.iter().enumerate().filter(|_| !known.has_others) {
        known.consumers.resolve(name, "consumer", &within.index(index), warnings);
    }
    let within = place.field("tags");
    for (tag, values) in tags {
        let place = within.field(tag);
        let Some(known_values) = known.tags.get(tag.as_str()) else {
            let suggestion = Suggestion::of(tag, known.tags.keys().copied());
            warnings.add(&place, || format!("no consumer has the tag {}{suggestion}", Quoted(tag)));
            continue;
        };
        for (index, value) in
            values.iter().enumerate().filter(|(_, value)| !known_values.contains(value.as_str()))
        {
            let suggestion = Suggestion::of(value, known_values.iter().copied());
            let message =
                || format!("no consumer's tag {} has the value {}{suggestion}", Quoted(tag), Quoted(value));
            warnings.add(&place.index(index), message);
        }
    }
}

/// The models of a rule, which may also stand among its headers.
fn models(
    raw: &RawAccessRule,
    known: &Known<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<ModelNames> {
    let place_of_headers = place.field("headers");
    let mut lists = Vec::new();
    if !raw.models.is_empty() {
        lists.push((&raw.models, place.field("models")));
    }
    let items: Vec<_> = (0..raw.headers.len()).map(|index| place_of_headers.index(index)).collect();
    for (header, item) in raw.headers.iter().zip(&items).filter(|(header, _)| is_model(header)) {
        if !lists.is_empty() {
            let message = || format!("is a second condition on the model ({MODEL_HEADER}): keep one of them");
            report.add(item, message);
        }
        lists.push((&header.values, item.field("values")));
    }
    let mut lists = lists.into_iter();
    lists.next().map(|(names, place)| model_names(names, known.model_bytes, &place, report))
}

fn is_model(header: &RawHeaderValues) -> bool {
    header.name.eq_ignore_ascii_case(MODEL_HEADER)
}

fn claims(raw: &[RawClaimMatch], place: &FieldPath<'_>, report: &mut Report) -> Box<[ClaimMatch]> {
    let mut claims = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let place = place.index(index);
        check_distinct(&raw.values, &place.field("values"), report);
        let path = jwt::claim(&raw.name, &place.field("name"), report);
        let is_list = raw.value_type == RawClaimType::StringArray;
        claims.extend(path.map(|path| ClaimMatch { path, is_list, values: boxed(&raw.values) }));
    }
    claims.into()
}

fn scopes(raw: &[String], place: &FieldPath<'_>, report: &mut Report) -> Box<[Box<str>]> {
    check_distinct(raw, place, report);
    for (index, scope) in raw.iter().enumerate() {
        if let Err(message) = text::scope(scope) {
            report.add(&place.index(index), || message);
        }
    }
    boxed(raw)
}

fn headers(
    raw: &[RawHeaderValues],
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Box<[(HeaderName, OneOf)]> {
    let mut headers = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate().filter(|(_, raw)| !is_model(raw)) {
        let place = place.index(index);
        let values_place = place.field("values");
        check_distinct(&raw.values, &values_place, report);
        for (index, value) in raw.values.iter().enumerate() {
            if let Err(message) = text::header_value(value) {
                report.add(&values_place.index(index), || message);
            }
        }
        match text::asked_header_name(&raw.name) {
            Ok(name) => headers.push((name, boxed(&raw.values))),
            Err(message) => report.add(&place.field("name"), || message),
        }
    }
    headers.into()
}
