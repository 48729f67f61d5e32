//! The rerank API, as clients know it from Cohere: other upstreams are asked for what was read here, and their scores are
//! written as its answer.

use crate::conversation::{Notes, Refused};
use crate::json::{Object, Text, Value, Writer};

/// A request to rank documents.
#[derive(Debug)]
pub(crate) struct Rerank<'v, 'a> {
    pub(crate) query: &'v Text<'a>,
    /// The documents' texts. At least one.
    pub(crate) documents: Vec<&'v Text<'a>>,
    /// How many of them the answer is to have.
    pub(crate) top: Option<u64>,
}

/// Reads a client's request. Members that other providers have no place for are noted.
///
/// # Errors
/// A member is missing or of the wrong kind, or there are more than `most` documents.
pub(crate) fn read<'v, 'a>(
    body: &'v Object<'a>,
    most: usize,
    notes: &mut Notes,
) -> Result<Rerank<'v, 'a>, Refused> {
    let query = body.text("query").ok_or_else(|| Refused::new("query", "this has to be a string"))?;
    let documents = documents(body, most)?;
    for (name, value) in &body.members {
        match (name.as_ref(), value) {
            ("model" | "query" | "documents" | "top_n", _) | (_, Value::Null | Value::Bool(false)) => {}
            (name, _) => notes.dropped(name.to_owned()),
        }
    }
    let top = body.get("top_n").map(|top| {
        top.as_u64()
            .filter(|top| *top > 0)
            .ok_or_else(|| Refused::new("top_n", "this has to be a whole number above 0"))
    });
    Ok(Rerank { query, documents, top: top.transpose()? })
}

/// Writes the answer: documents by their places in the request, each with its score, in the order of these. `id` is what
/// the client knows it by.
pub(crate) fn write(results: &[(usize, &str)], id: &str) -> Vec<u8> {
    let mut out = Writer::default();
    out.object(|out| {
        out.str_at("id", id);
        out.array_at("results", |out| {
            for (at, score) in results {
                out.object(|out| {
                    out.u64_at("index", *at as u64);
                    out.raw_at("relevance_score", score);
                });
            }
        });
        out.object_at("meta", |out| {
            out.object_at("api_version", |out| out.str_at("version", "2"));
        });
    });
    out.finish()
}

/// The documents' texts: strings, or objects with a `text` as Cohere's first version has them.
fn documents<'v, 'a>(body: &'v Object<'a>, most: usize) -> Result<Vec<&'v Text<'a>>, Refused> {
    let documents = body.items("documents");
    if documents.is_empty() || documents.len() > most {
        return Err(Refused::new("documents", format!("this has to be a list of 1 to {most} documents")));
    }
    let texts = documents.iter().enumerate().map(|(at, document)| {
        let text = match document {
            Value::Object(object) => object.text("text"),
            value => value.as_text(),
        };
        let wrong = "this has to be a string, or an object with a `text`";
        text.ok_or_else(|| Refused::new(format!("documents[{at}]"), wrong))
    });
    texts.collect()
}
