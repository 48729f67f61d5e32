//! Lowering the API that an upstream serves, and hosted APIs that are known by their names.

use std::borrow::Cow;

use super::text;
use crate::raw::{RawApi, RawBackend, RawBackendEndpoint, RawUpstreamTls};
use crate::report::{FieldPath, Report};
use crate::settings::{ApiSchema, Provider, ServedApi};
use crate::spec::ApiSpec;

/// The API, its parts checked against what the schema takes.
pub(super) fn lower(raw: &RawApi, place: &FieldPath<'_>, report: &mut Report) -> ApiSpec {
    use ApiSchema::{
        AWSAnthropic, AWSBedrock, Anthropic, AzureOpenAI, Cohere, GCPAnthropic, GCPVertexAI, OpenAI,
    };
    let schema = raw.schema.unwrap_or_default();
    let takes = |schemas: &[ApiSchema]| schemas.contains(&schema);
    let is_vertex = takes(&[GCPVertexAI, GCPAnthropic]);
    let fields = [
        ("prefix", raw.prefix.is_some(), takes(&[OpenAI, Anthropic, Cohere]), false),
        (
            "version",
            raw.version.is_some(),
            takes(&[AzureOpenAI, Anthropic, AWSAnthropic, GCPAnthropic]),
            false,
        ),
        ("serves", raw.serves.is_some(), takes(&[OpenAI, AzureOpenAI]), false),
        ("project", raw.project.is_some(), is_vertex, is_vertex),
        ("region", raw.region.is_some(), is_vertex || takes(&[AWSBedrock, AWSAnthropic]), is_vertex),
    ];
    for (field, is_there, is_taken, is_needed) in fields {
        if is_there && !is_taken {
            let message = || format!("has no meaning for the schema {schema:?}: leave it out");
            report.add(&place.field(field), message);
        }
        if is_needed && !is_there {
            report.add(&place.field(field), || format!("is missing: the schema {schema:?} needs it"));
        }
    }
    let prefix = raw.prefix.as_deref().map(|prefix| prefix.trim_matches('/'));
    if let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty())
        && let Err(message) = text::path(&format!("/{prefix}"))
    {
        report.add(&place.field("prefix"), || message);
    }
    for (field, written) in [("version", &raw.version), ("project", &raw.project), ("region", &raw.region)] {
        if let Some(written) = written
            && let Err(message) = text::region(written)
        {
            report.add(&place.field(field), || message);
        }
    }
    ApiSpec {
        schema,
        prefix: prefix.map(Into::into),
        version: raw.version.as_deref().map(Into::into),
        serves: raw.serves.clone().unwrap_or_else(|| vec![ServedApi::Responses]),
        project: raw.project.as_deref().map(Into::into),
        region: raw.region.as_deref().map(Into::into),
    }
}

/// The backend with what its provider stands for, where it names one.
pub(super) fn completed<'a>(
    raw: &'a RawBackend,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Cow<'a, RawBackend> {
    let Some(provider) = raw.provider else { return Cow::Borrowed(raw) };
    let mut whole = raw.clone();
    let region = raw.api.as_ref().and_then(|api| api.region.clone());
    let region = region.or_else(|| Some(raw.credential.as_ref()?.aws.as_ref()?.region.clone()));
    let (schema, host, prefix) = known(provider);
    let host = match (provider, &region) {
        (Provider::Bedrock, Some(region)) => format!("{host}.{region}.amazonaws.com"),
        (Provider::Bedrock, None) if raw.endpoints.is_empty() => {
            let message = || "is missing: bedrock is another host in each region".to_owned();
            report.add(&place.field("api").field("region"), message);
            format!("{host}.amazonaws.com")
        }
        _ => host.to_owned(),
    };
    if whole.endpoints.is_empty() && whole.endpoints_from.is_empty() {
        whole.endpoints.push(RawBackendEndpoint { host, port: 443, weight: 1 });
        whole.tls.get_or_insert_with(RawUpstreamTls::default);
    }
    let api = whole.api.get_or_insert_with(RawApi::default);
    if *api.schema.get_or_insert(schema) == schema {
        if api.prefix.is_none() {
            api.prefix = prefix.map(str::to_owned);
        }
        if api.serves.is_none() && has_chat_alone(provider) {
            api.serves = Some(Vec::new());
        }
    }
    Cow::Owned(whole)
}

/// Whether a hosted API like OpenAI's has no Responses.
fn has_chat_alone(provider: Provider) -> bool {
    matches!(provider, Provider::Mistral | Provider::DeepSeek | Provider::Together | Provider::Cohere)
}

/// Schema, host and prefix of a hosted API. Bedrock's host is only the beginning, before the region.
#[must_use]
pub fn known(provider: Provider) -> (ApiSchema, &'static str, Option<&'static str>) {
    match provider {
        Provider::OpenAI => (ApiSchema::OpenAI, "api.openai.com", None),
        Provider::Anthropic => (ApiSchema::Anthropic, "api.anthropic.com", None),
        Provider::Gemini => (ApiSchema::Gemini, "generativelanguage.googleapis.com", None),
        Provider::Mistral => (ApiSchema::OpenAI, "api.mistral.ai", None),
        Provider::Groq => (ApiSchema::OpenAI, "api.groq.com", Some("openai/v1")),
        Provider::DeepSeek => (ApiSchema::OpenAI, "api.deepseek.com", None),
        Provider::Together => (ApiSchema::OpenAI, "api.together.xyz", None),
        Provider::Fireworks => (ApiSchema::OpenAI, "api.fireworks.ai", Some("inference/v1")),
        Provider::OpenRouter => (ApiSchema::OpenAI, "openrouter.ai", Some("api/v1")),
        Provider::XAI => (ApiSchema::OpenAI, "api.x.ai", None),
        Provider::Cohere => (ApiSchema::OpenAI, "api.cohere.ai", Some("compatibility/v1")),
        Provider::Bedrock => (ApiSchema::AWSBedrock, "bedrock-runtime", None),
    }
}
