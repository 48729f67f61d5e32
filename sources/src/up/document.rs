//! The routing document that serves what the model servers list.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::hosted::Hosted;
use super::listing::{Listing, Model};
use super::url::ServerUrl;

mod hosted;

/// The longest name that is made for a pool. Numbers for uniqueness come on top.
const NAME_LENGTH: usize = 200;

/// The most models that one rule can name.
const MODELS_PER_RULE: usize = 1024;

/// What of a document does not come from the servers.
pub(super) struct Frame<'a> {
    pub(super) listen: SocketAddr,
    pub(super) admin_listen: SocketAddr,
    /// Where the key is that the servers ask for.
    pub(super) key_file: Option<&'a Path>,
}

/// An address of a server, and what it lists.
pub(super) struct Endpoint<'a> {
    pub(super) url: &'a ServerUrl,
    pub(super) address: SocketAddr,
    pub(super) listing: &'a Listing,
}

/// Writes a document, in YAML: one pool for the models that the same servers have, so that there is one account of what
/// these are doing; and a backend for each hosted API. `None` if there is no model.
pub(super) fn write(
    endpoints: &[Endpoint<'_>],
    hosted: &[(&Hosted, &[Model])],
    frame: &Frame<'_>,
) -> Result<Option<String>, serde_saphyr::ser_error::Error> {
    let (servers, models) = sort(endpoints);
    let groups = groups(&models);
    let (mut pools, mut routes) = (Vec::new(), Vec::new());
    let mut names = Names::default();
    let hosted = hosted::write(hosted, &models, &mut names);
    for group in &groups {
        let name = names.unique(group.models[0]);
        let of_group: Vec<&Endpoint<'_>> = group.servers.iter().map(|server| servers[*server]).collect();
        let mut targets = Vec::new();
        for (index, (transport, servers)) in by_transport(&of_group).into_iter().enumerate() {
            let pool = if index == 0 { name.clone() } else { names.unique(group.models[0]) };
            targets.push(json!({ "pool": pool, "weight": servers.len() }));
            pools.push(pool_of(&pool, transport, &servers, frame.key_file));
        }
        let rules = group.models.chunks(MODELS_PER_RULE);
        let mut rules: Vec<Value> =
            rules.map(|models| json!({ "models": models, "targets": targets })).collect();
        if groups.len() == 1 && hosted.routes.is_empty() {
            // What names no model can only be meant for these servers: their health, their documentation, their files.
            rules.push(json!({ "name": "any", "targets": targets }));
        }
        routes.push(json!({ "name": name, "rules": rules }));
    }
    routes.extend(hosted.routes);
    if routes.is_empty() {
        return Ok(None);
    }
    let mut document = json!({
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "RoutingConfig",
        "metadata": { "name": "up" },
        "listeners": [{ "name": "http", "address": frame.listen, "protocol": "HTTP" }],
        "routes": routes,
    });
    let described = models.values().filter_map(|listed| described(&listed.model));
    let described: Vec<Value> = described.chain(hosted.models).collect();
    if !described.is_empty() {
        document["models"] = described.into();
    }
    if !pools.is_empty() {
        document["pools"] = pools.into();
    }
    if !hosted.backends.is_empty() {
        document["backends"] = hosted.backends.into();
    }
    document["admin"] = json!({ "address": frame.admin_listen });
    serde_saphyr::to_string(&document).map(Some)
}

/// A model, and the positions of the servers that have it.
struct Listed {
    model: Model,
    servers: Vec<usize>,
}

impl Listed {
    /// Adds what another server says of it. Of lengths the shortest holds, which every server can take.
    fn add(&mut self, model: &Model) {
        let known = &mut self.model;
        known.created = known.created.into_iter().chain(model.created).min();
        known.max_model_len = known.max_model_len.into_iter().chain(model.max_model_len).min();
        for (known, said) in [
            (&mut known.owned_by, &model.owned_by),
            (&mut known.root, &model.root),
            (&mut known.parent, &model.parent),
        ] {
            if known.is_none() {
                known.clone_from(said);
            }
        }
    }
}

/// What the document says of a model beyond its name; `None` if that is nothing.
fn described(model: &Model) -> Option<Value> {
    let Model { id, created, owned_by, max_model_len, root, parent } = model;
    let created = created.map(|created| UNIX_EPOCH + Duration::from_secs(created));
    let fields = [
        ("ownedBy", owned_by.as_deref().map(Value::from)),
        ("createdAt", created.map(|at| humantime::format_rfc3339_seconds(at).to_string().into())),
        ("maxModelLen", max_model_len.map(Value::from)),
        ("root", root.as_deref().map(Value::from)),
        ("parent", parent.as_deref().map(Value::from)),
    ];
    let mut described = json!({ "name": id });
    for (name, value) in fields {
        if let Some(value) = value {
            described[name] = value;
        }
    }
    described.as_object().is_some_and(|fields| fields.len() > 1).then_some(described)
}

/// Each server once, whatever URLs lead to it, and each model with the servers that have it.
fn sort<'a>(endpoints: &'a [Endpoint<'a>]) -> (Vec<&'a Endpoint<'a>>, BTreeMap<&'a str, Listed>) {
    let mut servers: Vec<&Endpoint<'_>> = Vec::new();
    let mut positions: HashMap<SocketAddr, usize> = HashMap::new();
    let mut models: BTreeMap<&str, Listed> = BTreeMap::new();
    for endpoint in endpoints {
        let position = *positions.entry(endpoint.address).or_insert_with(|| {
            servers.push(endpoint);
            servers.len() - 1
        });
        for model in &endpoint.listing.models {
            let listed = models
                .entry(&model.id)
                .and_modify(|listed| listed.add(model))
                .or_insert_with(|| Listed { model: model.clone(), servers: Vec::new() });
            listed.servers.push(position);
        }
    }
    for listed in models.values_mut() {
        listed.servers.sort_unstable();
        listed.servers.dedup();
    }
    (servers, models)
}

/// Models that the same servers have.
struct Group<'a> {
    /// Base models, then adapters. Never empty.
    models: Vec<&'a str>,
    servers: &'a [usize],
}

