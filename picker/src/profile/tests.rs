use serde_json::{Value, json};

use super::{Chooser, Detector, PrefixOptions, Profile};
use crate::scorer::{ExpectedTtft, Scorer};

/// The document of the walkthrough, as Kubernetes manifests carry it.
const WALKTHROUGH: &str = "\
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
  - pluginRef: kv-cache-utilization-scorer
  - pluginRef: prefix-cache-scorer
";

#[expect(clippy::needless_pass_by_value, reason = "literals of json! read better by value")]
fn document(plugins: Value, profile: Value) -> Value {
    json!({
        "apiVersion": "llm-d.ai/v1alpha1",
        "kind": "EndpointPickerConfig",
        "plugins": plugins,
        "schedulingProfiles": [{"name": "default", "plugins": profile}],
    })
}

fn scorers(profile: &Profile) -> Vec<(&str, f64)> {
    profile.scorers.iter().map(|one| (&*one.name, one.weight)).collect()
}

fn faults(document: &Value) -> Vec<String> {
    Profile::build(document).unwrap_err().iter().map(ToString::to_string).collect()
}

/// The one plugin of that type and parameters, as a profile has it.
#[expect(clippy::needless_pass_by_value, reason = "literals of json! read better by value")]
fn built(kind: &str, parameters: Value) -> Profile {
    Profile::build(&document(json!([{"type": kind, "parameters": parameters}]), json!([{"pluginRef": kind}])))
        .unwrap()
}

fn built_scorer(kind: &str, parameters: Value) -> Scorer {
    built(kind, parameters).scorers.remove(0).scorer
}

#[test]
fn the_walkthroughs_document_is_read_as_it_is() {
    let document: Value = serde_saphyr::from_str(WALKTHROUGH).unwrap();
    let profile = Profile::build(&document).unwrap();
    let expected =
        [("queue-scorer", 1.0), ("kv-cache-utilization-scorer", 1.0), ("prefix-cache-scorer", 1.0)];
    assert_eq!(scorers(&profile), expected);
    assert!(profile.prefix().is_some());
    assert_eq!(profile.chooser, None, "the highest score wins");
}

#[test]
fn the_default_profile_is_the_expected_ttft_alone_as_a_document_would_have_it() {
    let profile = Profile::default();
    let written =
        document(json!([{"type": "expected-ttft-scorer"}]), json!([{"pluginRef": "expected-ttft-scorer"}]));
    assert_eq!(profile, Profile::build(&written).unwrap());
    assert!(profile.prefix().is_some());
    assert_eq!(profile.cache_memory(), 2.0);
    assert_eq!(profile.detector, Detector { queue_depth: 5.0, kv_usage: 0.8, headroom: 0.0 });
}

#[test]
fn both_api_groups_are_known_and_others_are_not() {
    let mut document = document(json!([{"type": "queue-scorer"}]), json!([{"pluginRef": "queue-scorer"}]));
    for version in ["llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1"] {
        document["apiVersion"] = json!(version);
        Profile::build(&document).unwrap();
    }
    document["apiVersion"] = json!("llm-d.ai/v2");
    document["kind"] = json!("Pod");
    let faults = faults(&document);
    assert!(faults[0].starts_with("apiVersion: llm-d.ai/v2 is neither"), "{faults:?}");
    assert_eq!(faults[1], "kind: Pod is not EndpointPickerConfig");
}

#[test]
fn names_weights_and_parameters_are_taken_over() {
    let document = document(
        json!([
            {"name": "calm", "type": "load-aware-scorer", "parameters": {"threshold": 10}},
            {"type": "queue-scorer"},
            {"type": "weighted-random-picker", "parameters": {"maxNumOfEndpoints": 2}},
            {"type": "single-profile-handler"},
        ]),
        json!([
            {"pluginRef": "calm", "weight": 2.5},
            {"pluginRef": "queue-scorer", "weight": 0},
            {"pluginRef": "weighted-random-picker"},
        ]),
    );
    let profile = Profile::build(&document).unwrap();
    assert_eq!(scorers(&profile), [("calm", 2.5), ("queue-scorer", 0.0)]);
    assert_eq!(profile.scorers[0].scorer, Scorer::LoadAware { threshold: 10.0 });
    assert_eq!(profile.chooser, Some(Chooser::WeightedRandom));
}

#[test]
fn a_picker_that_no_profile_lists_is_used_where_there_is_no_other() {
    let plugins = json!([{"type": "queue-scorer"}, {"type": "random-picker"}]);
    let profile = Profile::build(&document(plugins, json!([{"pluginRef": "queue-scorer"}]))).unwrap();
    assert_eq!(profile.chooser, Some(Chooser::Random));
}

