//! Which of the kinds that are read the API server serves, and in which version.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kube::{Client, discovery::ApiResource};
use penstock_translate::world::Kind;

/// The groups of which no kind may be ignored in silence.
const PROJECTS: &[&str] = &[
    "gateway.networking.k8s.io",
    "gateway.networking.x-k8s.io",
    "inference.networking.k8s.io",
    "inference.networking.x-k8s.io",
    "gateway.envoyproxy.io",
    "aigateway.envoyproxy.io",
];

/// What the API server serves.
pub(super) struct Installed {
    /// The kinds that are read, each in the version that is read first.
    pub(super) kinds: HashMap<Kind, ApiResource>,
    /// Kinds of the same projects that nobody here knows, as `plural.group`.
    pub(super) unknown: BTreeSet<String>,
}

/// What the API server serves.
///
/// # Errors
/// The API server does not answer. A group that fails alone counts as missing only if it is not there.
pub(super) async fn find(client: &Client) -> Result<Installed, kube::Error> {
    let groups = client.list_api_groups().await?.groups;
    let served: BTreeMap<String, Vec<String>> = groups
        .into_iter()
        .map(|group| (group.name, group.versions.into_iter().map(|version| version.version).collect()))
        .collect();
    let mut plurals: HashMap<String, Vec<String>> = HashMap::new();
    let mut found = HashMap::new();
    for &kind in Kind::ALL {
        // What is watched by name or by its metadata has a watch of its own.
        if matches!(kind, Kind::Secret | Kind::ConfigMap) {
            continue;
        }
        let versions = kind.versions().iter().filter(|version| match kind.group() {
            "" => true,
            group => served.get(group).is_some_and(|served| served.iter().any(|served| served == *version)),
        });
        for version in versions {
            let api_version = api_version(kind.group(), version);
            if !plurals.contains_key(&api_version) {
                let names = resources(client, kind.group(), &api_version).await?;
                plurals.insert(api_version.clone(), names);
            }
            if plurals[&api_version].iter().any(|plural| plural == kind.plural()) {
                found.insert(kind, resource(kind, version));
                break;
            }
        }
    }
    let mut unknown = BTreeSet::new();
    for group in PROJECTS {
        for version in served.get(*group).into_iter().flatten() {
            let api_version = api_version(group, version);
            let names = match plurals.remove(&api_version) {
                Some(names) => names,
                None => resources(client, group, &api_version).await?,
            };
            let is_known =
                |name: &str| Kind::ALL.iter().any(|kind| kind.group() == *group && kind.plural() == name);
            // Subresources have a slash.
            let strangers = names.iter().filter(|name| !name.contains('/') && !is_known(name));
            unknown.extend(strangers.map(|name| format!("{name}.{group}")));
        }
    }
    Ok(Installed { kinds: found, unknown })
}

/// A kind in one of its versions, as the client addresses it.
pub(super) fn resource(kind: Kind, version: &str) -> ApiResource {
    ApiResource {
        group: kind.group().to_owned(),
        version: version.to_owned(),
        api_version: api_version(kind.group(), version),
        kind: kind.name().to_owned(),
        plural: kind.plural().to_owned(),
    }
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

async fn resources(client: &Client, group: &str, api_version: &str) -> Result<Vec<String>, kube::Error> {
    let listed = match group {
        "" => client.list_core_api_resources(api_version).await,
        _ => client.list_api_group_resources(api_version).await,
    };
    match listed {
        Ok(list) => Ok(list.resources.into_iter().map(|resource| resource.name).collect()),
        // The group went between two questions.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
