//! From the raw document to the snapshot: the only step that can fail, and one that reports every fault.

mod api;
mod credential;
mod file;
mod hash;
mod limit_store;
mod listener;
mod matching;
mod models;
mod names;
mod policy;
mod price;
mod response;
mod rewrite;
mod rule;
mod target;
mod text;
mod upstream;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::digest::digest;
use crate::fault::{Faults, ProfileCheck};
use crate::knob::Knob as _;
use crate::raw::{BackendEndpointsDocument, Document, PoolEndpointsDocument};
use crate::report::{FieldPath, Quoted, Report, Suggestion};
use crate::settings::Engine;
use crate::snapshot::Snapshot;
use crate::spec::{
    BackendEndpoint, EndpointSpec, LimitStore, Listener, ModelEntry, Price, Rule, Secrets, Surroundings,
};
use crate::table::{Table, TableBuilder, ValueTest};

pub use api::known as known_api;
use file::Files;
use matching::Matching;
use models::Models;
pub use models::check_model_name;
use names::Names;
pub(crate) use price::lower as prices;

/// Lowers a document.
///
/// # Errors
/// Those of the report that comes with the document's text, which are the faults of the document's shape, and all others.
pub(crate) fn snapshot(
    document: &Document,
    profiles: &dyn ProfileCheck,
    surroundings: &Surroundings,
    (text, report): (&str, Report),
) -> Result<Snapshot, Faults> {
    let (mut lowering, mut warnings) = (Report::default(), Report::default());
    let mut files = Files::new(secrets(document, surroundings, &mut lowering));
    let policy_names = policy::names(document);
    let listeners = listener::lower(document, &policy_names, &mut files, &mut lowering);
    let pools = upstream::pools(document, profiles, &policy_names, &mut files, &mut lowering);
    let backends = upstream::backends(document, &policy_names, &mut files, &mut lowering);
    let consumers = policy::consumers(document, &mut lowering);
    let policies = policy::lower(document, &mut files, &mut lowering, &mut warnings);
    policy::check_uses(document, &mut lowering);
    let counting = Counting::of(document, &mut files, &mut lowering);
    let mut routing =
        routing(document, &listeners, &policy_names, &mut files, (&mut lowering, &mut warnings));
    let (secrets, secret_uses) = files.finish();
    credential::strip_of_clients(&mut routing.rules, &pools, &backends);
    check_access_log(&document.access_log.path, &mut lowering);
    let mut report = report;
    report.append(lowering);
    if let Some(faults) = report.into_faults() {
        return Err(faults);
    }
    policy::warn_of_unused(document, &mut warnings);
    policy::warn_of_uses(document, &counting.prices, &mut warnings);
    warn_of_empty_pools(document, &mut warnings);
    Ok(Snapshot {
        name: document.metadata.name.as_deref().map(Arc::from),
        generation: document.metadata.generation,
        digest: digest(text).into(),
        replicas: document.replicas,
        secrets,
        secret_uses,
        listeners,
        pools: pools.into_iter().map(Arc::new).collect(),
        backends: backends.into_iter().map(Arc::new).collect(),
        consumers: consumers.into_iter().map(Arc::new).collect(),
        policies: policies.into_iter().map(Arc::new).collect(),
        prices: counting.prices,
        prices_file: counting.prices_file,
        limit_store: counting.limit_store,
        limits: document.limits.value(),
        peek: document.peek.value(),
        access_log: document.access_log.value(),
        telemetry: document.telemetry.value(),
        admin: document.admin.value(),
        shutdown: document.shutdown.value(),
        rules: routing.rules,
        models: routing.models,
        tables: routing.tables,
        redacted: redacted(document),
        warnings: warnings.into_faults().map(Faults::into_vec).unwrap_or_default(),
    })
}

