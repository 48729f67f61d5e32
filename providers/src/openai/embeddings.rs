//! The embeddings API, as clients know it: other upstreams are asked for what was read here, and their vectors are written
//! as the client wants them.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::conversation::Refused;
use crate::json::{Array, Object, Text, Value, Writer};
use crate::translation::{Asked, Broken};

/// A request for embeddings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Embeddings<'a> {
    /// The model, as the upstream calls it.
    pub(crate) model: Option<Text<'a>>,
    /// The texts, of which each gets a vector. At least one.
    pub(crate) inputs: Vec<Text<'a>>,
    /// How long the vectors are to be.
    pub(crate) dimensions: Option<u64>,
    /// The end user, for the provider's abuse control.
    pub(crate) user: Option<Text<'a>>,
    /// Whether the client wants the vectors' bytes in base64 rather than numbers. OpenAI's own libraries do.
    pub(crate) is_base64: bool,
    /// Members that OpenAI's API has not, as they are: `input_type`, `truncate`, …
    pub(crate) rest: Vec<(Cow<'a, str>, Value<'a>)>,
}

/// Reads the body of a request for embeddings.
///
/// # Errors
/// A member is of the wrong kind, or the input is tokens: those of one model mean nothing to another.
pub(crate) fn read<'a>(body: &Object<'a>) -> Result<Embeddings<'a>, Refused> {
    let mut embeddings = Embeddings { inputs: inputs(body)?, ..Embeddings::default() };
    for entry in body.members.iter().filter(|(_, value)| !value.is_null()) {
        let (name, value) = entry;
        let wrong = |needed: &str| {
            Refused::new(name.as_ref(), format!("this has to be {needed}, and is {}", value.kind()))
        };
        match name.as_ref() {
            "input" => {}
            "model" => {
                let model = value.as_text().ok_or_else(|| wrong("a string"))?;
                embeddings.model = Some(model.clone());
            }
            "user" => {
                let user = value.as_text().ok_or_else(|| wrong("a string"))?;
                embeddings.user = Some(user.clone());
            }
            "dimensions" => {
                let dimensions = value.as_u64().filter(|dimensions| *dimensions > 0);
                embeddings.dimensions = Some(dimensions.ok_or_else(|| wrong("a whole number above 0"))?);
            }
            "encoding_format" => match value.as_text().map(Text::decoded).as_deref() {
                Some("float") => embeddings.is_base64 = false,
                Some("base64") => embeddings.is_base64 = true,
                _ => return Err(Refused::new(name.as_ref(), "this has to be float or base64")),
            },
            _ => embeddings.rest.push(entry.clone()),
        }
    }
    Ok(embeddings)
}

fn inputs<'a>(body: &Object<'a>) -> Result<Vec<Text<'a>>, Refused> {
    const NEEDED: &str = "this has to be a string or an array of strings";
    match body.get("input") {
        Some(Value::String(input)) => Ok(vec![input.clone()]),
        Some(Value::Array(array)) if !array.items.is_empty() => {
            let texts = array.items.iter().enumerate().map(|(at, item)| match item {
                Value::String(input) => Ok(input.clone()),
                Value::Number(_) | Value::Array(_) => {
                    Err(Refused::new("input", "this model takes no tokens: send the text"))
                }
                _ => Err(Refused::new(format!("input[{at}]"), NEEDED)),
            });
            texts.collect()
        }
        _ => Err(Refused::new("input", NEEDED)),
    }
}

