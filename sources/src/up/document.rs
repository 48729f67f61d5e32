//! The routing document that serves what the model servers list.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::ask::ModelServer;
use super::url::ServerUrl;

/// The longest name that is made for a pool. Numbers for uniqueness come on top.
const NAME_LENGTH: usize = 200;

/// Writes a document, in YAML: one pool for each model, with the servers that have it.
pub(super) fn write(
    servers: &[ModelServer],
    listen: SocketAddr,
    admin: SocketAddr,
) -> Result<String, serde_saphyr::ser_error::Error> {
    let mut pools = Vec::new();
    let mut routes = Vec::new();
    let mut names = BTreeSet::new();
    for group in groups(servers) {
        let name = unique_name(group.models[0], &mut names);
        let mut targets = Vec::new();
        for (index, (transport, servers)) in by_transport(&group.servers).into_iter().enumerate() {
            let pool = if index == 0 { name.clone() } else { unique_name(group.models[0], &mut names) };
            targets.push(json!({ "pool": pool, "weight": servers.len() }));
            pools.push(pool_of(&pool, transport, &servers));
        }
        routes.push(json!({ "name": name, "rules": [{ "models": group.models, "targets": targets }] }));
    }
    serde_saphyr::to_string(&json!({
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "RoutingConfig",
        "metadata": { "name": "up" },
        "listeners": [{ "name": "http", "address": listen, "protocol": "HTTP" }],
        "routes": routes,
        "pools": pools,
        "admin": { "address": admin },
    }))
}

/// Models that share a pool, and the servers that have them.
struct Group<'a> {
    /// The base model, then its adapters.
    models: Vec<&'a str>,
    servers: Vec<&'a ModelServer>,
}

/// Each model with its servers. An adapter is in its base model's group if the same servers have it, so
/// that they are one pool, with one account of what they are doing.
fn groups(servers: &[ModelServer]) -> Vec<Group<'_>> {
    let mut by_model: BTreeMap<&str, (Option<&str>, Vec<&ModelServer>)> = BTreeMap::new();
    for server in servers {
        for model in &server.models {
            let (parent, known) = by_model.entry(&model.id).or_default();
            *parent = parent.or(model.parent.as_deref());
            if !known.iter().any(|other| other.address == server.address) {
                known.push(server);
            }
        }
    }
    let addresses =
        |servers: &[&ModelServer]| servers.iter().map(|server| server.address).collect::<BTreeSet<_>>();
    let joins = |model: &str| {
        let (parent, servers) = &by_model[model];
        let parent = parent.filter(|&parent| parent != model)?;
        let (grandparent, of_parent) = by_model.get(parent)?;
        (grandparent.is_none() && addresses(of_parent) == addresses(servers)).then_some(parent)
    };
    let heads = by_model.iter().filter(|(model, _)| joins(model).is_none());
    let groups = heads.map(|(&head, (_, servers))| {
        let adapters = by_model.keys().copied().filter(|model| joins(model) == Some(head));
        Group { models: std::iter::once(head).chain(adapters).collect(), servers: servers.clone() }
    });
    groups.collect()
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

fn by_transport<'a>(servers: &[&'a ModelServer]) -> BTreeMap<Transport<'a>, Vec<&'a ModelServer>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for &server in servers {
        groups.entry(Transport::with(&server.url)).or_default().push(server);
    }
    groups
}

fn pool_of(name: &str, transport: Transport<'_>, servers: &[&ModelServer]) -> Value {
    let engine = servers[0].engine;
    let endpoints: Vec<Value> = servers
        .iter()
        .map(|server| {
            let mut endpoint = json!({ "address": server.address, "name": server.url.authority() });
            if server.engine != engine {
                endpoint["engine"] = json!(server.engine);
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
    pool
}

/// A model's name in the letters that the document allows in names, with a number if it is taken.
fn unique_name(model: &str, taken: &mut BTreeSet<String>) -> String {
    let letters = model.chars().map(|letter| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9' | '.') => letter,
        _ => '-',
    });
    let name: String = letters.take(NAME_LENGTH).collect();
    let name = match name.trim_matches(['-', '.']) {
        "" => "model",
        name => name,
    };
    let numbered = (2_u64..).map(|number| format!("{name}-{number}"));
    let mut candidates = std::iter::once(name.to_owned()).chain(numbered);
    let free = candidates.find(|candidate| !taken.contains(candidate)).unwrap_or_default();
    taken.insert(free.clone());
    free
}
