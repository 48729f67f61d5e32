//! Where a pool's picker configuration comes from: the `EndpointPickerConfig` of the endpoint picker that the pool names.
//!
//! The picker runs in process, so that nothing is ever sent to the one that the pool names. What counts is how it is
//! configured: Service, then the Deployment that it selects, then the container's `--config-file`, then the volume that
//! is mounted there, then the ConfigMap's key. An annotation of the pool names another ConfigMap.

use std::path::Path;

use serde_json::Value;

use crate::api::{Container, InferencePool, PodTemplate};
use crate::context::Context;
use crate::world::{Key, Meta, shorten};

/// The annotation that names the ConfigMap to use: `NAME` or `NAME/KEY`.
pub const CONFIG_ANNOTATION: &str = "penstock.dev/endpoint-picker-config";

/// The most faults of a configuration that a message has.
const MAX_FAULTS: usize = 5;

/// The most bytes of one of them.
const MAX_FAULT_BYTES: usize = 500;

/// Which configuration a pool's picker has.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PickerConfig {
    /// The document; `None` for the default.
    pub(crate) document: Option<Value>,
    /// Whether what was named is what is used.
    pub(crate) outcome: Outcome,
    /// Which it is and why, in a sentence.
    pub(crate) message: String,
}

/// How looking for a configuration went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was named and is used.
    Loaded,
    /// Nothing was named, or what was named has no configuration.
    Default,
    /// What was named is not there.
    Missing,
    /// What was found has faults.
    Faulty,
}

/// Finds a pool's configuration.
pub(crate) fn find(context: &Context<'_>, meta: &Meta, pool: &InferencePool) -> PickerConfig {
    if let Some(named) = meta.annotations.get(CONFIG_ANNOTATION) {
        let (name, key) =
            named.split_once('/').map_or((named.as_str(), None), |(name, key)| (name, Some(key)));
        return from_map(
            context,
            &Key::new(meta.key.namespace.as_str(), name),
            key,
            "named by its annotation",
        );
    }
    let Some(reference) = &pool.endpoint_picker_ref else {
        return PickerConfig::default_profile(Outcome::Default, "the pool names no endpoint picker");
    };
    let (group, kind) =
        (reference.group.as_deref().unwrap_or(""), reference.kind.as_deref().unwrap_or("Service"));
    if (group, kind) != ("", "Service") {
        let message = format!("endpointPickerRef names a {kind} of group {group:?}, which is not a Service");
        return PickerConfig::default_profile(Outcome::Missing, &message);
    }
    let service_key = Key::new(meta.key.namespace.as_str(), &reference.name);
    let service = context.world.services.get(&service_key).and_then(|it| it.spec.as_ref().ok());
    let Some(service) = service else {
        let message = format!("the Service {service_key} of endpointPickerRef does not exist");
        return PickerConfig::default_profile(Outcome::Missing, &message);
    };
    let deployments = context.world.deployments.in_namespace(&service_key.namespace);
    let mut templates = deployments.filter_map(|(key, it)| Some((key, &it.spec.as_ref().ok()?.template)));
    let selected = templates.find(|(_, template)| {
        let labels = &template.metadata.labels;
        !service.selector.is_empty()
            && service.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    });
    let Some((deployment, template)) = selected else {
        let message = format!("no Deployment is behind the endpoint picker's Service {service_key}");
        return PickerConfig::default_profile(Outcome::Default, &message);
    };
    of_deployment(context, deployment, template)
}

fn of_deployment(context: &Context<'_>, deployment: &Key, template: &PodTemplate) -> PickerConfig {
    for container in &template.spec.containers {
        if let Some(text) = argument(container, &["config-text", "configText"]) {
            return judge(context, text, &format!("--config-text of Deployment {deployment}"));
        }
        let Some(file) = argument(container, &["config-file", "configFile"]) else { continue };
        return match mounted(template, container, file) {
            Some((map, key)) => {
                let map = Key::new(deployment.namespace.as_str(), map);
                from_map(context, &map, Some(&key), &format!("mounted by Deployment {deployment}"))
            }
            None => {
                let message = format!("{file} of Deployment {deployment} is on no volume of a ConfigMap");
                PickerConfig::default_profile(Outcome::Missing, &message)
            }
        };
    }
    let message = format!("Deployment {deployment} has no --config-file");
    PickerConfig::default_profile(Outcome::Default, &message)
}

/// The value of an argument that is spelt in one of these ways, with one dash or two.
fn argument<'a>(container: &'a Container, names: &[&str]) -> Option<&'a str> {
    let words: Vec<&str> = container.command.iter().chain(&container.args).map(String::as_str).collect();
    words.iter().enumerate().find_map(|(index, word)| {
        let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
        match flag.split_once('=') {
            Some((name, value)) => names.contains(&name).then_some(value),
            None if names.contains(&flag) => words.get(index + 1).copied(),
            None => None,
        }
    })
}

