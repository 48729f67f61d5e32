use base64::{Engine as _, prelude::BASE64_STANDARD};
use proptest::prelude::*;

use super::{LoadReport, parse};
use crate::load::{EngineCount, LoadSample};

fn report(waiting: Option<u32>, kv_usage: Option<f64>) -> LoadReport {
    let engines = u32::from(waiting.is_some() || kv_usage.is_some());
    LoadReport { engines, waiting, running: None, kv_usage }
}

#[track_caller]
fn assert_reads(value: &str, expected: LoadReport) {
    assert_eq!(parse(value.as_bytes()).unwrap(), expected, "{value}");
}

#[test]
fn reads_what_vllm_sends() {
    let expected = report(Some(3), Some(0.4));
    let text = "named_metrics.kv_cache_usage_perc=0.4, named_metrics.num_requests_waiting=3.0";
    let json = r#"{"named_metrics": {"kv_cache_usage_perc": 0.4, "num_requests_waiting": 3.0}}"#;
    assert_reads(&format!("TEXT {text}"), expected);
    assert_reads(&format!("JSON {json}"), expected);
    assert_reads("TEXT named_metrics.kv_cache_utilization=0.4", report(None, Some(0.4)));
    // Without statistics vLLM has nothing to say, and says it.
    assert_reads("TEXT ", LoadReport::default());
    assert_reads(r#"JSON {"named_metrics": {}}"#, LoadReport::default());
    // vLLM's front end in Rust leaves the format's name out.
    assert_reads(text, expected);
    assert_reads(json, expected);
}

#[test]
fn reads_what_triton_sends() {
    let expected = report(None, Some(0.25));
    let text = "TEXT named_metrics.kv_cache_utilization=0.250000, named_metrics.max_token_capacity=1024";
    assert_reads(text, expected);
    assert_reads(
        r#"JSON {"named_metrics":{"kv_cache_utilization":0.25,"max_token_capacity":1024}}"#,
        expected,
    );
}

#[test]
fn several_engines_become_one() {
    let text = "TEXT named_metrics.kv_cache_usage_perc=0.2, named_metrics.kv_cache_usage_perc=0.6, \
                named_metrics.num_requests_waiting=1, named_metrics.num_requests_waiting=2";
    assert_reads(text, LoadReport { engines: 2, ..report(Some(3), Some(0.4)) });
}

#[test]
fn a_report_of_fewer_engines_than_are_known_leaves_their_number() {
    let known = LoadSample { engines: EngineCount::new(8), ..LoadSample::default() };
    assert_eq!(report(Some(3), None).over(known).engines.get(), 8);
    let two = LoadReport { engines: 2, ..report(Some(3), None) };
    assert_eq!(two.over(LoadSample::default()).engines.get(), 2);
}

#[test]
fn spelling_is_forgiven() {
    let expected = report(Some(3), None);
    for value in [
        "text named_metrics.num_requests_waiting=3",
        "Text\tnum_requests_waiting = 3 ,, cpu_utilization=0.3,eps=1",
        "  TEXT named_metrics.num_requests_waiting=3e0,",
        "json{\"namedMetrics\":{\"num_requests_waiting\":3},\"cpu_utilization\":0.3,\"extra\":[1]}",
    ] {
        assert_reads(value, expected);
    }
}

#[test]
fn values_that_cannot_be_are_left_out() {
    assert_reads("TEXT num_requests_waiting=-1,kv_cache_usage_perc=NaN", LoadReport::default());
    assert_reads("TEXT num_requests_waiting=inf,kv_cache_usage_perc=7", report(None, Some(1.0)));
    assert_reads("TEXT num_requests_waiting=many", LoadReport::default());
    assert_reads("TEXT num_requests_waiting=1e300", report(Some(u32::MAX), None));
    let json = r#"JSON {"named_metrics":{"num_requests_waiting":"3","kv_cache_usage_perc":null}}"#;
    assert_reads(json, LoadReport::default());
}

/// The example in vLLM's first draft: `cpu_utilization`, `rps_fractional` and two named metrics, here with
/// the second renamed.
fn binary() -> Vec<u8> {
    let entry = |name: &[u8], value: f64| {
        let mut entry = vec![0x0a, name.len() as u8];
        entry.extend_from_slice(name);
        entry.push(0x11);
        entry.extend(value.to_le_bytes());
        entry
    };
    let mut message = vec![0x09];
    message.extend(0.1f64.to_le_bytes());
    message.extend([0x18, 0x96, 0x01, 0x31]);
    message.extend(2.0f64.to_le_bytes());
    for named in [entry(b"foo", 0.1), entry(b"kv_cache_usage_perc", 0.2), entry(b"num_requests_waiting", 5.0)]
    {
        message.extend([0x42, named.len() as u8]);
        message.extend(named);
    }
    message
}

#[test]
fn reads_the_binary_format() {
    let padded = BASE64_STANDARD.encode(binary());
    let expected = report(Some(5), Some(0.2));
    assert_reads(&format!("BIN {padded}"), expected);
    assert_reads(&format!("bin {}", padded.trim_end_matches('=')), expected);
    let draft = "BIN CZqZmZmZmbk/MQAAAAAAAABAQg4KA2ZvbxGamZmZmZm5P0IOCgNiYXIRmpmZmZmZyT8=";
    assert_reads(draft, LoadReport::default());
}

#[test]
fn what_is_no_report_is_an_error() {
    let long = format!("TEXT {}", "a=1,".repeat(2000));
    for garbage in
        ["hello", "TEXT hello", "JSON [1]", "JSON {", "JSON", "BIN ***", "BIN CQ==", "\u{1F600}", &long]
    {
        assert!(parse(garbage.as_bytes()).is_err(), "{garbage:.20}");
    }
    assert!(parse(b"TEXT \xff=1").is_err());
    assert!(parse(b"").unwrap().is_empty());
}

#[test]
fn a_report_replaces_just_what_it_says() {
    let known = LoadSample { waiting: 9, running: 8, kv_usage: 0.7, ..LoadSample::default() };
    let over = report(None, Some(0.5)).over(known.clone());
    assert_eq!((over.waiting, over.running, over.kv_usage), (9, 8, 0.5));
    assert_eq!(LoadReport::default().over(known.clone()), known);
}

proptest! {
    #[test]
    fn never_panics(value in proptest::collection::vec(any::<u8>(), 0..300), format in 0..4usize) {
        let prefix = [&b"TEXT "[..], b"JSON ", b"BIN ", b""][format];
        let _ = parse(&[prefix, &value].concat());
        let encoded = BASE64_STANDARD.encode(&value);
        let _ = parse(format!("BIN {encoded}").as_bytes());
    }

    #[test]
    fn a_cut_binary_report_is_an_error_or_its_beginning(cut in 0..80usize) {
        let message = binary();
        let cut = cut.min(message.len());
        let encoded = BASE64_STANDARD.encode(&message[..cut]);
        if let Ok(cut_report) = parse(format!("BIN {encoded}").as_bytes()) {
            let whole = report(Some(5), Some(0.2));
            prop_assert!(cut_report.waiting.is_none() || cut_report.waiting == whole.waiting);
            prop_assert!(cut_report.kv_usage.is_none() || cut_report.kv_usage == whole.kv_usage);
        }
    }
}
