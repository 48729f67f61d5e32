//! The messages of a request that is written.
//!
//! They are planned first, which may fail, and written then, which may not.

use super::{Form, Upstream};
use crate::alias::safe;
use crate::conversation::{Arguments, Content, Conversation, Notes, Part, Refused, Role, Source};
use crate::json::{Text, Writer};

/// The longest id of a call, in characters, that OpenAI takes.
const MAX_ID: usize = 40;

/// What Claude Code's first instruction begins with. It is new with every request and for Anthropic only: no cache of
/// prompts finds anything behind it.
const BILLING: &str = "x-anthropic-billing-header:";

/// A message to write.
pub(super) enum Message<'c, 'a> {
    System(Vec<&'c Text<'a>>),
    User(Vec<Piece<'c, 'a>>),
    Assistant(Said<'c, 'a>),
    Tool { id: &'c Text<'a>, texts: Vec<Text<'a>> },
}

/// What the model said.
#[derive(Default)]
pub(super) struct Said<'c, 'a> {
    reasoning: Vec<&'c Text<'a>>,
    texts: Vec<Text<'a>>,
    refusal: Vec<Text<'a>>,
    calls: Vec<(&'c Text<'a>, &'c Text<'a>, &'c Arguments<'a>)>,
}

/// A part of a user's message.
pub(super) enum Piece<'c, 'a> {
    Text(Vec<Text<'a>>),
    Image { url: Vec<Text<'a>>, detail: Option<&'c Text<'a>> },
    File { name: Text<'a>, data: Vec<Text<'a>> },
    FileId(&'c Text<'a>),
    Audio { data: &'c Text<'a>, format: &'c Text<'a> },
}

/// Plans the messages of `conversation`.
///
/// # Errors
/// A part cannot be put to the upstream.
pub(super) fn plan<'c, 'a>(
    conversation: &'c Conversation<'a>,
    notes: &mut Notes,
    upstream: Upstream,
) -> Result<Vec<Message<'c, 'a>>, Refused> {
    let mut plan = Plan { notes, upstream, messages: Vec::with_capacity(conversation.turns.len() + 1) };
    plan.system(&conversation.system);
    let mut from = 0;
    for run in conversation.turns.chunk_by(|one, next| one.role == next.role) {
        let parts = run.iter().enumerate().flat_map(|(turn, said)| {
            said.parts
                .iter()
                .enumerate()
                .map(move |(part, content)| (Place { turn: from + turn, part }, content))
        });
        match run.first().map(|turn| turn.role) {
            Some(Role::Assistant) => plan.assistant(parts),
            _ => plan.user(parts)?,
        }
        from += run.len();
    }
    Ok(plan.messages)
}

/// Where a part stands in the client's request.
#[derive(Clone, Copy)]
struct Place {
    turn: usize,
    part: usize,
}

struct Plan<'n, 'c, 'a> {
    notes: &'n mut Notes,
    upstream: Upstream,
    messages: Vec<Message<'c, 'a>>,
}

impl<'c, 'a> Plan<'_, 'c, 'a> {
    fn system(&mut self, parts: &'c [Part<'a>]) {
        let mut texts = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            self.cache(part);
            match &part.content {
                Content::Text(Text::Escaped(text)) if at == 0 && text.starts_with(BILLING) => {
                    self.notes.dropped("x-anthropic-billing-header");
                }
                Content::Text(text) if !text.is_empty() => texts.push(text),
                _ => {}
            }
        }
        if !texts.is_empty() {
            self.messages.push(Message::System(texts));
        }
    }

    fn user(&mut self, parts: impl Iterator<Item = (Place, &'c Part<'a>)>) -> Result<(), Refused> {
        // Results have to follow the calls at once. What they have that is no text goes into the user's own message.
        let (mut shown, mut said) = (Vec::new(), Vec::new());
        for (place, part) in parts {
            self.cache(part);
            if let Content::ToolResult { id, parts, is_error } = &part.content {
                if *is_error {
                    self.notes.dropped("messages[].content[].is_error");
                }
                let mut texts = Vec::new();
                for part in parts {
                    self.cache(part);
                    match self.piece(place, part)? {
                        Some(Piece::Text(mut text)) => {
                            if !texts.is_empty() {
                                texts.push(Text::Escaped("\\n"));
                            }
                            texts.append(&mut text);
                        }
                        Some(piece) => shown.push(piece),
                        None => {}
                    }
                }
                self.messages.push(Message::Tool { id, texts });
            } else if let Some(piece) = self.piece(place, part)? {
                said.push(piece);
            }
        }
        shown.append(&mut said);
        if !shown.is_empty() {
            self.messages.push(Message::User(shown));
        }
        Ok(())
    }

    fn assistant(&mut self, parts: impl Iterator<Item = (Place, &'c Part<'a>)>) {
        let mut said = Said::default();
        for (_, part) in parts {
            self.cache(part);
            match &part.content {
                Content::Text(text) => said.texts.push(text.clone()),
                Content::Refusal(text) if self.upstream == Upstream::OpenAi => {
                    said.refusal.push(text.clone())
                }
                Content::Refusal(text) => said.texts.push(text.clone()),
                Content::Reasoning { text, .. } if self.upstream == Upstream::Engine => {
                    if !text.is_empty() {
                        said.reasoning.push(text);
                    }
                }
                Content::ToolCall { id, name, arguments, signature } => {
                    if signature.is_some() {
                        self.notes.dropped("messages[].tool_calls[].extra_content");
                    }
                    said.calls.push((id, name, arguments));
                }
                content => self.leave_out(content),
            }
        }
        let has_texts = said.texts.iter().any(|text| !text.is_empty());
        if has_texts || !said.refusal.is_empty() || !said.reasoning.is_empty() || !said.calls.is_empty() {
            self.messages.push(Message::Assistant(said));
        }
    }

    /// A part of a user's message, or of a tool's result; `None` if the upstream has nothing like it.
    fn piece(&mut self, place: Place, part: &'c Part<'a>) -> Result<Option<Piece<'c, 'a>>, Refused> {
        let refused = |why: &str| {
            let Place { turn, part } = place;
            Err(Refused::new(format!("messages[{turn}].content[{part}]"), why))
        };
        let is_openai = self.upstream == Upstream::OpenAi;
        Ok(Some(match &part.content {
            Content::Text(text) if text.is_empty() => return Ok(None),
            Content::Text(text) | Content::Refusal(text) => Piece::Text(vec![text.clone()]),
            Content::Image { source, detail } => match source {
                Source::Url(url) => Piece::Image { url: vec![url.clone()], detail: detail.as_ref() },
                Source::Base64 { media_type, data } => {
                    Piece::Image { url: data_url(media_type, data), detail: detail.as_ref() }
                }
                Source::Text(text) => Piece::Text(vec![text.clone()]),
                Source::File(_) => {
                    return refused("this model takes no images by file id: send the image, or its address");
                }
            },
            Content::Document { source, name, context, citations } => {
                if citations.is_some() {
                    self.notes.dropped("messages[].content[].citations");
                }
                match source {
                    Source::Text(text) => Piece::Text(titled(name.as_ref(), context.as_ref(), text)),
                    _ if !is_openai => {
                        return refused("this model takes no documents: send their text");
                    }
                    Source::Url(_) => {
                        return refused(
                            "this model takes no documents by address: send the document in base64",
                        );
                    }
                    Source::Base64 { media_type, data } => {
                        self.context(context.as_ref());
                        let name = name.clone().unwrap_or(Text::Escaped("document.pdf"));
                        Piece::File { name, data: data_url(media_type, data) }
                    }
                    Source::File(id) => {
                        self.context(context.as_ref());
                        Piece::FileId(id)
                    }
                }
            }
            Content::Audio { data, format } => Piece::Audio { data, format },
            content => {
                self.leave_out(content);
                return Ok(None);
            }
        }))
    }

    fn leave_out(&mut self, content: &Content<'_>) {
        let name = match content {
            Content::Reasoning { .. } => "messages[].content[].thinking",
            Content::Redacted(_) => "messages[].content[].redacted_thinking",
            Content::Image { .. } => "messages[].content[].image",
            Content::Document { .. } => "messages[].content[].document",
            Content::Audio { .. } => "messages[].content[].input_audio",
            Content::ToolCall { .. } => "messages[].content[].tool_use",
            Content::ToolResult { .. } => "messages[].content[].tool_result",
            Content::Text(_) | Content::Refusal(_) => "messages[].content[].text",
            Content::Other { kind, .. } => {
                let kind = kind.as_word().filter(|kind| kind.len() <= MAX_ID).unwrap_or("type");
                return self.notes.dropped(format!("messages[].content[].{kind}"));
            }
        };
        self.notes.dropped(name);
    }

    fn context(&mut self, context: Option<&Text<'_>>) {
        if context.is_some() {
            self.notes.dropped("messages[].content[].context");
        }
    }

    /// Prompts are cached by themselves here. A mark that moves on with every turn would only change them.
    fn cache(&mut self, part: &Part<'_>) {
        if part.cache.is_some() {
            self.notes.dropped("cache_control");
        }
    }
}

