//! What a request for a conversation says, whatever API it came by: the common form between what clients send and what
//! upstreams take.
//!
//! A client's API is read into it, an upstream's is written from it, so that ten pairs of APIs take three readers and four
//! writers. It borrows from the request's body. What an API has and this form has not stays in [`Conversation::rest`], and
//! a writer says what it left out ([`Notes`]).

use std::borrow::Cow;

use crate::json::{Text, Value};

/// A request for a conversation.
#[derive(Clone, Debug, Default)]
pub struct Conversation<'a> {
    /// The client's body, where the upstream's may take its long texts from uncopied.
    pub body: &'a [u8],
    /// The model, as the upstream calls it.
    pub model: Option<Text<'a>>,
    /// Instructions that precede the conversation: text parts only.
    pub system: Vec<Part<'a>>,
    /// The turns, as the client has them: several in a row may be of one role.
    pub turns: Vec<Turn<'a>>,
    /// Tools that the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Whether it has to.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether it may call several at once.
    pub parallel_tools: Option<bool>,
    /// The most tokens to generate.
    pub max_tokens: Option<&'a str>,
    /// Randomness, from 0 to the API's own limit.
    pub temperature: Option<&'a str>,
    /// The share of likely tokens to choose from.
    pub top_p: Option<&'a str>,
    /// The number of likely tokens to choose from.
    pub top_k: Option<&'a str>,
    /// Texts that end the answer.
    pub stop: Vec<Text<'a>>,
    /// Whether the answer is streamed.
    pub is_stream: bool,
    /// Whether the client wants a stream's usage.
    pub wants_usage: bool,
    /// The answer's form, where it is not free text.
    pub format: Option<Format<'a>>,
    /// How much the model is to think before it answers.
    pub reasoning: Option<Reasoning<'a>>,
    /// The end user, for the provider's abuse control.
    pub user: Option<Text<'a>>,
    /// What class of service is asked for.
    pub service_tier: Option<Text<'a>>,
    /// The seed of what looks random.
    pub seed: Option<&'a str>,
    /// The penalty on tokens that have occurred.
    pub presence_penalty: Option<&'a str>,
    /// The penalty on tokens by how often they have occurred.
    pub frequency_penalty: Option<&'a str>,
    /// Whether log probabilities are wanted.
    pub logprobs: Option<bool>,
    /// For how many alternatives.
    pub top_logprobs: Option<&'a str>,
    /// Members of the client's API that have no place here, as they are, by name.
    pub rest: Vec<(Cow<'a, str>, Value<'a>)>,
}

/// What one side says.
#[derive(Clone, Debug)]
pub struct Turn<'a> {
    /// Which side.
    pub role: Role,
    /// What it says. A tool's result is said by the user's side.
    pub parts: Vec<Part<'a>>,
}

/// A side of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The client's.
    User,
    /// The model's.
    Assistant,
}

/// A part of what is said.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// What it is.
    pub content: Content<'a>,
    /// The mark that what comes before and this is to be cached: the object that Anthropic calls `cache_control`.
    pub cache: Option<Value<'a>>,
    /// Where it is in the client's request; `None` if it is no part of a content there.
    pub place: Option<Place>,
}

/// Where a part is in the client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The member that has the messages: `messages` or `input`.
    pub list: &'static str,
    /// Which message it is in, from 0 on.
    pub message: usize,
    /// Which part of its content it is, from 0 on.
    pub part: usize,
}

