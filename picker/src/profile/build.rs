//! Turns an `EndpointPickerConfig` document into a [`Profile`].

use penstock_config::Fault;
use serde_json::Value;

use super::{
    Profile, WeightedScorer,
    catalog::{BUILT, INHERENT, NOT_BUILT},
    decode::{Faults, Object, nearest},
    plugin::{self, Plugin},
};
use crate::saturation::Detector;

/// API groups that documents come under; the second is the older, deprecated one.
const API_VERSIONS: [&str; 2] = ["llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1"];
const KIND: &str = "EndpointPickerConfig";
const FLOW_CONTROL_GATE: &str = "flowControl";
/// Gates that exist upstream and make no difference here.
const INERT_GATES: [&str; 4] =
    ["dataLayer", "prepareDataPlugins", "enableLegacyMetrics", "haPopulateNonLeaderDatastore"];
const DEFAULT_WEIGHT: f64 = 1.0;
/// A weight beyond this is a slip of the keyboard.
const MAX_WEIGHT: f64 = 1e9;

/// A plugin of the document, by the name that profiles refer to.
struct NamedPlugin {
    name: String,
    /// `None` if it could not be built; what is wrong was noted then.
    plugin: Option<Plugin>,
}

/// Builds the profile of `document`, or says everything that is wrong with it.
pub(super) fn build(document: &Value) -> Result<Profile, Vec<Fault>> {
    let faults = Faults::default();
    let root = Object::open(Some(document), "", &faults);
    check_type(&root);
    check_gates(&root);

    let plugins = plugins(&root, &faults);
    let mut profile = scheduling(&root, &plugins, &faults);
    if let Some(detector) = saturation_detector(&root, &plugins, &faults) {
        profile.detector = detector;
    }
    check_flow_control(&root, &faults);
    check_data_layer(&root, &plugins, &faults);
    check_parsers(&root, &plugins, &faults);
    root.close();

    let faults = faults.into_vec();
    if faults.is_empty() { Ok(profile) } else { Err(faults) }
}

fn check_type(root: &Object<'_>) {
    match root.text("apiVersion") {
        Some(version) if API_VERSIONS.contains(&version) => {}
        Some(version) => {
            root.fault(
                "apiVersion",
                format_args!("{version} is neither {} nor {}", API_VERSIONS[0], API_VERSIONS[1]),
            );
        }
        None => root.fault("apiVersion", format_args!("missing; {} is the current one", API_VERSIONS[0])),
    }
    match root.text("kind") {
        Some(KIND) => {}
        Some(kind) => root.fault("kind", format_args!("{kind} is not {KIND}")),
        None => root.fault("kind", format_args!("missing; it must be {KIND}")),
    }
}

fn check_gates(root: &Object<'_>) {
    // The root's path is empty, so an element's path can stand for a field's name.
    for (path, gate) in root.list("featureGates") {
        let Some(gate) = gate.as_str() else {
            root.fault("featureGates", "a feature gate is a string");
            continue;
        };
        let (name, state) = gate.split_once('=').unwrap_or((gate, "true"));
        if name == FLOW_CONTROL_GATE && state == "true" {
            let message = "the feature gate flowControl is known but not built yet; \
                           a waiting queue is configured with the pool's saturation.action";
            root.fault(&path, message);
        } else if !matches!(state, "true" | "false") {
            root.fault(&path, format_args!("{state} is neither true nor false"));
        } else if name != FLOW_CONTROL_GATE && !INERT_GATES.contains(&name) {
            root.fault(&path, format_args!("unknown feature gate {name}"));
        }
    }
}

fn plugins(root: &Object<'_>, faults: &Faults) -> Vec<NamedPlugin> {
    let mut plugins: Vec<NamedPlugin> = Vec::new();
    for (path, value) in root.list("plugins") {
        let entry = Object::open(Some(value), path, faults);
        let kind = entry.text("type");
        let name = entry.text("name").filter(|name| !name.is_empty()).or(kind).unwrap_or_default().to_owned();
        let parameters = Object::open(entry.value("parameters"), entry.path_of("parameters"), faults);
        let plugin = match kind {
            None => {
                entry.fault("type", "missing: the plugin's type");
                None
            }
            Some(kind) => {
                let plugin = instantiate(kind, &parameters);
                if plugin.is_none() {
                    entry.fault("type", unavailable(kind));
                }
                plugin
            }
        };
        if plugin.is_some() {
            parameters.close();
        }
        if !name.is_empty() && plugins.iter().any(|other| other.name == name) {
            entry.fault("name", format_args!("a plugin named {name} exists already"));
        }
        plugins.push(NamedPlugin { name, plugin });
        entry.close();
    }
    plugins
}

