//! Reranking by Google's ranking API (`rankingConfigs/*:rank`).

use crate::json::{Text, Value, Writer};
use crate::rerank::Rerank;
use crate::translation::Broken;

/// The most documents that Google ranks at once.
pub(crate) const MAX_RECORDS: usize = 200;

/// Writes a client's request for Google.
pub(crate) fn write(rerank: &Rerank<'_, '_>, model: &Text<'_>) -> Vec<u8> {
    let mut out = Writer::default();
    out.object(|out| {
        out.text_at("model", model);
        out.text_at("query", rerank.query);
        if let Some(top) = rerank.top {
            out.u64_at("topN", top);
        }
        out.array_at("records", |out| {
            for (at, document) in rerank.documents.iter().enumerate() {
                out.object(|out| {
                    out.str_at("id", &at.to_string());
                    out.text_at("content", document);
                });
            }
        });
        out.bool_at("ignoreRecordDetailsInResponse", true);
    });
    out.finish()
}

/// The scores in the body of an answer to `count` documents, as it was parsed.
///
/// # Errors
/// It is no such answer.
pub(crate) fn read<'a>(document: &Value<'a>, count: usize) -> Result<Vec<(usize, &'a str)>, Broken> {
    let unreadable = |what: &str| Broken::Unreadable(what.to_owned());
    let answer = document.as_object().ok_or_else(|| unreadable("it is no object"))?;
    let results = answer.items("records").iter().map(|record| {
        let record = record.as_object()?;
        let at = record.text("id")?.decoded().parse::<usize>().ok().filter(|at| *at < count)?;
        Some((at, record.get("score")?.as_number()?))
    });
    let results: Option<Vec<_>> = results.collect();
    let results = results.ok_or_else(|| unreadable("a record has no score, or is of no document"))?;
    if results.is_empty() { Err(unreadable("it has no records")) } else { Ok(results) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conversation::{Notes, Refused};
    use crate::json::parse;
    use crate::rerank;

    fn written(body: &serde_json::Value) -> Result<(serde_json::Value, usize, Vec<String>), Refused> {
        let body = body.to_string();
        let document = parse(body.as_bytes()).unwrap();
        let mut notes = Notes::default();
        let rerank = rerank::read(document.as_object().unwrap(), MAX_RECORDS, &mut notes)?;
        let (body, count) = (write(&rerank, &"ranker".into()), rerank.documents.len());
        let notes = notes.names().iter().map(|name| name.to_string()).collect();
        Ok((serde_json::from_slice(&body).unwrap(), count, notes))
    }

    #[test]
    fn documents_are_records() {
        let (body, count, notes) = written(&json!({
            "model": "m", "query": "q\n", "documents": ["a", {"text": "b"}], "top_n": 1, "max_tokens_per_doc": 10,
            "return_documents": false,
        }))
        .unwrap();
        assert_eq!(
            body,
            json!({
                "model": "ranker", "query": "q\n", "topN": 1, "ignoreRecordDetailsInResponse": true,
                "records": [{"id": "0", "content": "a"}, {"id": "1", "content": "b"}],
            }),
        );
        assert_eq!((count, notes), (2, vec!["max_tokens_per_doc".to_owned()]));
        for (body, param) in [
            (json!({"documents": ["a"]}), "query"),
            (json!({"query": "q", "documents": []}), "documents"),
            (json!({"query": "q", "documents": vec!["a"; 201]}), "documents"),
            (json!({"query": "q", "documents": ["a", 1]}), "documents[1]"),
            (json!({"query": "q", "documents": ["a"], "top_n": "1"}), "top_n"),
        ] {
            assert_eq!(written(&body).unwrap_err().param, param, "{body}");
        }
    }

    #[test]
    fn records_are_results() {
        let answer =
            parse(br#"{"records": [{"id": "1", "score": 0.98}, {"id": "0", "score": 1e-2}]}"#).unwrap();
        let body = rerank::write(&read(&answer, 2).unwrap(), "r");
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&body).unwrap(),
            json!({
                "id": "r",
                "results": [{"index": 1, "relevance_score": 0.98}, {"index": 0, "relevance_score": 0.01}],
                "meta": {"api_version": {"version": "2"}},
            }),
        );
        for body in ["[]", "{}", r#"{"records": [{"id": "2", "score": 1}]}"#, r#"{"records": [{"id": "0"}]}"#]
        {
            let answer = parse(body.as_bytes()).unwrap();
            assert!(matches!(read(&answer, 2), Err(Broken::Unreadable(_))), "{body}");
        }
    }
}
