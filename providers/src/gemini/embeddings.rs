//! Embeddings, which Google has in three forms: the Gemini API's batches, Vertex's contents for Gemini's models, and
//! Vertex's predictions for those before.

use std::borrow::Cow;

use super::paths::Method;
use super::{Platform, Target};
use crate::conversation::{Notes, Refused};
use crate::json::{Array, Object, Text, Value, Writer};
use crate::translation::Broken;

#[cfg(test)]
mod tests;

/// What is to be embedded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'r, 'a> {
    /// The texts, each of which gets a vector.
    pub(crate) texts: &'r [Text<'a>],
    /// How long the vectors are to be.
    pub(crate) dimensions: Option<u64>,
    /// Members that OpenAI's API has not: `task_type`, `title` and `auto_truncate` are Google's, `input_type` is Cohere's
    /// name of the task.
    pub(crate) rest: &'r [(Cow<'a, str>, Value<'a>)],
}

/// The vectors of an answer, in the order of the texts.
#[derive(Debug, PartialEq)]
pub(crate) struct Vectors<'v, 'a> {
    pub(crate) vectors: Vec<&'v Array<'a>>,
    /// How many tokens the texts have, where the answer says.
    pub(crate) tokens: Option<u64>,
}

/// How `count` texts are embedded by the model.
pub(crate) fn method(target: Target<'_>, count: usize) -> Method {
    match target.platform {
        Platform::GeminiApi => Method::BatchEmbed,
        Platform::Vertex if !target.model.contains("gemini") => Method::Predict,
        Platform::Vertex if count == 1 => Method::Embed,
        Platform::Vertex => Method::BatchEmbed,
    }
}

/// The body of the request for it.
///
/// # Errors
/// There is nothing to embed.
pub(crate) fn write(
    inputs: Inputs<'_, '_>,
    target: Target<'_>,
    notes: &mut Notes,
) -> Result<Vec<u8>, Refused> {
    let [first, ..] = inputs.texts else {
        return Err(Refused::new("input", "there is nothing to embed: send a text, or a list of them"));
    };
    let options = Options::of(inputs, target.platform, notes);
    let mut out = Writer::default();
    match (method(target, inputs.texts.len()), target.platform) {
        (Method::Predict, _) => write_predict(&mut out, inputs, &options),
        (Method::Embed, _) => out.object(|out| {
            write_content(out, first);
            options.write_config(out);
        }),
        (_, platform) => {
            let model = target.model.strip_prefix("models/").unwrap_or(target.model);
            out.object(|out| {
                out.array_at("requests", |out| {
                    for text in inputs.texts {
                        out.object(|out| {
                            if platform == Platform::GeminiApi {
                                out.str_at("model", &format!("models/{model}"));
                            }
                            write_content(out, text);
                            match platform {
                                Platform::GeminiApi => options.write(out),
                                Platform::Vertex => options.write_config(out),
                            }
                        });
                    }
                });
            });
        }
    }
    Ok(out.finish())
}

/// The vectors in the body of an answer, as it was parsed; `count` is how many there have to be.
///
/// # Errors
/// There are others, or it is no such answer.
pub(crate) fn read<'v, 'a>(document: &'v Value<'a>, count: usize) -> Result<Vectors<'v, 'a>, Broken> {
    let unreadable = |what: &str| Broken::Unreadable(what.to_owned());
    let answer = document.as_object().ok_or_else(|| unreadable("it is no object"))?;
    let embeddings: Vec<_> = match answer.object("embedding") {
        Some(only) => vec![only],
        None => {
            let several = answer.items("embeddings").iter().filter_map(Value::as_object);
            let predicted = answer.items("predictions").iter();
            several.chain(predicted.filter_map(|item| item.as_object()?.object("embeddings"))).collect()
        }
    };
    if embeddings.len() != count {
        return Err(Broken::Unreadable(format!("it has {} embeddings for {count} texts", embeddings.len())));
    }
    let vectors = embeddings.iter().map(|embedding| match embedding.get("values") {
        Some(Value::Array(values)) => Ok(values),
        _ => Err(unreadable("an embedding has no values")),
    });
    let vectors = vectors.collect::<Result<_, _>>()?;
    let counted = answer.object("usageMetadata").and_then(|usage| usage.u64("promptTokenCount"));
    Ok(Vectors { vectors, tokens: counted.or_else(|| summed(&embeddings)) })
}

