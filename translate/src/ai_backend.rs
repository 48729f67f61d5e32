//! Envoy AI Gateway's AIServiceBackends: a Backend with a schema, a credential and changes to headers.

use std::collections::{BTreeMap, BTreeSet};

use penstock_config::ApiSchema;
use penstock_config::raw::RawApi;

use crate::api::{AiServiceBackend, VersionedSchema};
use crate::backend::Backends;
use crate::bodies;
use crate::context::{Context, RefError, Referrer};
use crate::headers;
use crate::policies::{GooglePlace, Policies};
use crate::status::{Condition, Status, StatusUpdate};
use crate::upstream::{RawUpstream, Upstream, UpstreamKey};
use crate::world::{Key, Kind, ObjectId, World};

/// What the statuses of AIServiceBackends in use shall say. `fault` is why an upstream cannot be used, and `problems` are
/// what the check of documents found.
pub(crate) fn statuses<'m>(
    context: &Context<'_>,
    fault: impl Fn(&UpstreamKey) -> Option<&'m RefError>,
    problems: &BTreeMap<UpstreamKey, String>,
    used: &BTreeSet<ObjectId>,
) -> Vec<StatusUpdate> {
    let mut statuses = Vec::new();
    for (key, object) in context.world.ai_backends.iter() {
        if !used.contains(&object.id()) {
            continue;
        }
        let upstream = UpstreamKey::AiBackend(key.clone());
        let accepted = match (fault(&upstream), problems.get(&upstream)) {
            (Some(RefError { reason, message }), _) => Condition::no("Accepted", reason, message.as_str()),
            (None, Some(problem)) => Condition::no("Accepted", "Invalid", problem.as_str()),
            (None, None) => Condition::yes("Accepted", "Accepted", "the backend can be used"),
        };
        let mut conditions = vec![accepted];
        conditions.extend(Condition::fields(&object.unread));
        statuses.push(StatusUpdate::new(object, Status::Conditions(conditions)));
    }
    statuses
}

/// An AIServiceBackend.
///
/// # Errors
/// It does not exist or cannot be used.
pub(crate) fn upstream(
    context: &Context<'_>,
    policies: &Policies<'_>,
    backends: &mut Backends<'_, '_>,
    key: &Key,
    name: String,
) -> Result<Upstream, RefError> {
    let object = context.world.ai_backends.get(key);
    let object = object.ok_or_else(|| {
        RefError::new("BackendNotFound", format!("the AIServiceBackend {key} does not exist"))
    })?;
    let spec = object.spec.as_ref().map_err(|error| {
        RefError::new("InvalidBackend", format!("the AIServiceBackend {key} cannot be read: {error}"))
    })?;
    let mut api = api(key, &spec.schema)?;
    let backend = backend_of(context, key, spec)?;
    let mut upstream = backends.get(&backend)?.upstream(name);
    let granted = policies.credential(Kind::AiServiceBackend, key)?;
    place(key, &mut api, granted.as_ref().and_then(|granted| granted.google.as_ref()))?;
    if let Some(granted) = granted {
        upstream.secrets.extend(granted.secrets);
        upstream.grant = Some(granted.grant);
        if let RawUpstream::Backend(raw) = &mut upstream.raw {
            raw.credential = Some(granted.raw);
            if let (None, Some(unmatched)) = (&raw.tls, policies.tls().unmatched(Kind::Backend, &backend)) {
                let message =
                    format!("AIServiceBackend {key}: no credential is sent without TLS: {unmatched}");
                return Err(RefError::new("InvalidBackend", message));
            }
        }
    }
    if let RawUpstream::Backend(raw) = &mut upstream.raw {
        raw.api = Some(api);
    }
    upstream.headers = headers::mutation(spec.header_mutation.as_ref(), None);
    upstream.body = bodies::mutation(spec.body_mutation.as_ref())
        .map_err(|message| RefError::new("InvalidBackend", format!("AIServiceBackend {key}: {message}")))?;
    Ok(upstream)
}