/// The endpoints of a pool's list.
pub(crate) fn pool_endpoints(
    document: &PoolEndpointsDocument,
    engine: Engine,
    report: &mut Report,
) -> Vec<EndpointSpec> {
    upstream::endpoints(&document.endpoints, engine, &FieldPath::Root.field("endpoints"), report)
}

/// The endpoints of a backend's list.
pub(crate) fn backend_endpoints(
    document: &BackendEndpointsDocument,
    report: &mut Report,
) -> Vec<BackendEndpoint> {
    upstream::backend_endpoints(&document.endpoints, &FieldPath::Root.field("endpoints"), report)
}

/// What limits count with.
struct Counting {
    prices: Vec<Price>,
    prices_file: Option<PathBuf>,
    limit_store: Option<LimitStore>,
}

impl Counting {
    fn of(document: &Document, files: &mut Files, report: &mut Report) -> Self {
        let upstreams: Vec<&str> = document
            .pools
            .iter()
            .map(|pool| pool.name.as_str())
            .chain(document.backends.iter().map(|backend| backend.name.as_str()))
            .collect();
        let upstreams = Names::of(upstreams.into_iter());
        let check = |name: &str, place: &FieldPath<'_>, report: &mut Report| {
            upstreams.resolve(name, "pool or backend", place, report);
        };
        let prices = price::lower(&document.prices, &FieldPath::Root.field("prices"), report, check);
        let place = FieldPath::Root.field("pricesFile");
        let prices_file = document.prices_file.as_deref().map(|file| files.path(file, &place, report));
        let place = FieldPath::Root.field("limitStore");
        let limit_store = document.limit_store.as_ref();
        let limit_store = limit_store.map(|raw| limit_store::lower(raw, &place, files, report));
        Self { prices, prices_file, limit_store }
    }
}

/// Where keys of the Secret lie that the document names.
fn secrets(document: &Document, surroundings: &Surroundings, report: &mut Report) -> Option<Secrets> {
    let name = document.secrets_from.as_deref()?;
    let directory = match &surroundings.secrets {
        Some(all) => {
            if let Err(message) = text::name(name) {
                report.add(&FieldPath::Root.field("secretsFrom"), || message);
                return None;
            }
            all.join(name)
        }
        None => surroundings.directory.join(name),
    };
    Some(Secrets { name: name.into(), directory })
}

/// A file needs a slash in its path, so that a misspelt `stdout` does not become one.
fn check_access_log(path: &str, report: &mut Report) {
    let streams = ["stdout", "stderr"];
    if !path.contains('/') && !streams.contains(&path) {
        let place = FieldPath::Root.field("accessLog");
        let suggestion = Suggestion::of(path, streams.into_iter());
        let message = || format!("{} is neither a stream nor a path with a /{suggestion}", Quoted(path));
        report.add(&place.field("path"), message);
    }
}

/// Legal, since endpoints may come and go, and rarely meant: nothing can come to such a pool without another document.
fn warn_of_empty_pools(document: &Document, warnings: &mut Report) {
    let place = FieldPath::Root.field("pools");
    for (index, pool) in document.pools.iter().enumerate() {
        if pool.endpoints.is_empty() && pool.endpoints_from.is_empty() {
            warnings.add(&place.index(index).field("endpoints"), || {
                format!(
                    "the pool {} has no model server, here or in endpointsFrom: the answer to its requests is 503",
                    Quoted(&pool.name)
                )
            });
        }
    }
}

/// What routes become.
struct Routing {
    rules: Vec<Rule>,
    models: Vec<ModelEntry>,
    tables: Vec<Table>,
}