fn instantiate(kind: &str, parameters: &Object<'_>) -> Option<Plugin> {
    if INHERENT.contains(&kind) { Some(Plugin::Inherent) } else { plugin::instantiate(kind, parameters) }
}

/// Why there is no plugin of that type.
fn unavailable(kind: &str) -> String {
    if NOT_BUILT.contains(&kind) {
        return format!("{kind} is known but not built yet; built are {}", BUILT.join(", "));
    }
    match nearest(kind, BUILT.iter().chain(&INHERENT).chain(NOT_BUILT).copied()) {
        Some(near) => format!("unknown plugin type {kind}; did you mean {near}?"),
        None => format!("unknown plugin type {kind}; built are {}", BUILT.join(", ")),
    }
}

fn scheduling(root: &Object<'_>, plugins: &[NamedPlugin], faults: &Faults) -> Profile {
    let mut profiles = root.list("schedulingProfiles").map(|(path, value)| {
        let entry = Object::open(Some(value), path, faults);
        if entry.text("name").is_none_or(str::is_empty) {
            entry.fault("name", "missing: the profile's name");
        }
        let mut profile = Profile::empty();
        for (path, value) in entry.list("plugins") {
            let reference = Object::open(Some(value), path, faults);
            add_reference(&mut profile, &reference, plugins);
            reference.close();
        }
        entry.close();
        profile
    });

    let first = profiles.next();
    if profiles.count() > 0 {
        let message = "more than one profile needs a profile handler that is not built yet; \
                       single-profile-handler takes exactly one";
        root.fault("schedulingProfiles", message);
    }
    // Without a profile, every plugin that can be in one is.
    let mut profile = first.unwrap_or_else(|| {
        let mut profile = Profile::empty();
        for NamedPlugin { name, plugin } in plugins {
            if let Some(plugin) = plugin {
                profile.add(name, plugin, DEFAULT_WEIGHT);
            }
        }
        profile
    });
    if profile.chooser.is_none() {
        // A picker that is defined but in no profile is meant; the highest score wins where none is.
        profile.chooser = plugins.iter().find_map(|named| match named.plugin {
            Some(Plugin::Chooser(chooser)) => Some(chooser),
            _ => None,
        });
    }
    if let Some(options) =
        plugins.iter().find_map(|named| named.plugin.as_ref().and_then(Plugin::prefix_options))
    {
        profile.prefix = options;
    }
    profile
}

fn add_reference(profile: &mut Profile, reference: &Object<'_>, plugins: &[NamedPlugin]) {
    let weight = reference.number("weight", 0.0..=MAX_WEIGHT).unwrap_or(DEFAULT_WEIGHT);
    let Some(name) = reference.text("pluginRef").filter(|name| !name.is_empty()) else {
        reference.fault("pluginRef", "missing: the name of a plugin");
        return;
    };
    let Some(named) = find(plugins, reference, name) else { return };
    let Some(plugin) = &named.plugin else { return };
    match plugin {
        Plugin::Handler | Plugin::Inherent | Plugin::PrefixProducer(_) => {
            reference.fault("pluginRef", format_args!("{name} is no filter, scorer or picker"));
        }
        Plugin::Chooser(_) if profile.chooser.is_some() => {
            reference.fault("pluginRef", format_args!("{name} is a second picker; a profile has one"));
        }
        _ => profile.add(name, plugin, weight),
    }
}

/// The plugin of that name; notes a fault at `pluginRef` if there is none.
fn find<'p>(plugins: &'p [NamedPlugin], reference: &Object<'_>, name: &str) -> Option<&'p NamedPlugin> {
    let found = plugins.iter().find(|named| named.name == name);
    if found.is_none() {
        match nearest(name, plugins.iter().map(|named| named.name.as_str())) {
            Some(near) => {
                reference.fault("pluginRef", format_args!("no plugin is named {name}; did you mean {near}?"))
            }
            None => reference.fault("pluginRef", format_args!("no plugin is named {name}")),
        }
    }
    found
}

