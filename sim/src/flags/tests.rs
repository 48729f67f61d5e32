use super::*;

fn servers(arguments: &[&str], environment: &Environment) -> Result<Vec<Options>, FlagsError> {
    let arguments = [&["penstock-sim"], arguments].concat();
    Flags::try_parse_from(arguments).unwrap().servers(environment).map(|(servers, _)| servers)
}

fn one(arguments: &[&str]) -> Options {
    servers(arguments, &Environment::default()).unwrap().remove(0)
}

#[test]
fn the_walkthroughs_arguments_start_it() {
    let model = "meta-llama/Llama-3.1-8B-Instruct";
    let lora = r#"{"name": "food-review-1"}"#;
    let arguments = ["--model", model, "--port", "8000", "--max-loras", "2", "--lora-modules", lora];
    let environment = Environment {
        pod_name: Some("vllm-0".to_owned()),
        pod_namespace: Some("default".to_owned()),
        ..Environment::default()
    };
    let options = servers(&arguments, &environment).unwrap().remove(0);
    assert_eq!((options.model.as_str(), options.max_loras), (model, 2));
    assert_eq!(options.listen, "0.0.0.0:8000".parse().unwrap());
    assert_eq!(options.loras[0].name, "food-review-1");
    assert_eq!(options.pod_name.as_deref(), Some("vllm-0"));
    assert_eq!(options.pod_namespace.as_deref(), Some("default"));
}

#[test]
fn the_defaults_are_the_librarys() {
    let options = one(&["--model", "m"]);
    let library = Options::default();
    assert_eq!(options.max_num_seqs, library.max_num_seqs);
    assert_eq!(options.max_waiting, library.max_waiting);
    assert_eq!(options.max_model_len, library.max_model_len);
    assert_eq!(options.max_body_bytes, library.max_body_bytes);
    assert_eq!(options.kv, library.kv);
    assert_eq!(options.latency, library.latency);
    assert_eq!(options.embedding_dimensions, library.embedding_dimensions);
}

#[test]
fn lists_are_repeated_or_spaced() {
    let options = one(&[
        "--model",
        "m",
        "--lora-modules",
        r#"{"name":"a"}"#,
        r#"{"name":"b"}"#,
        "--lora-modules",
        r#"{"name":"c"}"#,
        "--served-model-name",
        "x",
        "y",
        "--failure-types",
        "rate_limit",
        "server_error",
    ]);
    let names: Vec<_> = options.loras.iter().map(|lora| lora.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(options.served_model_names, ["x", "y"]);
    assert_eq!(options.failure_types, [FailureType::RateLimit, FailureType::ServerError]);
}

#[test]
fn many_servers_take_consecutive_ports() {
    let many = servers(
        &["--model", "m", "--port-base", "9000", "--count", "3", "--data-parallel-size", "2"],
        &Environment::default(),
    )
    .unwrap();
    let ports: Vec<_> = many.iter().map(|options| options.listen.port()).collect();
    assert_eq!(ports, [9000, 9001, 9002, 9003, 9004, 9005]);
    let pods: Vec<_> = many.iter().filter_map(|options| options.pod_name.as_deref()).collect();
    assert_eq!(pods, ["sim-0", "sim-0", "sim-1", "sim-1", "sim-2", "sim-2"]);
    let too_many = servers(&["--model", "m", "--port", "65000", "--count", "1000"], &Environment::default());
    assert!(matches!(too_many, Err(FlagsError::TooManyPorts { .. })));
}

#[test]
fn the_environment_makes_a_test_upstream_only_without_a_model() {
    let environment = Environment {
        testupstream_id: Some("abc".to_owned()),
        listener_port: Some("9999".to_owned()),
        ..Environment::default()
    };
    let options = servers(&[], &environment).unwrap().remove(0);
    assert_eq!(options.personality, Personality::TestUpstream { id: "abc".to_owned() });
    assert_eq!(options.listen.port(), 9999);
    let options = servers(&["--model", "m"], &environment).unwrap().remove(0);
    assert_eq!((options.personality, options.listen.port()), (Personality::ModelServer, 8000));
    let options = servers(&["--testupstream"], &Environment::default()).unwrap().remove(0);
    assert_eq!(options.personality, Personality::TestUpstream { id: "test".to_owned() });
    assert_eq!(options.listen.port(), 8080);
    assert!(matches!(servers(&[], &Environment::default()), Err(FlagsError::NoModel)));
}

#[test]
fn durations_are_gos_or_milliseconds() {
    for (text, ms) in
        [("0", 0.0), ("100ms", 100.0), ("1.5s", 1500.0), ("1m0s", 60_000.0), ("250us", 0.25), ("20", 20.0)]
    {
        assert!((duration(text).unwrap().as_secs_f64() * 1e3 - ms).abs() < 1e-6, "{text}");
    }
    for text in ["", "s", "10x", "1.2.3s", "-1s", "5.5"] {
        assert!(text.is_empty() || duration(text).is_err(), "{text}");
    }
}

#[test]
fn switches_take_a_value_only_with_an_equals_sign() {
    assert!(one(&["--model", "m", "--enable-kvcache"]).kv.is_enabled);
    assert!(!one(&["--model", "m", "--enable-kvcache=false"]).kv.is_enabled);
    assert!(!one(&["--model", "m", "--no-enable-prefix-caching"]).kv.reuses_prefixes);
    assert!(matches!(one(&["--model", "m", "--calibrated"]).latency.calculator, Calculator::Batch(_)));
}

#[test]
fn credentials_come_from_a_file_and_their_lifetime_from_a_flag() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials.json");
    std::fs::write(&path, r#"{"lifetime_s": 60, "openai": {"api_keys": ["sk"]}}"#).unwrap();
    let path = path.to_str().unwrap();
    let known =
        |more: &[&str]| one(&[&["--model", "m", "--credentials", path], more].concat()).credentials.unwrap();
    assert_eq!(known(&[]).lifetime_s, 60);
    assert_eq!(known(&["--token-lifetime", "5"]).lifetime_s, 5);
    assert!(one(&["--model", "m"]).credentials.is_none());
    std::fs::write(path, r#"{"open": {}}"#).unwrap();
    let error = Flags::try_parse_from(["penstock-sim", "--model", "m", "--credentials", path]).unwrap_err();
    assert!(error.to_string().contains("unknown field `open`"), "{error}");
}
