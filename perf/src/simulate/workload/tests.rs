use std::{
    io::Write,
    path::{Path, PathBuf},
};

use super::{NAMES, Workload, WorkloadConfig, stand_in::Traces};
use crate::simulate::{measure::hit_bound, request::Request};

/// Without traces.
fn without_traces() -> WorkloadConfig {
    WorkloadConfig { servers: 8, speed: 1.0, requests: None, mooncake: None, azure: None, seed: 1 }
}

/// A file that a variable of the environment names, for a test that needs what the repository does not hold. Without
/// one, says that the test is skipped: past the test harness, which keeps what is printed of tests that pass.
fn file_of(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        let _ = writeln!(std::io::stderr(), "skipped: {variable} names no file");
    }
    path
}

fn requests(name: &str, config: &WorkloadConfig) -> Vec<Request> {
    Workload::named(name, config).unwrap().requests().collect()
}

#[test]
fn every_workload_comes_in_order_with_all_its_blocks_and_repeats_itself() {
    let traces = Traces::new();
    let config = traces.config(8, 1);
    for name in NAMES {
        let all = requests(name, &config);
        assert!(all.len() > 500, "{name}: {}", all.len());
        assert!(all.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns), "{name}");
        let mut hashes = Vec::new();
        for request in &all {
            request.hashes(&mut hashes);
            assert_eq!(hashes.len(), request.full_blocks(), "{name}: {request:?}");
        }
        assert_eq!(all, requests(name, &config), "{name}");
    }
}

#[test]
fn code_shares_nothing_and_conversations_share_much() {
    let traces = Traces::new();
    let bound = |name| hit_bound(requests(name, &traces.config(8, 1)).into_iter());
    assert_eq!(bound("azure-code"), 0.0);
    assert!((0.25..0.5).contains(&bound("mooncake")), "{}", bound("mooncake"));
    assert!((0.5..0.9).contains(&bound("chat")), "{}", bound("chat"));
    assert!(bound("shared-prefix") > 0.9, "{}", bound("shared-prefix"));
}

#[test]
fn more_servers_get_as_many_copies_that_share_nothing() {
    let traces = Traces::new();
    let small = requests("mooncake", &traces.config(8, 1));
    let large = requests("mooncake", &traces.config(24, 1));
    assert_eq!(large.len(), 3 * small.len());
    assert_eq!(large.last().unwrap().at_ns, small.last().unwrap().at_ns);
    assert!(large.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
    let (one, three) = (hit_bound(small.into_iter()), hit_bound(large.into_iter()));
    assert!((one - three).abs() < 1e-9, "{one} {three}");
}

#[test]
fn a_longer_run_repeats_the_workload_with_new_text() {
    let traces = Traces::new();
    let config = WorkloadConfig { requests: Some(20_000), ..traces.config(8, 1) };
    let all = requests("azure-code", &config);
    assert_eq!(all.len(), 20_000);
    assert!(all.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
    assert_eq!(hit_bound(all.into_iter()), 0.0);
}

#[test]
fn traces_are_read_as_they_are_published() {
    let file = |text: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    };
    let mooncake = file(
        "{\"timestamp\": 0, \"input_length\": 1000, \"output_length\": 5, \"hash_ids\": [0, 1]}\n\
         {\"timestamp\": 0, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [0, 2]}\n\
         {\"timestamp\": 3000, \"input_length\": 1030, \"output_length\": 5, \"hash_ids\": [0, 1, 3]}\n",
    );
    let azure = file(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n\
         2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n",
    );
    let config = WorkloadConfig {
        mooncake: Some(mooncake.path().into()),
        azure: Some(azure.path().into()),
        ..without_traces()
    };
    let conversation = requests("mooncake", &config);
    assert_eq!(conversation.iter().map(|one| one.at_ns / 1_000_000).collect::<Vec<_>>(), [0, 1500, 3000]);
    // The second shares 8 blocks of 64 with the first, the third 15 of the first's 1000 tokens.
    assert_eq!(hit_bound(conversation.into_iter()), (512.0 + 960.0) / 2630.0);
    let code = requests("azure-code", &config);
    assert_eq!((code[0].at_ns, code[1].at_ns), (0, 52_000_000));
    assert_eq!((code[1].prompt_tokens, code[1].output_tokens), (3180, 8));

    for (broken, place) in [("{\n", "line 1"), ("{\"timestamp\": 0}\n", "line 1")] {
        let broken = file(broken);
        let error = Workload::named(
            "mooncake",
            &WorkloadConfig { mooncake: Some(broken.path().into()), ..config.clone() },
        );
        assert!(error.unwrap_err().to_string().contains(place));
    }
}

#[test]
fn a_trace_that_is_not_named_is_not_made_up() {
    for (name, flag) in [("mooncake", "--mooncake FILE"), ("azure-code", "--azure FILE")] {
        let message = Workload::named(name, &without_traces()).unwrap_err().to_string();
        assert!(message.contains(flag) && message.contains("https://"), "{message}");
    }
    let missing = WorkloadConfig { azure: Some("/nowhere/azure.csv".into()), ..without_traces() };
    let message = Workload::named("azure-code", &missing).unwrap_err().to_string();
    assert!(message.contains("/nowhere/azure.csv"), "{message}");
}

#[test]
fn an_excerpt_of_the_trace_has_the_bound_that_its_ids_give() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mooncake_conversation_excerpt.jsonl");
    let bound = hit_bound(
        requests("mooncake", &WorkloadConfig { mooncake: Some(path), ..without_traces() }).into_iter(),
    );
    // 39 of the 40 prompts begin with the same block of 512 tokens, and share nothing else.
    assert_eq!(bound, 39.0 * 512.0 / 506_280.0);
}

#[test]
fn the_whole_trace_has_the_published_bound() {
    let Some(path) = file_of("PENSTOCK_MOONCAKE_TRACE") else { return };
    let bound = hit_bound(
        requests("mooncake", &WorkloadConfig { mooncake: Some(path), ..without_traces() }).into_iter(),
    );
    assert!((bound - 0.366).abs() < 0.01, "{bound}");
}