/// Writes the answer: `vectors`, one for each input and in their order, and how many tokens the inputs have, where that is
/// known.
///
/// # Errors
/// A vector has something other than numbers.
pub(crate) fn write(
    vectors: &[&Array<'_>],
    tokens: Option<u64>,
    is_base64: bool,
    asked: &Asked,
) -> Result<Vec<u8>, Broken> {
    let mut items = vectors.iter().flat_map(|vector| &vector.items);
    if let Some(odd) = items.find(|item| item.as_number().is_none()) {
        return Err(Broken::Unreadable(format!("a vector has {} in it", odd.kind())));
    }
    // The bytes come first: what writes has no way out.
    let bytes = if is_base64 {
        vectors.iter().map(|vector| in_base64(vector)).collect::<Result<Vec<_>, _>>()?
    } else {
        Vec::new()
    };
    let mut out = Writer::default();
    out.object(|out| {
        out.str_at("object", "list");
        out.array_at("data", |out| {
            for (at, vector) in vectors.iter().enumerate() {
                out.object(|out| {
                    out.str_at("object", "embedding");
                    out.u64_at("index", at as u64);
                    match bytes.get(at) {
                        Some(bytes) => out.str_at("embedding", bytes),
                        None => out.raw_at("embedding", vector.raw),
                    }
                });
            }
        });
        out.str_at("model", &asked.model);
        out.object_at("usage", |out| {
            out.u64_at("prompt_tokens", tokens.unwrap_or(0));
            out.u64_at("total_tokens", tokens.unwrap_or(0));
        });
    });
    Ok(out.finish())
}

/// The vector's numbers as 32-bit floats, the least byte first.
fn in_base64(vector: &Array<'_>) -> Result<String, Broken> {
    let mut bytes = Vec::with_capacity(vector.items.len() * 4);
    for item in &vector.items {
        let number = item.as_number().and_then(|number| number.parse::<f32>().ok());
        let number =
            number.ok_or_else(|| Broken::Unreadable(format!("a vector has {} in it", item.kind())))?;
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    Ok(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::json::parse;

    fn reading(body: &Json, check: impl FnOnce(Result<Embeddings<'_>, Refused>)) {
        let body = body.to_string();
        let document = parse(body.as_bytes()).unwrap();
        check(read(document.as_object().unwrap()));
    }

    #[test]
    fn requests_are_read() {
        let body = json!({"model": "m", "input": ["a", "b\n"], "dimensions": 256, "user": "u",
            "encoding_format": "base64", "input_type": "search_query"});
        reading(&body, |read| {
            let read = read.unwrap();
            assert_eq!((read.model, read.user), (Some("m".into()), Some("u".into())));
            assert_eq!(read.inputs, [Text::from("a"), Text::from("b\n")]);
            assert_eq!((read.dimensions, read.is_base64), (Some(256), true));
            assert_eq!(read.rest[0].0, "input_type");
        });
        reading(&json!({"input": "a"}), |read| {
            let read = read.unwrap();
            assert_eq!((read.inputs, read.is_base64), (vec![Text::from("a")], false));
        });
    }

    #[test]
    fn refusals_name_the_place() {
        for (body, param) in [
            (json!({}), "input"),
            (json!({"input": []}), "input"),
            (json!({"input": [1, 2]}), "input"),
            (json!({"input": [[1, 2]]}), "input"),
            (json!({"input": ["a", {}]}), "input[1]"),
            (json!({"input": "a", "model": 1}), "model"),
            (json!({"input": "a", "user": 1}), "user"),
            (json!({"input": "a", "dimensions": 0}), "dimensions"),
            (json!({"input": "a", "encoding_format": "int8"}), "encoding_format"),
        ] {
            reading(&body, |read| assert_eq!(read.unwrap_err().param, param, "{body}"));
        }
    }

    #[test]
    fn vectors_are_written_as_they_were_asked_for() {
        let vectors = parse(b"[[0.5, -1e-3,2],[1,0,-0.0]]").unwrap();
        let Value::Array(vectors) = vectors else { panic!("no array") };
        let vectors: Vec<_> = vectors
            .items
            .iter()
            .map(|vector| match vector {
                Value::Array(vector) => vector,
                _ => panic!("no array"),
            })
            .collect();
        let asked = Asked { model: "m".into(), ..Asked::default() };
        let written = |is_base64| -> Json {
            serde_json::from_slice(&write(&vectors, Some(4), is_base64, &asked).unwrap()).unwrap()
        };
        let embedding = |index: u64, embedding: Json| json!({"object": "embedding", "index": index, "embedding": embedding});
        let numbers = [embedding(0, json!([0.5, -1e-3, 2])), embedding(1, json!([1, 0, -0.0]))];
        let usage = json!({"prompt_tokens": 4, "total_tokens": 4});
        assert_eq!(written(false), json!({"object": "list", "data": numbers, "model": "m", "usage": usage}));
        // As numpy has it: base64.b64encode(np.array([0.5, -1e-3, 2], "<f4")).
        let bytes = [embedding(0, json!("AAAAP28Sg7oAAABA")), embedding(1, json!("AACAPwAAAAAAAACA"))];
        assert_eq!(written(true)["data"], json!(bytes));
    }

    #[test]
    fn a_vector_of_anything_but_numbers_is_a_fault() {
        let Ok(Value::Array(vector)) = parse(br#"[1,"2"]"#) else { panic!("no array") };
        for is_base64 in [true, false] {
            let written = write(&[&vector], None, is_base64, &Asked::default());
            assert_eq!(written, Err(Broken::Unreadable("a vector has a string in it".to_owned())));
        }
    }
}
