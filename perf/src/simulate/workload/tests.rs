use std::{io::Write, path::PathBuf};

use super::{NAMES, Size, Workload};
use crate::simulate::{measure::hit_bound, request::Request};

fn size() -> Size {
    Size {
        servers: 8,
        speed: 1.0,
        requests: None,
        mooncake: PathBuf::from("/nowhere/mooncake.jsonl"),
        azure: PathBuf::from("/nowhere/azure.csv"),
        seed: 1,
    }
}

fn requests(name: &str, size: &Size) -> Vec<Request> {
    Workload::named(name, size).unwrap().requests().collect()
}

#[test]
fn every_workload_comes_in_order_with_all_its_blocks_and_repeats_itself() {
    for name in NAMES {
        let all = requests(name, &size());
        assert!(all.len() > 500, "{name}: {}", all.len());
        assert!(all.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns), "{name}");
        let mut hashes = Vec::new();
        for request in &all {
            request.hashes(&mut hashes);
            assert_eq!(hashes.len(), request.full_blocks(), "{name}: {request:?}");
        }
        assert_eq!(all, requests(name, &size()), "{name}");
    }
}

#[test]
fn code_shares_nothing_and_conversations_share_much() {
    let bound = |name| hit_bound(requests(name, &size()).into_iter());
    assert_eq!(bound("azure-code"), 0.0);
    assert!((0.25..0.5).contains(&bound("mooncake")), "{}", bound("mooncake"));
    assert!((0.5..0.9).contains(&bound("chat")), "{}", bound("chat"));
    assert!(bound("shared-prefix") > 0.9, "{}", bound("shared-prefix"));
}

#[test]
fn more_servers_get_as_many_copies_that_share_nothing() {
    let small = requests("mooncake", &size());
    let large = requests("mooncake", &Size { servers: 24, ..size() });
    assert_eq!(large.len(), 3 * small.len());
    assert_eq!(large.last().unwrap().at_ns, small.last().unwrap().at_ns);
    assert!(large.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
    let (one, three) = (hit_bound(small.into_iter()), hit_bound(large.into_iter()));
    assert!((one - three).abs() < 1e-9, "{one} {three}");
}

#[test]
fn a_longer_run_repeats_the_workload_with_new_text() {
    let size = Size { requests: Some(20_000), ..size() };
    let all = requests("azure-code", &size);
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
    let size = Size { mooncake: mooncake.path().into(), azure: azure.path().into(), ..size() };
    let conversation = requests("mooncake", &size);
    assert_eq!(conversation.iter().map(|one| one.at_ns / 1_000_000).collect::<Vec<_>>(), [0, 1500, 3000]);
    // The second shares 8 blocks of 64 with the first, the third 15 of the first's 1000 tokens.
    assert_eq!(hit_bound(conversation.into_iter()), (512.0 + 960.0) / 2630.0);
    let code = requests("azure-code", &size);
    assert_eq!((code[0].at_ns, code[1].at_ns), (0, 52_000_000));
    assert_eq!((code[1].prompt_tokens, code[1].output_tokens), (3180, 8));

    for (broken, place) in [("{\n", "line 1"), ("{\"timestamp\": 0}\n", "line 1")] {
        let broken = file(broken);
        let error = Workload::named("mooncake", &Size { mooncake: broken.path().into(), ..size.clone() });
        assert!(error.unwrap_err().to_string().contains(place));
    }
}

#[test]
fn the_real_trace_has_the_published_bound() {
    let path = PathBuf::from("../../shared/traces/mooncake_conversation_trace.jsonl");
    if !path.exists() {
        return;
    }
    let bound = hit_bound(requests("mooncake", &Size { mooncake: path, ..size() }).into_iter());
    assert!((bound - 0.366).abs() < 0.01, "{bound}");
}