fn data_url<'a>(media_type: &Text<'a>, data: &Text<'a>) -> Vec<Text<'a>> {
    vec![Text::Escaped("data:"), media_type.clone(), Text::Escaped(";base64,"), data.clone()]
}

/// A document's text, with what is said of it.
fn titled<'a>(name: Option<&Text<'a>>, context: Option<&Text<'a>>, text: &Text<'a>) -> Vec<Text<'a>> {
    let mut texts = Vec::with_capacity(5);
    for heading in [name, context].into_iter().flatten() {
        texts.extend([heading.clone(), Text::Escaped("\\n\\n")]);
    }
    texts.push(text.clone());
    texts
}

impl Message<'_, '_> {
    /// Writes it.
    pub(super) fn write(&self, form: &mut Form<'_>, out: &mut Writer) {
        out.object(|out| match self {
            Self::System(texts) => {
                out.str_at("role", "system");
                out.key("content");
                let mut joined = Vec::with_capacity(texts.len() * 2);
                for text in texts {
                    if !joined.is_empty() {
                        joined.push(Text::Escaped("\\n\\n"));
                    }
                    joined.push((*text).clone());
                }
                out.concatenated(&joined);
            }
            Self::User(pieces) => {
                out.str_at("role", "user");
                match pieces.as_slice() {
                    [Piece::Text(text)] => {
                        out.key("content");
                        out.concatenated(text);
                    }
                    pieces => out.array_at("content", |out| pieces.iter().for_each(|piece| piece.write(out))),
                }
            }
            Self::Assistant(said) => said.write(form, out),
            Self::Tool { id, texts } => {
                out.str_at("role", "tool");
                id_at("tool_call_id", id, form, out);
                out.key("content");
                out.concatenated(texts);
            }
        });
    }
}