/// The API that an AIServiceBackend's schema stands for.
fn api(key: &Key, schema: &VersionedSchema) -> Result<RawApi, RefError> {
    /// What a schema without a prefix has.
    const DEFAULT_PREFIX: &str = "v1";
    let name = match schema.name.as_str() {
        "OpenAI" => ApiSchema::OpenAI,
        "Anthropic" => ApiSchema::Anthropic,
        "AWSBedrock" => ApiSchema::AWSBedrock,
        "AWSAnthropic" => ApiSchema::AWSAnthropic,
        "AzureOpenAI" => ApiSchema::AzureOpenAI,
        "Cohere" => ApiSchema::Cohere,
        "GCPVertexAI" => ApiSchema::GCPVertexAI,
        "GCPAnthropic" => ApiSchema::GCPAnthropic,
        other => {
            let other = crate::world::shorten(other, 80);
            let message = format!("AIServiceBackend {key}: schema {other:?} is not supported");
            return Err(RefError::new("SchemaNotSupported", message));
        }
    };
    let takes_prefix = matches!(name, ApiSchema::OpenAI | ApiSchema::Anthropic | ApiSchema::Cohere);
    let prefix = schema.prefix.as_deref().map(|prefix| prefix.trim_matches('/')).filter(|_| takes_prefix);
    let takes_version = matches!(
        name,
        ApiSchema::AzureOpenAI | ApiSchema::AWSAnthropic | ApiSchema::Anthropic | ApiSchema::GCPAnthropic
    );
    let version = schema.version.clone().filter(|version| takes_version && !version.is_empty());
    Ok(RawApi {
        schema: Some(name),
        prefix: prefix.filter(|prefix| *prefix != DEFAULT_PREFIX).map(str::to_owned),
        version,
        project: None,
        serves: None,
        region: None,
    })
}

/// Completes the API of Google Cloud's models, whose paths have the project and the region. Only a policy names them.
fn place(key: &Key, api: &mut RawApi, place: Option<&GooglePlace>) -> Result<(), RefError> {
    let Some(ApiSchema::GCPVertexAI | ApiSchema::GCPAnthropic) = api.schema else { return Ok(()) };
    let Some(GooglePlace { project, region }) = place else {
        let message = format!(
            "AIServiceBackend {key}: its schema needs a BackendSecurityPolicy of type GCPCredentials, which names the \
             project and the region"
        );
        return Err(RefError::new("CredentialMissing", message));
    };
    api.project = Some(project.clone());
    api.region = Some(region.clone());
    Ok(())
}

/// The Backend that an AIServiceBackend names, whether it may or not.
pub(crate) fn named_backend(world: &World, key: &Key) -> Option<Key> {
    let spec = world.ai_backends.get(key)?.spec.as_ref().ok()?;
    let reference = &spec.backend_ref;
    Some(Key::new(reference.namespace.as_deref().unwrap_or(&key.namespace), &reference.name))
}

/// The Backend behind an AIServiceBackend.
fn backend_of(context: &Context<'_>, key: &Key, spec: &AiServiceBackend) -> Result<Key, RefError> {
    let reference = &spec.backend_ref;
    let (group, kind) = (reference.group.as_deref().unwrap_or(""), reference.kind.as_deref());
    if Kind::in_group(group, kind.unwrap_or("Service")) != Some(Kind::Backend) {
        let message = format!(
            "AIServiceBackend {key}: backendRef names a {} of group {group:?}; it must name a Backend of {}",
            kind.unwrap_or("Service"),
            Kind::Backend.group(),
        );
        return Err(RefError::new("InvalidKind", message));
    }
    let backend = Key::new(reference.namespace.as_deref().unwrap_or(&key.namespace), &reference.name);
    context.allowed(Referrer::of(Kind::AiServiceBackend, &key.namespace), Kind::Backend, &backend)?;
    Ok(backend)
}