fn groups<'a>(models: &'a BTreeMap<&'a str, Listed>) -> Vec<Group<'a>> {
    let mut by_servers: BTreeMap<&[usize], Vec<(bool, &str)>> = BTreeMap::new();
    for (id, listed) in models {
        let is_adapter = listed.model.parent.as_deref().is_some_and(|parent| parent != *id);
        by_servers.entry(&listed.servers).or_default().push((is_adapter, id));
    }
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (servers, mut models) in by_servers {
        models.sort_unstable();
        groups.push(Group { models: models.into_iter().map(|(_, id)| id).collect(), servers });
    }
    groups.sort_unstable_by_key(|group| group.models[0]);
    groups
}

/// How a server is connected to. A pool has one way for all its endpoints, so servers with names of their
/// own in their certificates are pools of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Transport<'a> {
    Plain,
    /// The certificate names the address.
    Tls,
    /// The certificate names the host.
    TlsTo(&'a str),
}

impl<'a> Transport<'a> {
    fn with(url: &'a ServerUrl) -> Self {
        match url.is_tls {
            false => Self::Plain,
            true if url.host.parse::<IpAddr>().is_ok() => Self::Tls,
            true => Self::TlsTo(&url.host),
        }
    }
}

fn by_transport<'a>(servers: &[&'a Endpoint<'a>]) -> BTreeMap<Transport<'a>, Vec<&'a Endpoint<'a>>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for &server in servers {
        groups.entry(Transport::with(server.url)).or_default().push(server);
    }
    groups
}

fn pool_of(
    name: &str,
    transport: Transport<'_>,
    servers: &[&Endpoint<'_>],
    key_file: Option<&Path>,
) -> Value {
    let engine = servers[0].listing.engine;
    let endpoints: Vec<Value> = servers
        .iter()
        .map(|server| {
            let mut endpoint = json!({ "address": server.address, "name": server.url.authority() });
            if server.listing.engine != engine {
                endpoint["engine"] = json!(server.listing.engine);
            }
            endpoint
        })
        .collect();
    let mut pool = json!({ "name": name, "engine": engine, "endpoints": endpoints });
    match transport {
        Transport::Plain => {}
        Transport::Tls => pool["tls"] = json!({}),
        Transport::TlsTo(name) => pool["tls"] = json!({ "sni": name }),
    }
    if let Some(file) = key_file {
        pool["credential"] = json!({ "file": file.display().to_string() });
    }
    pool
}

/// Names of pools and routes.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    /// The number that comes next, for names that were wanted more than once.
    next: HashMap<String, usize>,
}

impl Names {
    /// A model's name in the letters that the document allows in names, with a number if it is taken.
    fn unique(&mut self, model: &str) -> String {
        let letters = model.chars().map(|letter| match letter.to_ascii_lowercase() {
            letter @ ('a'..='z' | '0'..='9' | '.') => letter,
            _ => '-',
        });
        let name: String = letters.take(NAME_LENGTH).collect();
        let name = match name.trim_matches(['-', '.']) {
            "" => "model",
            name => name,
        };
        if self.taken.insert(name.to_owned()) {
            return name.to_owned();
        }
        let next = self.next.entry(name.to_owned()).or_insert(2);
        loop {
            let numbered = format!("{name}-{next}");
            *next += 1;
            if self.taken.insert(numbered.clone()) {
                return numbered;
            }
        }
    }
}