fn saturation_detector(root: &Object<'_>, plugins: &[NamedPlugin], faults: &Faults) -> Option<Detector> {
    let flow_control = Object::open(root.value("flowControl"), "flowControl", faults);
    let current = flow_control.value("saturationDetector");
    let deprecated = root.value("saturationDetector");
    let path = if current.is_some() { "flowControl.saturationDetector" } else { "saturationDetector" };
    let section = Object::open(current.or(deprecated), path, faults);
    let named = match section.text("pluginRef") {
        None => None,
        Some("utilization-detector") if !plugins.iter().any(|named| named.name == "utilization-detector") => {
            None
        }
        Some(name) => Some((name, find(plugins, &section, name)?)),
    };
    section.close();

    match named {
        Some((_, NamedPlugin { plugin: Some(Plugin::Detector(detector)), .. })) => Some(*detector),
        Some((name, NamedPlugin { plugin: Some(_), .. })) => {
            faults.add(format!("{path}.pluginRef"), format_args!("{name} is no saturation detector"));
            None
        }
        Some(_) => None,
        // A detector that is defined is meant, even where nothing refers to it.
        None => plugins.iter().find_map(|named| match named.plugin {
            Some(Plugin::Detector(detector)) => Some(detector),
            _ => None,
        }),
    }
}

/// Flow control is off, as it is upstream by default: its section is checked for unknown fields and otherwise unused.
fn check_flow_control(root: &Object<'_>, faults: &Faults) {
    let section = Object::open(root.value("flowControl"), "flowControl", faults);
    for field in [
        "maxBytes",
        "maxRequests",
        "defaultRequestTTL",
        "noEndpointRequestTTL",
        "defaultPriorityBand",
        "defaultNegativePriorityBand",
        "priorityBands",
        "usageLimitPolicyPluginRef",
        "saturationDetector",
        "enableEviction",
    ] {
        let _ = section.value(field);
    }
    section.close();
}

fn check_data_layer(root: &Object<'_>, plugins: &[NamedPlugin], faults: &Faults) {
    let section = Object::open(root.value("dataLayer"), "dataLayer", faults);
    let _ = section.boolean("injectDefaults");
    for (path, value) in section.list("sources") {
        let source = Object::open(Some(value), path, faults);
        check_inherent(&source, plugins);
        for (path, value) in source.list("extractors") {
            let extractor = Object::open(Some(value), path, faults);
            check_inherent(&extractor, plugins);
            extractor.close();
        }
        source.close();
    }
    for field in ["discovery", "peerDiscovery", "crossReplicaSyncerPluginRef", "crossReplicaSyncInterval"] {
        if section.value(field).is_some() {
            section.fault(field, "known but not built yet");
        }
    }
    section.close();
}

fn check_parsers(root: &Object<'_>, plugins: &[NamedPlugin], faults: &Faults) {
    let parser = Object::open(root.value("parser"), "parser", faults);
    if root.value("parser").is_some() {
        check_inherent(&parser, plugins);
    }
    parser.close();
    let handler = Object::open(root.value("requestHandler"), "requestHandler", faults);
    for (path, value) in handler.list("parsers") {
        let parser = Object::open(Some(value), path, faults);
        check_inherent(&parser, plugins);
        parser.close();
    }
    handler.close();
}

/// Checks a reference to something that the gateway does anyway; it may be left undefined then.
fn check_inherent(reference: &Object<'_>, plugins: &[NamedPlugin]) {
    match reference.text("pluginRef") {
        None => reference.fault("pluginRef", "missing: the name of a plugin"),
        Some(name) if INHERENT.contains(&name) => {}
        Some(name) => {
            let Some(named) = find(plugins, reference, name) else { return };
            if !matches!(named.plugin, Some(Plugin::Inherent) | None) {
                reference.fault("pluginRef", format_args!("{name} cannot be used here"));
            }
        }
    }
}

impl Profile {
    /// Adds a plugin where its kind belongs.
    fn add(&mut self, name: &str, plugin: &Plugin, weight: f64) {
        match plugin {
            Plugin::Scorer(scorer, _) => {
                self.scorers.push(WeightedScorer { name: name.into(), scorer: scorer.clone(), weight });
            }
            Plugin::Chooser(chooser) => self.chooser = self.chooser.or(Some(*chooser)),
            Plugin::Detector(detector) | Plugin::Filter(detector) => {
                self.filters.push((name.into(), *detector))
            }
            Plugin::Handler | Plugin::Inherent | Plugin::PrefixProducer(_) => {}
        }
    }
}