/// The ConfigMap and key that a file of a container is.
fn mounted(template: &PodTemplate, container: &Container, file: &str) -> Option<(String, String)> {
    let file = Path::new(file);
    let mounts = container.volume_mounts.iter().filter(|mount| file.starts_with(&mount.mount_path));
    let mount = mounts.max_by_key(|mount| mount.mount_path.len())?;
    let below = file.strip_prefix(&mount.mount_path).ok()?;
    let path = Path::new(&mount.sub_path).join(below);
    // A mount of a single file has nothing below it, and joining leaves a slash behind.
    let path = path.components().as_path().to_str()?.to_owned();
    let volume = template.spec.volumes.iter().find(|volume| volume.name == mount.name)?;
    let map = volume.config_map.as_ref()?;
    let key = match map.items.iter().find(|item| item.path == path) {
        Some(item) => item.key.clone(),
        None if map.items.is_empty() => path,
        None => return None,
    };
    Some((map.name.clone(), key))
}

/// The configuration in a ConfigMap. Without a key, it is the only one, or the one that is called as charts call it.
fn from_map(context: &Context<'_>, map: &Key, key: Option<&str>, how: &str) -> PickerConfig {
    const USUAL_KEY: &str = "default-plugins.yaml";
    let Some(data) = context.config_map(map) else {
        let message = format!("the ConfigMap {map}, {how}, does not exist");
        return PickerConfig::default_profile(Outcome::Missing, &message);
    };
    let only = if data.len() == 1 { data.keys().next().map(String::as_str) } else { None };
    let key = key.or(only).unwrap_or(USUAL_KEY);
    match data.get(key) {
        Some(text) => judge(context, text, &format!("{key} of ConfigMap {map}, {how}")),
        None => {
            let message = format!("the ConfigMap {map}, {how}, has no key {}", shorten(key, 100));
            PickerConfig::default_profile(Outcome::Missing, &message)
        }
    }
}

/// Reads and checks a document. One with faults is not used.
fn judge(context: &Context<'_>, text: &str, place: &str) -> PickerConfig {
    let faulty = |what: &str| {
        let message = format!("{place}, has faults: {what}");
        PickerConfig::default_profile(Outcome::Faulty, &message)
    };
    let options = serde_saphyr::options! { with_snippet: false };
    let document: Value = match serde_saphyr::from_str_with_options(text, options) {
        Ok(document) => document,
        Err(error) => return faulty(&shorten(&error.to_string(), MAX_FAULT_BYTES)),
    };
    if !document.is_object() {
        return faulty("it is no EndpointPickerConfig");
    }
    let faults = context.options.profiles.check(&document);
    if !faults.is_empty() {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        return faulty(&summary(&faults));
    }
    PickerConfig {
        document: Some(document),
        outcome: Outcome::Loaded,
        message: format!("the picker follows {place}"),
    }
}

/// Faults in a sentence. An ending that several have in common, such as the names to choose from, stands there once, behind
/// all of them: none is cut off for the sake of a list that is there already.
fn summary(faults: &[String]) -> String {
    let is_shared = |ending: &str| {
        let has_it = |fault: &&String| fault.strip_suffix(ending).is_some_and(|fault| fault.ends_with("; "));
        faults.iter().filter(has_it).count() > 1
    };
    let mut endings: Vec<&str> = Vec::new();
    let mut parts = Vec::new();
    for fault in faults.iter().take(MAX_FAULTS) {
        let (fault, ending) = match fault.rsplit_once("; ") {
            Some((fault, ending)) if is_shared(ending) => (fault, Some(ending)),
            _ => (fault.as_str(), None),
        };
        parts.push(shorten(fault, MAX_FAULT_BYTES));
        endings.extend(ending.filter(|ending| !endings.contains(ending)));
    }
    if faults.len() > MAX_FAULTS {
        parts.push(format!("and {} more", faults.len() - MAX_FAULTS));
    }
    parts.extend(endings.into_iter().map(str::to_owned));
    parts.join("; ")
}

impl PickerConfig {
    fn default_profile(outcome: Outcome, why: &str) -> Self {
        Self { document: None, outcome, message: format!("the picker follows the default profile: {why}") }
    }
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn names_to_choose_from_are_listed_once_and_behind_all_faults() {
        let names: Vec<String> = (0..18).map(|number| format!("a-long-name-of-a-plugin-{number}")).collect();
        let unknown = |index: usize, name: &str| {
            format!("plugins[{index}].type: unknown plugin type {name}; built are {}", names.join(", "))
        };
        let faults = [unknown(0, "one"), unknown(1, "two"), "plugins[2].name: is there twice".to_owned()];
        let expected = format!(
            "plugins[0].type: unknown plugin type one; plugins[1].type: unknown plugin type two; plugins[2].name: is \
             there twice; built are {}",
            names.join(", ")
        );
        assert_eq!(summary(&faults), expected);
    }

    #[test]
    fn a_single_fault_keeps_its_ending_and_many_are_counted() {
        assert_eq!(summary(&["a: unknown; built are b".to_owned()]), "a: unknown; built are b");
        let many: Vec<String> = (0..8).map(|number| format!("fault {number}")).collect();
        assert_eq!(summary(&many), "fault 0; fault 1; fault 2; fault 3; fault 4; and 3 more");
    }
}
