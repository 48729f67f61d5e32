//! Embeddings by Bedrock's InvokeModel, where each maker of models has a form of its own.

use super::paths::without_profile;
use crate::conversation::{Notes, Refused};
use crate::json::{Array, Text, Value, Writer};
use crate::openai::embeddings::Embeddings;
use crate::translation::Broken;

#[cfg(test)]
mod tests;

/// The most texts that Cohere's models embed at once.
const MAX_TEXTS: usize = 96;

/// A form of requests and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Amazon's Titan, the first: a text and nothing else.
    Titan1,
    /// Titan's second.
    Titan2,
    /// Titan's that embeds images as well.
    TitanImage,
    /// Amazon's Nova.
    Nova,
    /// Cohere's third.
    Cohere3,
    /// Cohere's fourth, whose vectors have a length of choice.
    Cohere4,
}

/// The vectors of an answer, in the order of the texts.
#[derive(Debug, PartialEq)]
pub(crate) struct Vectors<'v, 'a> {
    pub(crate) vectors: Vec<&'v Array<'a>>,
    /// How many tokens the texts have, where the body says: for most models a header does.
    pub(crate) tokens: Option<u64>,
}

impl Form {
    /// The form of the model that an id or an ARN names.
    ///
    /// # Errors
    /// The name is of no model that embeds, or does not tell.
    pub(crate) fn of(model: &str) -> Result<Self, Refused> {
        let id = without_profile(model.rsplit('/').next().unwrap_or(model));
        let starts = |start: &str| id.starts_with(start);
        Ok(match id {
            _ if starts("amazon.titan-embed-text-v1") || starts("amazon.titan-embed-g1") => Self::Titan1,
            _ if starts("amazon.titan-embed-image") => Self::TitanImage,
            _ if starts("amazon.titan-embed") => Self::Titan2,
            _ if starts("amazon.nova") && id.contains("embed") => Self::Nova,
            _ if starts("cohere.embed-v4") => Self::Cohere4,
            _ if starts("cohere.embed") => Self::Cohere3,
            _ => {
                let message = "this is no model of Bedrock's that embeds, as amazon.titan-embed-text-v2:0, \
                               amazon.nova-2-multimodal-embeddings-v1:0 and cohere.embed-v4:0 are";
                return Err(Refused::new("model", message));
            }
        })
    }

    /// The most texts of a request.
    fn most_texts(self) -> usize {
        if matches!(self, Self::Cohere3 | Self::Cohere4) { MAX_TEXTS } else { 1 }
    }

    /// Whether the length of its vectors can be chosen.
    fn takes_dimensions(self) -> bool {
        !matches!(self, Self::Titan1 | Self::Cohere3)
    }

    /// The body of the request.
    ///
    /// # Errors
    /// There are more texts than the model embeds at once, or its vectors have one length.
    pub(crate) fn write(self, asked: &Embeddings<'_>, notes: &mut Notes) -> Result<Vec<u8>, Refused> {
        let most = self.most_texts();
        if asked.inputs.len() > most {
            let number = asked.inputs.len();
            let message = format!(
                "this model embeds at most {most} at once, and these are {number}: send several requests"
            );
            return Err(Refused::new("input", message));
        }
        if asked.dimensions.is_some() && !self.takes_dimensions() {
            return Err(Refused::new("dimensions", "this model's vectors have one length: leave it out"));
        }
        if asked.user.is_some() {
            notes.dropped("user");
        }
        let options = Options::of(asked, self, notes);
        let mut out = Writer::default();
        let first = asked.inputs.first().cloned().unwrap_or(Text::Escaped(""));
        out.object(|out| match self {
            Self::Titan1 | Self::Titan2 | Self::TitanImage => {
                out.text_at("inputText", &first);
                match asked.dimensions {
                    Some(length) if self == Self::TitanImage => {
                        out.object_at("embeddingConfig", |out| out.u64_at("outputEmbeddingLength", length));
                    }
                    Some(length) => out.u64_at("dimensions", length),
                    None => {}
                }
                if let Some(is_normal) = options.normalize {
                    out.bool_at("normalize", is_normal);
                }
            }
            Self::Nova => options.write_nova(asked.dimensions, &first, out),
            Self::Cohere3 | Self::Cohere4 => {
                out.array_at("texts", |out| asked.inputs.iter().for_each(|text| out.text(text)));
                match &options.task {
                    Some(task) => out.text_at("input_type", task),
                    None => out.str_at("input_type", "search_document"),
                }
                if let Some(truncate) = &options.truncate {
                    out.text_at("truncate", truncate);
                }
                if let Some(dimensions) = asked.dimensions {
                    out.u64_at("output_dimension", dimensions);
                }
            }
        });
        Ok(out.finish())
    }
}