fn routing(
    document: &Document,
    listeners: &[Listener],
    policies: &Names<'_>,
    files: &mut Files,
    (report, warnings): (&mut Report, &mut Report),
) -> Routing {
    let listener_names = Names::of(document.listeners.iter().map(|listener| listener.name.as_str()));
    let pool_names = Names::of(document.pools.iter().map(|pool| pool.name.as_str()));
    let backend_names = Names::of(document.backends.iter().map(|backend| backend.name.as_str()));
    let upstreams = target::Upstreams { pools: &pool_names, backends: &backend_names };

    let place = FieldPath::Root.field("routes");
    Names::unique(document.routes.iter().map(|route| route.name.as_str()), &place, report);
    let mut matching = Matching::new(document.limits.model_bytes);
    let mut builders: Vec<_> =
        listeners.iter().map(|listener| TableBuilder::new(listener.hostname.clone())).collect();
    let mut rules = Vec::new();
    let mut models = Models::default();
    let free = policy::of_no_question(document);
    for (index, route) in document.routes.iter().enumerate() {
        let place = place.index(index);
        let created = rule::created_at(route, &place, report);
        let hosts = rule::hosts(route, &place, report);
        let attached = rule::attached(route, listeners, &listener_names, &hosts, &place, report);
        let rules_place = place.field("rules");
        rule::check_names(route, &rules_place, report);
        for (index, raw) in route.rules.iter().enumerate() {
            let place = rules_place.index(index);
            let alternatives = matching.alternatives(raw, rules.len(), &place, report);
            // What leads nowhere is not offered.
            let is_served = raw.targets.iter().any(|target| target.weight > 0 && target.status.is_none());
            let mut named: Vec<Arc<str>> = Vec::new();
            for alternative in alternatives.iter().filter(|_| is_served) {
                if let Some(ValueTest::Exact(model)) = &alternative.model {
                    models.add(model, created, &route.models_owned_by);
                    named.push((&**model).into());
                }
            }
            let is_listed = raw.policies.iter().all(|name| free.contains(name.as_str()));
            for listener in &attached {
                rule::attach(&mut builders[*listener], &hosts, &alternatives, is_listed);
            }
            let lowered = rule::lower(raw, route, index, rules.len(), &upstreams, &place, report);
            let policies = policy::named(&raw.policies, policies, &place.field("policies"), report);
            let cors = raw.cors.as_ref();
            let cors = cors.map(|raw| policy::cors(raw, &place.field("cors"), report, warnings));
            let cors = cors.map(Arc::new);
            let credential = credential::of_rule(raw, &place, files, report);
            rules.extend(lowered.map(|rule| Rule { models: named, policies, cors, credential, ..rule }));
        }
    }
    models.describe(&document.models, report, warnings);
    let tables = if report.is_empty() {
        builders.into_iter().map(|builder| builder.build(&models.positions())).collect()
    } else {
        Vec::new()
    };
    Routing { rules, models: models.into_entries(), tables }
}

/// The document with defaults, without digests of keys, and values of headers and parameters that carry credentials.
fn redacted(document: &Document) -> Value {
    // A document that was read from JSON's data model can be written to it.
    let mut value = serde_json::to_value(document).unwrap_or_default();
    redact(&mut value);
    // Whoever knows a weak key's digest can guess the key.
    let consumers = value.get_mut("consumers").and_then(Value::as_array_mut);
    for keys in consumers.into_iter().flatten().filter_map(|consumer| consumer.get_mut("keys")) {
        hide(keys);
    }
    value
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let is_sensitive = object.get("name").and_then(Value::as_str).is_some_and(text::is_sensitive);
            for secret in ["value", "values"].into_iter().filter(|_| is_sensitive) {
                object.get_mut(secret).into_iter().for_each(hide);
            }
            object.get_mut("cel").filter(|cel| names_secret(cel)).into_iter().for_each(hide);
            object.values_mut().for_each(redact);
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

/// Whether an expression may compare a credential with what it has to be.
fn names_secret(expression: &Value) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut names = expression.as_str().unwrap_or_default().split(|c| !is_of_name(c));
    names.any(text::is_sensitive)
}

/// Hides a text, or the texts of a list.
fn hide(value: &mut Value) {
    match value {
        Value::String(secret) => "<redacted>".clone_into(secret),
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}
