use std::collections::HashMap;

use super::*;

fn page(fakes: Option<FakeMetrics>) -> Page<'static> {
    Page {
        model: "meta-llama/Llama-3.1-8B-Instruct",
        load: Load {
            running: 3,
            waiting: 2,
            kv_usage: 0.25,
            running_loras: vec![0, 1],
            waiting_loras: vec![1],
        },
        fakes,
        max_loras: 2,
        lora_names: &|indices| indices.iter().map(|at| format!("a{at}")).collect::<Vec<_>>().join(","),
        block_tokens: 16,
        blocks: 1024,
        reuses_prefixes: true,
    }
}

/// Every sample by its series, checking that a family's name and type came before it.
fn parse(text: &str) -> HashMap<String, f64> {
    let mut samples = HashMap::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            family = kind.split(' ').next().unwrap().to_owned();
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(series.starts_with(&family), "{series} in {family}");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} twice");
        }
    }
    samples
}

fn request() -> FinishedRequest {
    FinishedRequest {
        reason: "stop",
        prompt_tokens: 100,
        cached_tokens: 64,
        output_tokens: 11,
        max_tokens: Some(20),
        is_cache_on: true,
        queued: Duration::from_millis(100),
        prefill: Duration::from_millis(200),
        decode: Duration::from_millis(300),
        total: Duration::from_millis(600),
    }
}

#[test]
fn the_page_is_as_large_as_vllms_and_well_formed() {
    let text = render(&Ledger::default(), &page(None));
    parse(&text);
    assert!((50_000..70_000).contains(&text.len()), "{}", text.len());
}

#[test]
fn gauges_show_the_load() {
    let samples = parse(&render(&Ledger::default(), &page(None)));
    let labels = r#"{engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"}"#;
    assert_eq!(samples[&format!("vllm:num_requests_running{labels}")], 3.0);
    assert_eq!(samples[&format!("vllm:num_requests_waiting{labels}")], 2.0);
    assert_eq!(samples[&format!("vllm:kv_cache_usage_perc{labels}")], 0.25);
    let loras = r#"{max_lora="2",running_lora_adapters="a0,a1",waiting_lora_adapters="a1"}"#;
    assert!(samples[&format!("vllm:lora_requests_info{loras}")] > 1e9);
}

#[test]
fn a_finished_request_is_in_counters_and_histograms() {
    let ledger = Ledger::default();
    ledger.finished(&request());
    let samples = parse(&render(&ledger, &page(None)));
    let labels = r#"engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct""#;
    let value = |name: &str, more: &str| samples[&format!("{name}{{{labels}{more}}}")];
    assert_eq!(value("vllm:request_success_total", ",finished_reason=\"stop\""), 1.0);
    assert_eq!(value("vllm:prefix_cache_queries_total", ""), 100.0);
    assert_eq!(value("vllm:prefix_cache_hits_total", ""), 64.0);
    assert_eq!(value("vllm:generation_tokens_total", ""), 11.0);
    assert_eq!(value("vllm:time_to_first_token_seconds_bucket", ",le=\"0.25\""), 0.0);
    assert_eq!(value("vllm:time_to_first_token_seconds_bucket", ",le=\"0.5\""), 1.0);
    assert_eq!(value("vllm:inter_token_latency_seconds_count", ""), 10.0);
    assert_eq!(value("vllm:request_prefill_kv_computed_tokens_sum", ""), 36.0);
}

#[test]
fn fakes_take_the_place_of_gauges() {
    let fakes: FakeMetrics = serde_json::from_str(
        r#"{"running-requests":7,"kv-cache-usage":0.5,"loras":[{"running":"x","waiting":"","timestamp":5}]}"#,
    )
    .unwrap();
    let text = render(&Ledger::default(), &page(Some(fakes)));
    assert!(text.contains(
        "vllm:num_requests_running{engine=\"0\",model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 7.0\n"
    ));
    assert!(text.contains(
        "vllm:num_requests_waiting{engine=\"0\",model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 2.0\n"
    ));
    assert!(text.contains("{max_lora=\"2\",running_lora_adapters=\"x\",waiting_lora_adapters=\"\"} 5.0\n"));
}

#[test]
fn labels_are_escaped() {
    let text = render(&Ledger::default(), &Page { model: "a\"b\\c", ..page(None) });
    assert!(text.contains(r#"model_name="a\"b\\c""#));
}