#[test]
fn without_a_profile_all_plugins_are_in_one() {
    let document = json!({
        "apiVersion": "llm-d.ai/v1alpha1",
        "kind": "EndpointPickerConfig",
        "plugins": [
            {"type": "queue-scorer"}, {"type": "random-picker"}, {"type": "utilization-filter"},
            {"type": "metrics-data-source"}, {"type": "approx-prefix-cache-producer"},
        ],
    });
    let profile = Profile::build(&document).unwrap();
    assert_eq!(scorers(&profile), [("queue-scorer", 1.0)]);
    assert_eq!(profile.chooser, Some(Chooser::Random));
    assert_eq!(profile.filters.len(), 1);
}

#[test]
fn every_scorer_takes_its_parameters() {
    assert_eq!(
        built_scorer(
            "active-request-scorer",
            json!({"idleThreshold": 2, "maxBusyScore": 0.5, "requestTimeout": "2m"})
        ),
        Scorer::ActiveRequest { idle_threshold: 2, max_busy_score: 0.5 },
    );
    assert_eq!(
        built_scorer("token-load-scorer", json!({"queueThresholdTokens": 100})),
        Scorer::TokenLoad { threshold: 100.0 },
    );
    assert_eq!(built_scorer("token-load-scorer", json!({})), Scorer::TokenLoad { threshold: 4_194_304.0 });
    assert_eq!(built_scorer("load-aware-scorer", Value::Null), Scorer::LoadAware { threshold: 128.0 });
    assert_eq!(built_scorer("no-hit-lru-scorer", json!({"lruSize": 7})), Scorer::NoHitLru { remembered: 7 });
    assert_eq!(
        built_scorer(
            "expected-ttft-scorer",
            json!({"batchDelayWeight": 1, "requestTokens": 2, "homeShare": 0.25, "cacheMemory": 3}),
        ),
        Scorer::ExpectedTtft(ExpectedTtft {
            batch_delay_weight: 1.0,
            request_tokens: 2.0,
            home_share: 0.25,
            cache_memory: 3.0,
        }),
    );
    assert_eq!(
        built_scorer("prefix-cache-scorer", json!({"matchLengthWeight": 0.25})),
        Scorer::PrefixCache { length_weight: 0.25, max_tokens: 8192.0 },
    );
    assert_eq!(
        built_scorer("session-affinity-scorer", json!({"algorithm": "session_id_header"})),
        Scorer::SessionId { header: http::HeaderName::from_static("x-session-id") },
    );
    assert_eq!(
        built_scorer("session-affinity-scorer", json!({"headerName": "X-Mine"})),
        Scorer::SessionAffinity { header: "x-mine".parse().unwrap() },
    );
    for kind in [
        "queue-scorer",
        "running-requests-size-scorer",
        "kv-cache-utilization-scorer",
        "lora-affinity-scorer",
    ] {
        built_scorer(kind, json!({}));
    }
}

#[test]
fn prefix_blocks_follow_the_document() {
    let prefix = |parameters| *built("prefix-cache-scorer", parameters).prefix().unwrap();
    assert_eq!(
        prefix(json!({})),
        PrefixOptions { stride: 1, max_blocks: 2048, capacity: 31_250, is_tuned: true }
    );
    let old =
        prefix(json!({"hashBlockSize": 64, "maxPrefixBlocksToMatch": 256, "lruCapacityPerServer": 31_250}));
    assert_eq!((old.stride, old.max_blocks, old.capacity), (1, 256, 31_250));
    let long = prefix(json!({"blockSizeTokens": 200, "maxPrefixTokensToMatch": 100_000, "autoTune": false}));
    assert_eq!((long.stride, long.max_blocks, long.is_tuned), (4, 390, false));

    let plugins = json!([
        {"type": "prefix-cache-scorer"},
        {"type": "approx-prefix-cache-producer", "parameters": {"blockSizeTokens": 128}},
    ]);
    let profile = Profile::build(&document(plugins, json!([{"pluginRef": "prefix-cache-scorer"}]))).unwrap();
    assert_eq!(profile.prefix().unwrap().stride, 2);
}

#[test]
fn the_detector_is_configured_wherever_it_is_named() {
    let plugin = json!({
        "type": "utilization-detector",
        "parameters": {"queueDepthThreshold": 9, "kvCacheUtilThreshold": 0.5, "metricsStalenessThreshold": "200ms"},
    });
    let expected = Detector { queue_depth: 9.0, kv_usage: 0.5, headroom: 0.0 };
    let mut named =
        document(json!([plugin.clone(), {"type": "queue-scorer"}]), json!([{"pluginRef": "queue-scorer"}]));
    for section in ["saturationDetector", "flowControl"] {
        named[section] = match section {
            "flowControl" => json!({"saturationDetector": {"pluginRef": "utilization-detector"}}),
            _ => json!({"pluginRef": "utilization-detector"}),
        };
        let profile = Profile::build(&named).unwrap();
        assert_eq!(profile.detector, expected);
        assert!(profile.filters.is_empty());
    }
    let listed = document(json!([plugin]), json!([{"pluginRef": "utilization-detector"}]));
    let profile = Profile::build(&listed).unwrap();
    assert_eq!((profile.detector, profile.filters.len()), (expected, 1));
}

