use std::sync::Arc;
use std::time::Duration;

use penstock_config::GenAiConvention::{self, EnvoyAIGateway, OpenTelemetry};
use penstock_tap::Usage;
use rustc_hash::FxHashSet;
use tokio::time::Instant;

use super::*;
use crate::error::Error;
use crate::metrics::{Configured, Metrics, Settlement, UpstreamKind, UpstreamMetrics, UpstreamName};

const CHAT: &str = "/v1/chat/completions";

fn upstream(metrics: &Metrics, conventions: &[GenAiConvention]) -> UpstreamMetrics {
    let conventions = Conventions::of(conventions);
    let name = UpstreamName { kind: UpstreamKind::Pool, name: "p", provider: "vllm", conventions };
    metrics.upstream(name, ["m"])
}

fn call<'a>(path: &'a str, target: Option<&'a Arc<str>>) -> GenAiCall<'a> {
    GenAiCall { path, target, is_reported: true, has_error_event: false }
}

fn settled<'a>(upstream: &'a UpstreamMetrics, model: &str, call: GenAiCall<'a>) -> Settlement<'a> {
    Settlement {
        route: None,
        model: Some(&**upstream.model(model)),
        status: 200,
        error: None,
        duration: Duration::from_millis(700),
        stream: None,
        usage: Usage { input: Some(100), output: Some(7), cached_input: Some(64), ..Usage::default() },
        call: Some(call),
    }
}

fn value(page: &str, series: &str) -> Option<String> {
    page.lines().find_map(|line| Some(line.strip_prefix(series)?.strip_prefix(' ')?.to_owned()))
}

