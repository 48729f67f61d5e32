//! Reranking by Bedrock (`Rerank` of bedrock-agent-runtime, a host of its own).

use crate::conversation::Refused;
use crate::json::{Value, Writer};
use crate::rerank::Rerank;
use crate::translation::Broken;

/// The most documents that Bedrock ranks at once.
pub(crate) const MAX_SOURCES: usize = 1000;

/// Its path.
pub(crate) const PATH: &str = "/rerank";

/// Writes a client's request for Bedrock, which knows models by their ARNs: those of an id are made for `region`.
///
/// # Errors
/// The model is an id, and the region is not known.
pub(crate) fn write(rerank: &Rerank<'_, '_>, model: &str, region: &str) -> Result<Vec<u8>, Refused> {
    let arn = match model {
        arn if arn.starts_with("arn:") => arn.to_owned(),
        "" => return Err(Refused::new("model", "`model` is missing")),
        _ if region.is_empty() => {
            return Err(Refused::new(
                "model",
                "no region is configured (`api.region`): name the model by its ARN",
            ));
        }
        id => format!("arn:{}:bedrock:{region}::foundation-model/{id}", partition(region)),
    };
    let mut out = Writer::default();
    out.object(|out| {
        out.array_at("queries", |out| {
            out.object(|out| {
                out.str_at("type", "TEXT");
                out.object_at("textQuery", |out| out.text_at("text", rerank.query));
            });
        });
        out.array_at("sources", |out| {
            for document in &rerank.documents {
                out.object(|out| {
                    out.str_at("type", "INLINE");
                    out.object_at("inlineDocumentSource", |out| {
                        out.str_at("type", "TEXT");
                        out.object_at("textDocument", |out| out.text_at("text", document));
                    });
                });
            }
        });
        out.object_at("rerankingConfiguration", |out| {
            out.str_at("type", "BEDROCK_RERANKING_MODEL");
            out.object_at("bedrockRerankingConfiguration", |out| {
                out.object_at("modelConfiguration", |out| out.str_at("modelArn", &arn));
                if let Some(top) = rerank.top {
                    // More than there are documents is an error there.
                    out.u64_at("numberOfResults", top.min(rerank.documents.len() as u64));
                }
            });
        });
    });
    Ok(out.finish())
}

/// The scores in the body of an answer to `count` documents, as it was parsed.
///
/// # Errors
/// It is no such answer.
pub(crate) fn read<'a>(document: &Value<'a>, count: usize) -> Result<Vec<(usize, &'a str)>, Broken> {
    let unreadable = |what: &str| Broken::Unreadable(what.to_owned());
    let answer = document.as_object().ok_or_else(|| unreadable("it is no object"))?;
    let results = answer.items("results").iter().map(|result| {
        let result = result.as_object()?;
        let at = usize::try_from(result.u64("index")?).ok().filter(|at| *at < count)?;
        Some((at, result.get("relevanceScore")?.as_number()?))
    });
    let results: Option<Vec<_>> = results.collect();
    let results = results.ok_or_else(|| unreadable("a result has no score, or is of no document"))?;
    if results.is_empty() { Err(unreadable("it has no results")) } else { Ok(results) }
}

fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("us-gov-") => "aws-us-gov",
        region if region.starts_with("cn-") => "aws-cn",
        _ => "aws",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::conversation::Notes;
    use crate::json::parse;
    use crate::rerank;

    #[test]
    fn documents_are_sources_and_results_are_results() {
        let body = json!({"query": "q", "documents": ["a", {"text": "b\n"}], "top_n": 9}).to_string();
        let document = parse(body.as_bytes()).unwrap();
        let asked = rerank::read(document.as_object().unwrap(), MAX_SOURCES, &mut Notes::default()).unwrap();
        let written = |model, region| -> Result<Json, Refused> {
            Ok(serde_json::from_slice(&write(&asked, model, region)?).unwrap())
        };
        let source = |text: &str| {
            let document = json!({"type": "TEXT", "textDocument": {"text": text}});
            json!({"type": "INLINE", "inlineDocumentSource": document})
        };
        let model = json!({"modelArn": "arn:aws:bedrock:eu-west-1::foundation-model/cohere.rerank-v3-5:0"});
        assert_eq!(
            written("cohere.rerank-v3-5:0", "eu-west-1").unwrap(),
            json!({
                "queries": [{"type": "TEXT", "textQuery": {"text": "q"}}],
                "sources": [source("a"), source("b\n")],
                "rerankingConfiguration": {
                    "type": "BEDROCK_RERANKING_MODEL",
                    "bedrockRerankingConfiguration": {"modelConfiguration": model, "numberOfResults": 2},
                },
            }),
        );
        assert_eq!(written("cohere.rerank-v3-5:0", "").unwrap_err().param, "model");
        let given = written("arn:aws:bedrock:x:1:y/z", "").unwrap();
        let given = &given["rerankingConfiguration"]["bedrockRerankingConfiguration"]["modelConfiguration"];
        assert_eq!(given["modelArn"], "arn:aws:bedrock:x:1:y/z");

        let answer = parse(
            br#"{"results": [{"index": 1, "relevanceScore": 0.9}, {"index": 0, "relevanceScore": 1e-2}]}"#,
        );
        assert_eq!(read(&answer.unwrap(), 2), Ok(vec![(1, "0.9"), (0, "1e-2")]));
        for body in [
            "[]",
            "{}",
            r#"{"results": [{"index": 2, "relevanceScore": 1}]}"#,
            r#"{"results": [{"index": 0}]}"#,
        ] {
            assert!(read(&parse(body.as_bytes()).unwrap(), 2).is_err(), "{body}");
        }
    }
}