impl Said<'_, '_> {
    fn write(&self, form: &mut Form<'_>, out: &mut Writer) {
        out.str_at("role", "assistant");
        if !self.reasoning.is_empty() {
            // vLLM has called it `reasoning` for some time, and knows this name, which the other engines have, as well.
            out.key("reasoning_content");
            let texts: Vec<_> = self.reasoning.iter().map(|text| (*text).clone()).collect();
            out.concatenated(&texts);
        }
        out.key("content");
        if self.texts.iter().all(Text::is_empty) {
            out.raw("null");
        } else {
            out.concatenated(&self.texts);
        }
        if !self.refusal.is_empty() {
            out.key("refusal");
            out.concatenated(&self.refusal);
        }
        if !self.calls.is_empty() {
            out.array_at("tool_calls", |out| {
                for (id, name, arguments) in &self.calls {
                    out.object(|out| {
                        id_at("id", id, form, out);
                        out.str_at("type", "function");
                        out.object_at("function", |out| {
                            form.name_at("name", name, out);
                            arguments_at("arguments", arguments, out);
                        });
                    });
                }
            });
        }
    }
}

fn arguments_at(key: &str, arguments: &Arguments<'_>, out: &mut Writer) {
    match arguments {
        Arguments::Written(text) if !text.is_blank() => out.text_at(key, text),
        Arguments::Written(_) => out.str_at(key, "{}"),
        Arguments::Value(value) => {
            let mut written = Writer::default();
            written.value(value);
            out.str_at(key, &String::from_utf8_lossy(&written.finish()));
        }
    }
}

fn id_at(key: &str, id: &Text<'_>, form: &Form<'_>, out: &mut Writer) {
    if form.is_openai() {
        let plain = id.decoded();
        if plain.chars().nth(MAX_ID).is_some() {
            return out.str_at(key, &safe(&plain, MAX_ID));
        }
    }
    out.text_at(key, id);
}

impl Piece<'_, '_> {
    fn write(&self, out: &mut Writer) {
        out.object(|out| match self {
            Self::Text(text) => {
                out.str_at("type", "text");
                out.key("text");
                out.concatenated(text);
            }
            Self::Image { url, detail } => {
                out.str_at("type", "image_url");
                out.object_at("image_url", |out| {
                    out.key("url");
                    out.concatenated(url);
                    if let Some(detail) = detail {
                        out.text_at("detail", detail);
                    }
                });
            }
            Self::File { name, data } => {
                out.str_at("type", "file");
                out.object_at("file", |out| {
                    out.text_at("filename", name);
                    out.key("file_data");
                    out.concatenated(data);
                });
            }
            Self::FileId(id) => {
                out.str_at("type", "file");
                out.object_at("file", |out| out.text_at("file_id", id));
            }
            Self::Audio { data, format } => {
                out.str_at("type", "input_audio");
                out.object_at("input_audio", |out| {
                    out.text_at("data", data);
                    out.text_at("format", format);
                });
            }
        });
    }
}