#[test]
fn all_faults_are_reported_at_once_with_their_paths() {
    let document = json!({
        "apiVersion": "llm-d.ai/v1alpha1",
        "kind": "EndpointPickerConfig",
        "scheduling": [],
        "featureGates": ["flowControl", "teapot"],
        "plugins": [
            {"type": "queue-scorr"},
            {"type": "latency-scorer", "name": "slow"},
            {"type": "quantum-scorer"},
            {"type": "queue-scorer", "parameters": {"threshold": 1}},
            {"type": "queue-scorer"},
            {"type": "load-aware-scorer", "parameters": {"threshold": "many"}, "weight": 1},
            {"name": "nothing"},
        ],
        "schedulingProfiles": [{"plugins": [
            {"pluginRef": "queue-scorer", "weight": -1},
            {"pluginRef": "load-awre-scorer"},
            {"weight": 1},
        ]}],
    });
    let faults = faults(&document);
    for expected in [
        "scheduling: unknown field",
        "featureGates[0]: the feature gate flowControl is known but not built yet",
        "featureGates[1]: unknown feature gate teapot",
        "plugins[0].type: unknown plugin type queue-scorr; did you mean queue-scorer?",
        "plugins[1].type: latency-scorer is known but not built yet",
        "plugins[2].type: unknown plugin type quantum-scorer; built are",
        "plugins[3].parameters.threshold: unknown field",
        "plugins[4].name: a plugin named queue-scorer exists already",
        "plugins[5].parameters.threshold: expected a number, found a string",
        "plugins[5].weight: unknown field",
        "plugins[6].type: missing",
        "schedulingProfiles[0].name: missing",
        "schedulingProfiles[0].plugins[0].weight: -1 is not between 0",
        "schedulingProfiles[0].plugins[1].pluginRef: no plugin is named load-awre-scorer; did you mean load-aware",
        "schedulingProfiles[0].plugins[2].pluginRef: missing",
    ] {
        assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected} is not in {faults:#?}");
    }
    assert_eq!(faults.len(), 15, "{faults:#?}");
}

#[test]
fn what_cannot_work_is_refused() {
    let two_pickers = document(
        json!([{"type": "random-picker"}, {"type": "max-score-picker"}]),
        json!([{"pluginRef": "random-picker"}, {"pluginRef": "max-score-picker"}]),
    );
    assert!(faults(&two_pickers)[0].contains("second picker"));

    let mut two_profiles =
        document(json!([{"type": "queue-scorer"}]), json!([{"pluginRef": "queue-scorer"}]));
    two_profiles["schedulingProfiles"].as_array_mut().unwrap().push(json!({"name": "b", "plugins": []}));
    assert!(faults(&two_profiles)[0].contains("single-profile-handler takes exactly one"));

    let handler = document(
        json!([{"type": "single-profile-handler"}]),
        json!([{"pluginRef": "single-profile-handler"}]),
    );
    assert!(faults(&handler)[0].contains("is no filter, scorer or picker"));

    let mut no_detector = document(json!([{"type": "queue-scorer"}]), json!([{"pluginRef": "queue-scorer"}]));
    no_detector["saturationDetector"] = json!({"pluginRef": "queue-scorer"});
    assert_eq!(
        faults(&no_detector),
        ["saturationDetector.pluginRef: queue-scorer is no saturation detector"]
    );

    for nonsense in [json!(null), json!(7), json!([]), json!("text"), json!({})] {
        assert!(!faults(&nonsense).is_empty());
    }
}

/// A comparison with every known name took minutes of the operator's time for a name of a megabyte.
#[test]
fn a_configuration_of_a_megabyte_is_refused_in_few_words() {
    let long = "x".repeat(1 << 20);
    let mut document = document(
        json!([{"type": long}, {"type": "queue-scorer", "name": format!("{long}y"), long.clone(): 1}]),
        json!([{"pluginRef": format!("{long}z")}]),
    );
    let many = vec![json!({"type": "queue-scorer"}); 100_000];
    document["saturationDetector"] = json!({ "pluginRef": long });
    let told = faults(&document);
    assert!(told.len() >= 3 && told.iter().all(|fault| fault.len() < 1200), "{} faults", told.len());
    document["plugins"] = many.into();
    let told = faults(&document);
    assert!(told.iter().any(|fault| fault == "plugins: 100000 entries; the most are 256"), "{told:#?}");
}