#[track_caller]
fn assert_values(page: &str, values: &[(&str, &str)]) {
    for (series, expected) in values {
        assert_eq!(value(page, series).as_deref(), Some(*expected), "{series}\n{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_recorded_by_the_names_of_both() {
    let metrics = Metrics::default();
    let upstream = upstream(&metrics, &[OpenTelemetry, EnvoyAIGateway]);
    let started = Instant::now();
    let mut stream = StreamClock::new(started);
    for at in [100, 200, 300, 400, 500, 600, 700] {
        stream.content(started + Duration::from_millis(at), 1);
    }
    let target = Arc::from("m-8b");
    let call = call("/v1/messages", Some(&target));
    metrics.settle(Settlement { stream: Some(&stream), ..settled(&upstream, "m", call) });

    let client = r#"gen_ai_operation_name="chat",gen_ai_provider_name="vllm",gen_ai_request_model="m-8b",error_type="""#;
    let models = r#"gen_ai_original_model="m",gen_ai_request_model="m-8b",gen_ai_response_model="m-8b""#;
    let server =
        format!(r#"gen_ai_operation_name="messages",gen_ai_provider_name="vllm",{models},error_type="""#);
    let tokens = format!(r#"gen_ai_operation_name="chat",gen_ai_provider_name="vllm",{models}"#);
    assert_values(
        &metrics.encode(),
        &[
            (&format!("gen_ai_client_operation_duration_seconds_sum{{{client}}}"), "0.7"),
            (&format!("gen_ai_client_operation_duration_seconds_bucket{{{client},le=\"0.64\"}}"), "0"),
            (&format!("gen_ai_client_operation_duration_seconds_bucket{{{client},le=\"1.28\"}}"), "1"),
            (&format!("gen_ai_client_operation_time_to_first_chunk_seconds_sum{{{client}}}"), "0.1"),
            (&format!("gen_ai_client_operation_time_per_output_chunk_seconds_count{{{client}}}"), "6"),
            (&format!("gen_ai_server_request_duration_seconds_count{{{server}}}"), "1"),
            (&format!("gen_ai_server_time_to_first_token_seconds_sum{{{server}}}"), "0.1"),
            // 600 ms for the six tokens after the first.
            (&format!("gen_ai_server_time_per_output_token_seconds_sum{{{server}}}"), "0.1"),
            (&format!("gen_ai_client_token_usage_sum{{{tokens},gen_ai_token_type=\"input\"}}"), "100"),
            (&format!("gen_ai_client_token_usage_sum{{{tokens},gen_ai_token_type=\"output\"}}"), "7"),
            (&format!("gen_ai_client_token_usage_sum{{{tokens},gen_ai_token_type=\"cached_input\"}}"), "64"),
            (
                &format!(
                    "gen_ai_client_token_usage_bucket{{{tokens},gen_ai_token_type=\"output\",le=\"4\"}}"
                ),
                "0",
            ),
            (
                &format!(
                    "gen_ai_client_token_usage_bucket{{{tokens},gen_ai_token_type=\"output\",le=\"16\"}}"
                ),
                "1",
            ),
        ],
    );
}

#[test]
fn errors_have_a_type_and_no_tokens_that_nobody_counted() {
    let metrics = Metrics::default();
    let upstream = upstream(&metrics, &[OpenTelemetry, EnvoyAIGateway]);
    let not_counted = GenAiCall { is_reported: false, ..call(CHAT, None) };
    let error = Error::StreamIdle;
    metrics.settle(Settlement { error: Some(error.row()), ..settled(&upstream, "m", not_counted) });
    metrics.settle(Settlement { status: 429, ..settled(&upstream, "m", not_counted) });
    let broken = GenAiCall { has_error_event: true, ..not_counted };
    metrics.settle(settled(&upstream, "m", broken));

    let page = metrics.encode();
    for error in [error.row().reason, "429", "stream_error"] {
        let series = format!(
            "gen_ai_client_operation_duration_seconds_count{{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"vllm\",\
             gen_ai_request_model=\"m\",error_type=\"{error}\"}}"
        );
        assert_values(&page, &[(&series, "1")]);
    }
    let failed: Vec<_> = page
        .lines()
        .filter(|line| {
            line.starts_with("gen_ai_server_request_duration_seconds_count") && line.contains("_OTHER")
        })
        .collect();
    assert!(matches!(*failed, [line] if line.ends_with(" 3")), "{failed:?}");
    assert!(!page.contains("gen_ai_client_token_usage_sum"), "{page}");
}

#[test]
fn each_convention_is_there_alone_and_none_where_none_is_asked_for() {
    for (conventions, has_client, has_server) in
        [(&[][..], false, false), (&[OpenTelemetry][..], true, false), (&[EnvoyAIGateway][..], false, true)]
    {
        let metrics = Metrics::default();
        let upstream = upstream(&metrics, conventions);
        metrics.settle(settled(&upstream, "m", call(CHAT, None)));
        // Nothing is asked of a model.
        metrics.settle(settled(&upstream, "m", call("/v1/models", None)));
        let page = metrics.encode();
        let count = |name: &str| {
            page.lines().find(|line| line.starts_with(name)).is_some_and(|line| line.ends_with(" 1"))
        };
        assert_eq!(count("gen_ai_client_operation_duration_seconds_count"), has_client, "{conventions:?}");
        assert_eq!(count("gen_ai_server_request_duration_seconds_count"), has_server, "{conventions:?}");
        assert_eq!(count("gen_ai_client_token_usage_count"), has_client || has_server, "{conventions:?}");
        assert_eq!(page.contains("gen_ai_original_model=\"m\""), has_server, "{conventions:?}");
        assert_eq!(page.contains("gen_ai_token_type=\"cached_input\""), has_server, "{conventions:?}");
    }
}

#[test]
fn models_that_clients_make_up_get_no_series() {
    let metrics = Metrics::default();
    let upstream = upstream(&metrics, &[OpenTelemetry, EnvoyAIGateway]);
    for number in 0..100 {
        metrics.settle(settled(&upstream, &format!("made up {number}"), call(CHAT, None)));
    }
    let page = metrics.encode();
    assert!(!page.contains("made up"));
    let counts =
        page.lines().filter(|line| line.starts_with("gen_ai_client_operation_duration_seconds_count"));
    assert!(
        matches!(*counts.collect::<Vec<_>>(), [line] if line.contains("\"other\"") && line.ends_with(" 100"))
    );
}

#[test]
fn a_reload_drops_the_series_of_models_that_are_gone_and_keeps_others() {
    let metrics = Metrics::default();
    let upstream = upstream(&metrics, &[OpenTelemetry]);
    let names = ["a", "b"].map(Arc::from);
    for target in &names {
        metrics.settle(settled(&upstream, "m", call(CHAT, Some(target))));
    }
    let none = FxHashSet::default();
    let (models, targets) = (FxHashSet::from_iter(["m"]), FxHashSet::from_iter(["a"]));
    let configured = Configured {
        routes: &none,
        upstreams: &none,
        models: &models,
        policies: &none,
        limited: &none,
        targets: &targets,
        conventions: Conventions::of(&[OpenTelemetry]),
    };
    metrics.retain(configured);
    let page = metrics.encode();
    assert!(
        page.contains("gen_ai_request_model=\"a\"") && !page.contains("gen_ai_request_model=\"b\""),
        "{page}"
    );
    metrics.retain(Configured { conventions: Conventions::default(), ..configured });
    assert!(!metrics.encode().contains("gen_ai_request_model"));
}
