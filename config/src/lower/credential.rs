//! Lowering credentials.

mod client;
mod source;

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::file::Files;
use super::text;
use crate::raw::{RawCredential, RawRule};
use crate::report::{FieldPath, Report};
use crate::settings::ApiSchema;
use crate::spec::{Credential, CredentialSource, RuleCredential, Shown};

pub(super) use client::strip_of_clients;

/// What is read or fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Key,
    Aws,
    Azure,
    Gcp,
}

/// The credential of an upstream with this API.
pub(super) fn lower(
    raw: Option<&RawCredential>,
    schema: Option<ApiSchema>,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Option<Credential> {
    let raw = raw?;
    let kind = kind(raw, place, report);
    let shown = shown(raw, kind, schema, place, report);
    let client =
        raw.client.as_ref().map(|raw| client::lower(raw, kind, schema, &place.field("override"), report));
    let needs_own = raw.client.as_ref().is_none_or(|client| client.fallback_to_configured);
    let source = match kind {
        Kind::Key => key(raw, needs_own, place, files, report),
        Kind::Aws => source::aws(raw, needs_own, place, files, report),
        Kind::Azure => source::azure(raw, needs_own, place, files, report),
        Kind::Gcp => source::gcp(raw, needs_own, place, files, report),
    };
    Some(Credential { shown: shown?, source: source?, client: client.flatten() })
}

fn kind(raw: &RawCredential, place: &FieldPath<'_>, report: &mut Report) -> Kind {
    let clouds = [
        ("aws", raw.aws.is_some(), Kind::Aws),
        ("azure", raw.azure.is_some(), Kind::Azure),
        ("gcp", raw.gcp.is_some(), Kind::Gcp),
    ];
    let mut chosen = clouds.into_iter().filter(|(_, is_there, _)| *is_there);
    let Some((first, _, kind)) = chosen.next() else { return Kind::Key };
    for (field, ..) in chosen {
        report.add(&place.field(field), || {
            format!("stands in place of {first}: give one of aws, azure and gcp")
        });
    }
    for (field, is_there) in [("header", raw.header.is_some()), ("prefix", raw.prefix.is_some())] {
        if is_there {
            report.add(&place.field(field), || format!("has no meaning beside {first}: leave it out"));
        }
    }
    kind
}

/// How it is shown. `None` if that cannot be said.
fn shown(
    raw: &RawCredential,
    kind: Kind,
    schema: Option<ApiSchema>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<Shown> {
    if let (Kind::Aws, Some(aws)) = (kind, &raw.aws) {
        if let Err(message) = text::aws_region(&aws.region) {
            report.add(&place.field("aws").field("region"), || message);
        }
        return Some(Shown::Aws { region: aws.region.as_str().into() });
    }
    let header = raw.header.as_deref().filter(|_| kind == Kind::Key);
    let name = match header.map(text::editable_header_name) {
        None if kind == Kind::Key => header_of(schema),
        None => AUTHORIZATION,
        Some(Ok(name)) => name,
        Some(Err(message)) => {
            report.add(&place.field("header"), || message);
            return None;
        }
    };
    let prefix = raw.prefix.as_deref().unwrap_or(if name == AUTHORIZATION { "Bearer " } else { "" });
    if let Err(message) = text::header_value(prefix) {
        report.add(&place.field("prefix"), || message);
    }
    Some(Shown::Header { name, prefix: prefix.into() })
}

fn key(
    raw: &RawCredential,
    needs_own: bool,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Option<CredentialSource> {
    let place = place.field("file");
    match &raw.file {
        Some(file) => Some(CredentialSource::Key(files.path(file, &place, report))),
        None if !needs_own => Some(CredentialSource::Client),
        None => {
            report.add(&place, || {
                "is missing: name the file with the key, or say with aws, azure or gcp where to fetch one"
                    .to_owned()
            });
            None
        }
    }
}

/// The header in which an API expects its key.
fn header_of(schema: Option<ApiSchema>) -> HeaderName {
    match schema {
        Some(ApiSchema::Anthropic) => HeaderName::from_static("x-api-key"),
        Some(ApiSchema::AzureOpenAI) => HeaderName::from_static("api-key"),
        Some(ApiSchema::Gemini) => HeaderName::from_static("x-goog-api-key"),
        _ => AUTHORIZATION,
    }
}

/// What a rule sends its requests with, if there is something and it can be said how.
pub(super) fn of_rule(
    rule: &RawRule,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Option<RuleCredential> {
    let raw = rule.credential.as_ref()?;
    let place = place.field("credential");
    if rule.redirect.is_some() || rule.respond.is_some() {
        report.add(&place, || "is of no use where the rule answers by itself: nothing is sent on".to_owned());
    }
    let source = CredentialSource::Key(files.path(&raw.file, &place.field("file"), report));
    let name = match raw.header.as_deref().map_or(Ok(AUTHORIZATION), text::editable_header_name) {
        Ok(name) => name,
        Err(message) => {
            report.add(&place.field("header"), || message);
            return None;
        }
    };
    let shown = Shown::Header { name, prefix: "".into() };
    let credential = Credential { shown, source, client: None };
    Some(RuleCredential { credential, overwrites: raw.overwrite })
}
