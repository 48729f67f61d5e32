use serde_json::json;

use super::*;
use crate::json::parse;

fn written(texts: &[&str], rest: &str, platform: Platform, model: &str) -> (serde_json::Value, Vec<String>) {
    let document = parse(rest.as_bytes()).unwrap();
    let texts: Vec<_> = texts.iter().map(|text| Text::Escaped(text)).collect();
    let rest = &document.as_object().unwrap().members;
    let inputs = Inputs { texts: &texts, dimensions: Some(256), rest };
    let mut notes = Notes::default();
    let body = write(inputs, Target { platform, model }, &mut notes).unwrap();
    let notes = notes.names().iter().map(|name| name.to_string()).collect();
    (serde_json::from_slice(&body).unwrap(), notes)
}

#[test]
fn texts_are_asked_for_in_the_models_form() {
    let content = |text: &str| json!({"parts": [{"text": text}]});
    let request = |text: &str| {
        json!({"model": "models/gemini-embedding-001", "content": content(text), "taskType": "RETRIEVAL_QUERY",
            "outputDimensionality": 256})
    };
    let query = r#"{"input_type": "search_query", "x": 1, "y": null}"#;
    assert_eq!(
        written(&["a", "\\n"], query, Platform::GeminiApi, "models/gemini-embedding-001"),
        (json!({"requests": [request("a"), request("\n")]}), vec!["x".to_owned()]),
    );
    let config = json!({"taskType": "FACT", "outputDimensionality": 256, "autoTruncate": false});
    let rest = r#"{"task_type": "FACT", "input_type": "query", "auto_truncate": false}"#;
    assert_eq!(
        written(&["a"], rest, Platform::Vertex, "gemini-embedding-2"),
        (json!({"content": content("a"), "embedContentConfig": config}), vec![]),
    );
    let request = |text: &str| json!({"content": content(text), "embedContentConfig": config});
    assert_eq!(
        written(&["a", "b"], rest, Platform::Vertex, "gemini-embedding-2"),
        (json!({"requests": [request("a"), request("b")]}), vec![]),
    );
    let instance = |text: &str| json!({"content": text, "task_type": "RETRIEVAL_DOCUMENT", "title": "t"});
    assert_eq!(
        written(
            &["a", "b"],
            r#"{"input_type": "search_document", "title": "t", "autoTruncate": true}"#,
            Platform::Vertex,
            "text-embedding-005",
        ),
        (
            json!({
                "instances": [instance("a"), instance("b")],
                "parameters": {"outputDimensionality": 256, "autoTruncate": true},
            }),
            vec![],
        ),
    );
    let nothing = Inputs { texts: &[], dimensions: None, rest: &[] };
    let target = Target { platform: Platform::Vertex, model: "m" };
    assert_eq!(write(nothing, target, &mut Notes::default()).unwrap_err().param, "input");
}

#[test]
fn vectors_are_read_from_every_form() {
    for (body, tokens) in [
        (r#"{"embeddings": [{"values": [0.10, 2]}, {"values": [3e-1]}]}"#, None),
        (
            r#"{"embeddings": [{"values": [0.10, 2]}, {"values": [3e-1]}], "usageMetadata": {"promptTokenCount": 7}}"#,
            Some(7),
        ),
        (
            r#"{"predictions": [
            {"embeddings": {"values": [0.10, 2], "statistics": {"token_count": 3, "truncated": false}}},
            {"embeddings": {"values": [3e-1], "statistics": {"token_count": 4}}}]}"#,
            Some(7),
        ),
    ] {
        let document = parse(body.as_bytes()).unwrap();
        let read = read(&document, 2).unwrap();
        let raw: Vec<_> = read.vectors.iter().map(|vector| vector.raw).collect();
        assert_eq!((raw, read.tokens), (vec!["[0.10, 2]", "[3e-1]"], tokens), "{body}");
    }
    let document =
        parse(br#"{"embedding": {"values": [1]}, "usageMetadata": {"promptTokenCount": 2}}"#).unwrap();
    assert_eq!(read(&document, 1).unwrap().tokens, Some(2));
    assert!(read(&document, 2).is_err());
}

#[test]
fn vectors_that_are_missing_are_an_error() {
    for body in [
        "[]",
        "{}",
        r#"{"embeddings": [{}]}"#,
        r#"{"embeddings": [{"values": "x"}]}"#,
        r#"{"predictions": [1]}"#,
    ] {
        let document = parse(body.as_bytes()).unwrap();
        assert!(matches!(read(&document, 1), Err(Broken::Unreadable(_))), "{body}");
    }
}
