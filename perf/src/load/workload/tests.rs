use std::io::Write;

use serde_json::Value;

use super::*;

fn workload(kind: impl FnOnce(&BodyFormat) -> WorkloadKind) -> Workload {
    let format =
        BodyFormat { api: Api::Chat, is_stream: true, fixes_length: true, models: "m".parse().unwrap() };
    Workload { kind: kind(&format), format, output_tokens: 10, seed: 5 }
}

fn body(request: &PreparedRequest) -> Value {
    serde_json::from_slice(&request.body.concat()).unwrap()
}

fn content(request: &PreparedRequest, message: usize) -> String {
    body(request)["messages"][message]["content"].as_str().unwrap().to_owned()
}

#[test]
fn a_fixed_prompt_has_its_size_and_the_fields_that_were_asked_for() {
    let workload = workload(|format| WorkloadKind::fixed(format, 300, 5));
    let request = workload.request(0).unwrap();
    let body = body(&request);
    assert_eq!(content(&request, 0).len(), 1200);
    assert_eq!(
        (&body["model"], &body["max_tokens"], &body["stream"]),
        (&"m".into(), &10.into(), &true.into())
    );
    assert_eq!(body["ignore_eos"], true);
    assert_eq!(request.expected, ExpectedAnswer { is_stream: true, tokens: Some(10) });
    assert_ne!(content(&workload.request(1).unwrap(), 0), content(&request, 0));
    assert_eq!(content(&workload.request(0).unwrap(), 0), content(&request, 0));
}

#[test]
fn users_of_a_group_share_its_prefix_and_nothing_else() {
    let kind = WorkloadKind::SharedPrefix {
        groups: 3,
        users: 2,
        prefix_tokens: 50,
        user_tokens: 10,
        question_tokens: 5,
    };
    let workload = workload(|_| kind);
    let asks: Vec<PreparedRequest> = (0..200).map(|number| workload.request(number).unwrap()).collect();
    let prefixes: std::collections::BTreeSet<String> =
        asks.iter().map(|request| content(request, 0)).collect();
    assert_eq!(prefixes.len(), 3);
    let users: std::collections::BTreeSet<String> =
        asks.iter().map(|request| content(request, 0) + &content(request, 1)[..40]).collect();
    assert_eq!(users.len(), 6);
    let questions: std::collections::BTreeSet<String> =
        asks.iter().map(|request| content(request, 1)).collect();
    assert_eq!(questions.len(), 200);
    assert_eq!(asks[0].input_tokens, 65);
}

#[test]
fn a_conversation_repeats_what_was_said_and_ends() {
    let think = Duration::from_secs(1);
    let kind = WorkloadKind::Sessions { turns: 2, system_tokens: 10, turn_tokens: 5, think };
    let workload = workload(|_| kind);
    let mut first = workload.request(3).unwrap();
    let (waits, mut second) =
        workload.follow_up(*first.session.take().unwrap(), "say \"hi\"\n".to_owned()).unwrap();
    assert_eq!(waits, think);
    assert_eq!(content(&second, 0), content(&first, 0));
    assert_eq!(content(&second, 1), content(&first, 1));
    assert_eq!(content(&second, 2), "say \"hi\"\n");
    assert_ne!(content(&second, 3), content(&first, 1));
    assert!(workload.follow_up(*second.session.take().unwrap(), String::new()).is_none());
}

#[test]
fn models_are_picked_by_weight() {
    let models: Models = "base=3, adapter-{1..2}=1".parse().unwrap();
    let mut counts = std::collections::BTreeMap::new();
    for number in 0..8000 {
        *counts.entry(models.pick(mix(1, number)).to_string()).or_insert(0_u32) += 1;
    }
    assert!(counts["base"].abs_diff(6000) < 200, "{counts:?}");
    assert!(counts["adapter-1"].abs_diff(1000) < 150, "{counts:?}");
    assert!(counts["adapter-2"].abs_diff(1000) < 150, "{counts:?}");
    for wrong in ["", "a,", "a=0", "a=x", "a-{2..1}", "a-{1}"] {
        assert!(wrong.parse::<Models>().is_err(), "{wrong}");
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn equal_hash_ids_become_equal_text() {
    let rows = trace::mooncake(
        file(concat!(
            "{\"timestamp\": 2000, \"input_length\": 700, \"output_length\": 5, \"hash_ids\": [0, 1]}\n",
            "{\"timestamp\": 3500, \"input_length\": 1030, \"output_length\": 0, \"hash_ids\": [0, 2, 3]}\n",
        ))
        .path(),
    )
    .unwrap();
    let workload = workload(|_| WorkloadKind::Trace { rows: rows.into(), time_scale: 2.0 });
    let (first, second) = (workload.request(0).unwrap(), workload.request(1).unwrap());
    let (one, other) = (content(&first, 0), content(&second, 0));
    assert_eq!((one.len(), other.len()), (2800, 4120));
    assert_eq!(one[..2048], other[..2048]);
    assert_ne!(one[2048..], other[2048..2800]);
    assert_eq!(second.expected.tokens, Some(1));
    assert_eq!(workload.due(0), Some(Duration::ZERO));
    assert_eq!(workload.due(1), Some(Duration::from_millis(750)));
    assert!(workload.request(2).is_none());
}

#[test]
fn azure_rows_share_nothing_and_keep_their_times() {
    let rows = trace::azure(
        file(concat!(
            "TIMESTAMP,ContextTokens,GeneratedTokens\r\n",
            "2023-11-16 23:59:59.5000000,100,10\r\n",
            "2023-11-17 00:00:00.7500000,100,8\r\n",
        ))
        .path(),
    )
    .unwrap();
    assert_eq!(rows[1].at, Duration::from_millis(1250));
    let workload = workload(|_| WorkloadKind::Trace { rows: rows.into(), time_scale: 1.0 });
    let (one, other) = (content(&workload.request(0).unwrap(), 0), content(&workload.request(1).unwrap(), 0));
    assert_eq!(one.len(), 400);
    assert_ne!(one[..64], other[..64]);
}

#[test]
fn a_broken_trace_names_the_line() {
    let error = trace::mooncake(file("\n{\"timestamp\": 1}\n").path()).unwrap_err();
    assert!(error.to_string().contains("line 2: missing field"), "{error}");
    assert!(trace::azure(file("a,b\n").path()).unwrap_err().to_string().contains("line 1: the header"));
    let bad = "TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n";
    assert!(trace::azure(file(bad).path()).unwrap_err().to_string().contains("line 2: TIMESTAMP"));
    assert!(matches!(trace::mooncake(file("").path()), Err(TraceError::Empty(_))));
    let missing = trace::azure(std::path::Path::new("/nowhere/trace.csv")).unwrap_err();
    assert!(missing.to_string().contains("github.com/Azure/AzurePublicDataset"), "{missing}");
}

#[test]
fn excerpts_of_both_public_traces_are_read() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mooncake = trace::mooncake(&data.join("mooncake_conversation_excerpt.jsonl")).unwrap();
    let azure = trace::azure(&data.join("azure_code_excerpt.csv")).unwrap();
    assert_eq!((mooncake.len(), azure.len()), (40, 40));
    assert_eq!((mooncake[0].input_tokens, mooncake[0].output_tokens), (6758, 500));
    assert_eq!((azure[0].input_tokens, azure[0].output_tokens), (4808, 10));
}