/// The vectors in the body of an answer, whichever form it has; `count` is how many there have to be.
///
/// # Errors
/// There are others, or it is no such answer.
pub(crate) fn read<'v, 'a>(document: &'v Value<'a>, count: usize) -> Result<Vectors<'v, 'a>, Broken> {
    let unreadable = |what: String| Broken::Unreadable(what);
    let answer = document.as_object().ok_or_else(|| unreadable("it is no object".to_owned()))?;
    let of = |value: &'v Value<'a>| match value {
        Value::Array(vector) => Some(vector),
        // Nova's has its kind beside it.
        Value::Object(object) => match object.get("embedding") {
            Some(Value::Array(vector)) => Some(vector),
            _ => None,
        },
        _ => None,
    };
    let values: Vec<&Value<'a>> = match (answer.get("embedding"), answer.object("embeddings")) {
        (Some(only), _) => vec![only],
        (None, Some(by_type)) => by_type.items("float").iter().collect(),
        (None, None) => answer.items("embeddings").iter().collect(),
    };
    let vectors: Option<Vec<_>> = values.into_iter().map(of).collect();
    let vectors = vectors.ok_or_else(|| unreadable("an embedding is no array".to_owned()))?;
    if vectors.len() != count {
        return Err(unreadable(format!("it has {} embeddings for {count} texts", vectors.len())));
    }
    Ok(Vectors { vectors, tokens: answer.u64("inputTextTokenCount") })
}

/// Members that OpenAI's API has not.
#[derive(Default)]
struct Options<'a> {
    /// Cohere's `input_type`.
    task: Option<Text<'a>>,
    /// Which end is cut of a text that is too long; by default that is an error.
    truncate: Option<Text<'a>>,
    normalize: Option<bool>,
}

impl<'a> Options<'a> {
    fn of(asked: &Embeddings<'a>, form: Form, notes: &mut Notes) -> Self {
        let is_titan = matches!(form, Form::Titan1 | Form::Titan2 | Form::TitanImage);
        let mut options = Self::default();
        for (name, value) in &asked.rest {
            match (name.as_ref(), value) {
                ("input_type", Value::String(task)) if !is_titan => options.task = Some(task.clone()),
                ("truncate", Value::String(end)) if !is_titan => options.truncate = Some(end.clone()),
                ("normalize", Value::Bool(is_normal)) if form == Form::Titan2 => {
                    options.normalize = Some(*is_normal);
                }
                (name, _) => notes.dropped(name.to_owned()),
            }
        }
        options
    }

    fn write_nova(&self, dimensions: Option<u64>, text: &Text<'_>, out: &mut Writer) {
        let purpose = match self.task.as_ref().map(Text::decoded).as_deref() {
            Some("search_query" | "query") => "TEXT_RETRIEVAL",
            Some("classification") => "CLASSIFICATION",
            Some("clustering") => "CLUSTERING",
            _ => "GENERIC_INDEX",
        };
        out.str_at("schemaVersion", "nova-multimodal-embed-v1");
        out.str_at("taskType", "SINGLE_EMBEDDING");
        out.object_at("singleEmbeddingParams", |out| {
            out.str_at("embeddingPurpose", purpose);
            if let Some(dimensions) = dimensions {
                out.u64_at("embeddingDimension", dimensions);
            }
            out.object_at("text", |out| {
                match &self.truncate {
                    Some(end) => out.text_at("truncationMode", end),
                    None => out.str_at("truncationMode", "NONE"),
                }
                out.text_at("value", text);
            });
        });
    }
}
