use serde_json::{Value as Json, json};

use super::*;
use crate::json::parse;
use crate::openai::embeddings;

fn written(model: &str, body: &Json) -> Result<(Json, Vec<String>), Refused> {
    let body = body.to_string();
    let document = parse(body.as_bytes()).unwrap();
    let asked = embeddings::read(document.as_object().unwrap())?;
    let mut notes = Notes::default();
    let written = Form::of(model)?.write(&asked, &mut notes)?;
    let notes = notes.names().iter().map(|name| name.to_string()).collect();
    Ok((serde_json::from_slice(&written).unwrap(), notes))
}

#[test]
fn each_maker_has_a_form() {
    let nova = |purpose: &str, mode: &str| {
        json!({"schemaVersion": "nova-multimodal-embed-v1", "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {"embeddingPurpose": purpose, "embeddingDimension": 256,
            "text": {"truncationMode": mode, "value": "a\n"}}})
    };
    for (model, asked, body, dropped) in [
        ("amazon.titan-embed-text-v1", json!({}), json!({"inputText": "a\n"}), vec![]),
        (
            "amazon.titan-embed-text-v2:0",
            json!({"dimensions": 256, "normalize": false, "user": "u", "input_type": "search_query"}),
            json!({"inputText": "a\n", "dimensions": 256, "normalize": false}),
            vec!["user", "input_type"],
        ),
        (
            "amazon.titan-embed-image-v1",
            json!({"dimensions": 256}),
            json!({"inputText": "a\n", "embeddingConfig": {"outputEmbeddingLength": 256}}),
            vec![],
        ),
        (
            "us.amazon.nova-2-multimodal-embeddings-v1:0",
            json!({"dimensions": 256}),
            nova("GENERIC_INDEX", "NONE"),
            vec![],
        ),
        (
            "amazon.nova-2-multimodal-embeddings-v1:0",
            json!({"dimensions": 256, "input_type": "search_query", "truncate": "END"}),
            nova("TEXT_RETRIEVAL", "END"),
            vec![],
        ),
        (
            "cohere.embed-multilingual-v3",
            json!({"input": ["a", "b"]}),
            json!({"texts": ["a", "b"], "input_type": "search_document"}),
            vec![],
        ),
        (
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.cohere.embed-v4:0",
            json!({"dimensions": 256, "input_type": "clustering", "truncate": "NONE", "x": 1}),
            json!({"texts": ["a\n"], "input_type": "clustering", "truncate": "NONE", "output_dimension": 256}),
            vec!["x"],
        ),
    ] {
        let mut request = json!({"model": "m", "input": "a\n"});
        request.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
        let (written, notes) = written(model, &request).unwrap();
        assert_eq!(
            (written, notes),
            (body, dropped.iter().map(|name| (*name).to_owned()).collect()),
            "{model}"
        );
    }
}

#[test]
fn what_a_model_cannot_do_is_refused() {
    for (model, body, param) in [
        ("amazon.titan-embed-text-v2:0", json!({"input": ["a", "b"]}), "input"),
        ("amazon.nova-2-multimodal-embeddings-v1:0", json!({"input": ["a", "b"]}), "input"),
        ("cohere.embed-v4:0", json!({"input": vec!["a"; 97]}), "input"),
        ("amazon.titan-embed-text-v1", json!({"input": "a", "dimensions": 256}), "dimensions"),
        ("cohere.embed-english-v3", json!({"input": "a", "dimensions": 256}), "dimensions"),
        ("anthropic.claude-opus-4-6-v1", json!({"input": "a"}), "model"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", json!({"input": "a"}), "model"),
    ] {
        assert_eq!(written(model, &body).unwrap_err().param, param, "{model}");
    }
}

#[test]
fn vectors_are_found_in_each_form() {
    for (body, count, tokens) in [
        (r#"{"embedding": [0.5, 1], "inputTextTokenCount": 3}"#, 1, Some(3)),
        (r#"{"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5, 1]}]}"#, 1, None),
        (r#"{"embeddings": [[0.5, 1], [2, 3]], "response_type": "embeddings_floats"}"#, 2, None),
        (r#"{"embeddings": {"float": [[0.5, 1], [2, 3]]}, "response_type": "embeddings_by_type"}"#, 2, None),
    ] {
        let document = parse(body.as_bytes()).unwrap();
        let read = read(&document, count).unwrap();
        assert_eq!((read.vectors[0].raw, read.tokens), ("[0.5, 1]", tokens), "{body}");
    }
    for body in ["[]", "{}", r#"{"embedding": 1}"#, r#"{"embeddings": [[1], [2]]}"#] {
        assert!(read(&parse(body.as_bytes()).unwrap(), 1).is_err(), "{body}");
    }
}
