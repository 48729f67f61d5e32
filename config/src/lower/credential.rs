//! Lowering credentials.

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::file::Files;
use super::text;
use crate::raw::RawCredential;
use crate::report::{FieldPath, Report};
use crate::settings::ApiSchema;
use crate::spec::{Credential, Shown};

/// The credential of an upstream with this API.
pub(super) fn lower(
    raw: Option<&RawCredential>,
    schema: Option<ApiSchema>,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Option<Credential> {
    let raw = raw?;
    let file = files.path(&raw.file, &place.field("file"), report);
    if let Some(aws) = &raw.aws {
        for (field, is_there) in [("header", raw.header.is_some()), ("prefix", raw.prefix.is_some())] {
            if is_there {
                report.add(&place.field(field), || "has no meaning beside aws: leave it out".to_owned());
            }
        }
        if let Err(message) = text::region(&aws.region) {
            report.add(&place.field("aws").field("region"), || message);
        }
        let shown = Shown::Aws { region: aws.region.as_str().into(), profile: aws.profile.as_str().into() };
        return Some(Credential { shown, file });
    }
    let name = match raw.header.as_deref().map(text::editable_header_name) {
        None => header_of(schema),
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
    Some(Credential { shown: Shown::Header { name, prefix: prefix.into() }, file })
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