/// The tokens of all texts, if each says how many it has.
fn summed(embeddings: &[&Object<'_>]) -> Option<u64> {
    let counts = embeddings.iter().map(|embedding| {
        let statistics = embedding.object("statistics")?;
        statistics.u64("token_count").or_else(|| statistics.u64("tokenCount"))
    });
    counts.sum()
}

/// What holds for every text.
struct Options<'r, 'a> {
    task: Option<Task<'r, 'a>>,
    title: Option<&'r Text<'a>>,
    dimensions: Option<u64>,
    truncates: Option<bool>,
}

enum Task<'r, 'a> {
    Given(&'r Text<'a>),
    Known(&'static str),
}

impl<'r, 'a> Options<'r, 'a> {
    fn of(inputs: Inputs<'r, 'a>, platform: Platform, notes: &mut Notes) -> Self {
        let mut options = Self { task: None, title: None, dimensions: inputs.dimensions, truncates: None };
        for (name, value) in inputs.rest {
            match (name.as_ref(), value) {
                ("task_type" | "taskType", Value::String(task)) => options.task = Some(Task::Given(task)),
                ("input_type", Value::String(kind)) if options.task.is_none() => {
                    match task_of(&kind.decoded()) {
                        Some(task) => options.task = Some(Task::Known(task)),
                        None => notes.dropped("input_type"),
                    }
                }
                // Said better by `task_type`.
                ("input_type", Value::String(_)) => {}
                ("title", Value::String(title)) => options.title = Some(title),
                ("auto_truncate" | "autoTruncate", Value::Bool(truncates))
                    if platform == Platform::Vertex =>
                {
                    options.truncates = Some(*truncates);
                }
                (_, Value::Null) => {}
                (name, _) => notes.dropped(name.to_owned()),
            }
        }
        options
    }

    fn write(&self, out: &mut Writer) {
        self.write_task(out, "taskType");
        if let Some(dimensions) = self.dimensions {
            out.u64_at("outputDimensionality", dimensions);
        }
    }

    fn write_config(&self, out: &mut Writer) {
        if self.task.is_none()
            && self.title.is_none()
            && self.dimensions.is_none()
            && self.truncates.is_none()
        {
            return;
        }
        out.object_at("embedContentConfig", |out| {
            self.write(out);
            if let Some(truncates) = self.truncates {
                out.bool_at("autoTruncate", truncates);
            }
        });
    }

    fn write_task(&self, out: &mut Writer, name: &str) {
        match &self.task {
            Some(Task::Given(task)) => out.text_at(name, task),
            Some(Task::Known(task)) => out.str_at(name, task),
            None => {}
        }
        if let Some(title) = self.title {
            out.text_at("title", title);
        }
    }
}

fn write_predict(out: &mut Writer, inputs: Inputs<'_, '_>, options: &Options<'_, '_>) {
    out.object(|out| {
        out.array_at("instances", |out| {
            for text in inputs.texts {
                out.object(|out| {
                    out.text_at("content", text);
                    options.write_task(out, "task_type");
                });
            }
        });
        if options.dimensions.is_some() || options.truncates.is_some() {
            out.object_at("parameters", |out| {
                if let Some(dimensions) = options.dimensions {
                    out.u64_at("outputDimensionality", dimensions);
                }
                if let Some(truncates) = options.truncates {
                    out.bool_at("autoTruncate", truncates);
                }
            });
        }
    });
}

fn write_content(out: &mut Writer, text: &Text<'_>) {
    out.object_at("content", |out| {
        out.array_at("parts", |out| out.object(|out| out.text_at("text", text)));
    });
}

/// What Google calls a task that Cohere's clients name.
fn task_of(input_type: &str) -> Option<&'static str> {
    match input_type {
        "search_query" | "query" => Some("RETRIEVAL_QUERY"),
        "search_document" | "passage" | "document" => Some("RETRIEVAL_DOCUMENT"),
        "classification" => Some("CLASSIFICATION"),
        "clustering" => Some("CLUSTERING"),
        _ => None,
    }
}