/// What a part is.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// Text.
    Text(Text<'a>),
    /// An image.
    Image {
        /// Where it is.
        source: Source<'a>,
        /// How closely the model is to look (OpenAI: `low`, `high`, `auto`).
        detail: Option<Text<'a>>,
    },
    /// A document.
    Document {
        /// Where it is.
        source: Source<'a>,
        /// Its title or file name.
        name: Option<Text<'a>>,
        /// Anthropic's `context`.
        context: Option<Text<'a>>,
        /// Anthropic's `citations`.
        citations: Option<Value<'a>>,
    },
    /// Sound.
    Audio {
        /// In base64.
        data: Text<'a>,
        /// Its format (`wav`, `mp3`).
        format: Text<'a>,
    },
    /// What the model thought.
    Reasoning {
        /// In words.
        text: Text<'a>,
        /// What proves to the provider that it is the model's own.
        signature: Option<Text<'a>>,
    },
    /// What the model thought, encrypted: for its provider only.
    Redacted(Text<'a>),
    /// The model calls a tool.
    ToolCall {
        /// Identifies the call.
        id: Text<'a>,
        /// The tool.
        name: Text<'a>,
        /// What it is called with.
        arguments: Arguments<'a>,
        /// Gemini's `thoughtSignature`, which has to come back with the call.
        signature: Option<Text<'a>>,
    },
    /// What a tool returned.
    ToolResult {
        /// The call.
        id: Text<'a>,
        /// What: text, images and documents.
        parts: Vec<Part<'a>>,
        /// Whether the tool failed.
        is_error: bool,
    },
    /// The model refuses, in words.
    Refusal(Text<'a>),
    /// A part of Anthropic's API that no other has (`server_tool_use`, `search_result`, …), as it is.
    Other {
        /// Its type.
        kind: Text<'a>,
        /// All of it.
        value: Value<'a>,
    },
}

/// Where an image or a document is.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// At an address.
    Url(Text<'a>),
    /// Here, in base64.
    Base64 {
        /// Its media type.
        media_type: Text<'a>,
        /// The bytes.
        data: Text<'a>,
    },
    /// With the provider, under this name.
    File(Text<'a>),
    /// Here, as text.
    Text(Text<'a>),
}

/// What a tool is called with.
#[derive(Clone, Debug)]
pub enum Arguments<'a> {
    /// As a value.
    Value(Value<'a>),
    /// As the text of one, which nobody has read yet and may be wrong.
    Written(Text<'a>),
}

/// A tool.
#[derive(Clone, Debug)]
pub struct Tool<'a> {
    /// Its name; for a tool that the provider runs itself, its type.
    pub name: Text<'a>,
    /// What it does.
    pub description: Option<Text<'a>>,
    /// The JSON schema of what it is called with.
    pub parameters: Option<Value<'a>>,
    /// Whether calls have to follow the schema exactly.
    pub is_strict: Option<bool>,
    /// See [`Part::cache`].
    pub cache: Option<Value<'a>>,
    /// A tool of another kind than a function (`web_search_20250305`, `custom`, …), as it is.
    pub other: Option<Value<'a>>,
}

/// Whether the model has to call a tool.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice<'a> {
    /// As it thinks fit.
    Auto,
    /// Some tool.
    Any,
    /// None.
    None,
    /// This one.
    Named(Text<'a>),
}

/// The form of an answer.
#[derive(Clone, Debug)]
pub enum Format<'a> {
    /// An object, any.
    JsonObject,
    /// A document that follows a schema.
    JsonSchema {
        /// What the schema is called.
        name: Option<Text<'a>>,
        /// The schema.
        schema: Value<'a>,
        /// Whether it has to be followed exactly.
        is_strict: Option<bool>,
    },
}

/// How much the model is to think.
#[derive(Clone, Debug, PartialEq)]
pub enum Reasoning<'a> {
    /// Not at all.
    Off,
    /// As it thinks fit (Anthropic's `adaptive`).
    Adaptive,
    /// In words: `minimal`, `low`, `medium`, `high`, `xhigh`, `max`.
    Effort(Text<'a>),
    /// In tokens.
    Budget(u64),
}

/// What a translation left out, for the client to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    dropped: Vec<Cow<'static, str>>,
}

/// A request that cannot be put into the upstream's API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if param.is_empty() { String::new() } else { format!("{param}: ") })]
pub struct Refused {
    /// The member of the request, as the client wrote it: `messages[2].content[0].image_url`.
    pub param: String,
    /// Why, and what would be taken.
    pub message: String,
}

impl<'a> Part<'a> {
    /// A part that is not to be cached.
    pub fn new(content: Content<'a>) -> Self {
        Self { content, cache: None, place: None }
    }

    /// Notes that `parts` are of the message at `message` of `list`, those within results of tools as well.
    pub(crate) fn number(parts: &mut [Self], list: &'static str, message: usize) {
        for part in parts {
            if let Some(place) = &mut part.place {
                (place.list, place.message) = (list, message);
            }
            if let Content::ToolResult { parts, .. } = &mut part.content {
                Self::number(parts, list, message);
            }
        }
    }

    /// A part of text.
    pub fn text(text: Text<'a>) -> Self {
        Self::new(Content::Text(text))
    }
}

impl<'a> Arguments<'a> {
    /// Whether there are none at all: an empty text, which stands for an empty object.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Written(text) if text.is_blank())
    }
}

impl<'a> Conversation<'a> {
    /// The turns with those in a row that are of one role made one, and without empty ones: as the upstreams want them
    /// that take alternating roles only.
    pub fn merged_turns(&self) -> Vec<(Role, Vec<&Part<'a>>)> {
        let mut merged: Vec<(Role, Vec<&Part<'a>>)> = Vec::with_capacity(self.turns.len());
        for turn in self.turns.iter().filter(|turn| !turn.parts.is_empty()) {
            match merged.last_mut() {
                Some((role, parts)) if *role == turn.role => parts.extend(&turn.parts),
                _ => merged.push((turn.role, turn.parts.iter().collect())),
            }
        }
        merged
    }
}

impl Notes {
    /// Notes that a member was left out: a name that clients can find in their documentation, as `logit_bias`,
    /// `tools[].function.strict` or `messages[].name`. Each name is kept once.
    pub fn dropped(&mut self, name: impl Into<Cow<'static, str>>) {
        /// Names kept: a client may send any number.
        const MOST: usize = 32;
        let name = name.into();
        if self.dropped.len() < MOST && !self.dropped.contains(&name) {
            self.dropped.push(name);
        }
    }

    /// What was left out, in the order in which it was met.
    pub fn names(&self) -> &[Cow<'static, str>] {
        &self.dropped
    }
}

impl Refused {
    /// That `param` cannot be translated, because of `message`.
    pub fn new(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: param.into(), message: message.into() }
    }

    /// With the place of `part`, where this is about some part of some message (`messages[].content[]`).
    #[must_use]
    pub(crate) fn of_part(self, part: &Part<'_>) -> Self {
        match (part.place, self.param.strip_prefix("messages[].content[]")) {
            (Some(Place { list, message, part }), Some(rest)) => {
                Self { param: format!("{list}[{message}].content[{part}]{rest}"), ..self }
            }
            _ => self,
        }
    }
}
