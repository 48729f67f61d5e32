//! Blocks of content.

mod documents;

use self::documents::{Names, audio_format, document_format, image_format};
use crate::alias::{Aliases, safe};
use crate::bedrock::model::Family;
use crate::conversation::{Arguments, Content, Notes, Part, Refused, Source};
use crate::json::{Object, Text, Value, Writer, parse};

/// The longest name of a tool.
pub(super) const MAX_NAME: usize = 64;

/// The longest id of a call. AWS takes dots and colons besides; other providers' models do not.
const MAX_CALL_ID: usize = 64;

/// Where what cannot be written is, as clients of both APIs know it.
const PLACE: &str = "messages[].content[]";

/// What a tool that returned nothing is said to have returned, since an empty text is refused.
const NO_OUTPUT: &str = "(no output)";

/// Writes blocks of one request.
pub(super) struct Blocks<'w> {
    pub(super) family: Family,
    pub(super) aliases: &'w mut Aliases,
    pub(super) notes: &'w mut Notes,
    /// Why the request cannot be written after all; the first reason.
    pub(super) refused: Option<Refused>,
    names: Names,
}

impl<'w> Blocks<'w> {
    pub(super) fn new(family: Family, aliases: &'w mut Aliases, notes: &'w mut Notes) -> Self {
        Self { family, aliases, notes, refused: None, names: Names::default() }
    }

    /// Writes a block, and a cache point after it if it is marked.
    pub(super) fn write(&mut self, part: &Part<'_>, out: &mut Writer) {
        self.write_content(part, out);
        self.refused = self.refused.take().map(|refused| refused.of_part(part));
    }

    fn write_content(&mut self, part: &Part<'_>, out: &mut Writer) {
        match &part.content {
            Content::Text(text) | Content::Refusal(text) => return self.text(text, part, out),
            Content::Reasoning { text, signature } => out.object(|out| {
                out.object_at("reasoningContent", |out| {
                    out.object_at("reasoningText", |out| {
                        out.text_at("text", text);
                        if let Some(signature) = signature {
                            out.text_at("signature", signature);
                        }
                    });
                });
            }),
            Content::Redacted(data) => out.object(|out| {
                out.object_at("reasoningContent", |out| out.text_at("redactedContent", data));
            }),
            Content::ToolCall { id, name, arguments, .. } => out.object(|out| {
                out.object_at("toolUse", |out| {
                    out.str_at("toolUseId", &safe(&id.decoded(), MAX_CALL_ID));
                    out.str_at("name", &self.aliases.of(&name.decoded(), MAX_NAME));
                    out.key("input");
                    input(arguments, out);
                });
            }),
            Content::ToolResult { id, parts, is_error } => {
                self.tool_result(id, parts, *is_error, out);
                let inner = parts.iter().rev().find_map(|part| part.cache.as_ref());
                if let (None, Some(mark)) = (&part.cache, inner) {
                    self.cache_point(mark, out);
                }
            }
            content => self.media(content, out),
        }
        if let Some(mark) = &part.cache {
            self.cache_point(mark, out);
        }
    }

    /// Writes `text` in place of the one that is in `part`.
    pub(super) fn text(&mut self, text: &Text<'_>, part: &Part<'_>, out: &mut Writer) {
        out.object(|out| out.text_at("text", text));
        if let Some(mark) = &part.cache {
            self.cache_point(mark, out);
        }
    }

    /// Writes a cache point for Anthropic's `cache_control`.
    pub(super) fn cache_point(&mut self, mark: &Value<'_>, out: &mut Writer) {
        if !self.family.caches() {
            return self.notes.dropped("cache_control");
        }
        let mark = mark.as_object();
        if mark.is_some_and(|mark| mark.get("scope").is_some()) {
            self.notes.dropped("cache_control.scope");
        }
        // Five minutes are the default, which need not be said to models that do not know of others.
        let is_long = mark.and_then(|mark| mark.word("ttl")) == Some("1h");
        if is_long && !self.family.takes_cache_ttl() {
            self.notes.dropped("cache_control.ttl");
        }
        out.object(|out| {
            out.object_at("cachePoint", |out| {
                out.str_at("type", "default");
                if is_long && self.family.takes_cache_ttl() {
                    out.str_at("ttl", "1h");
                }
            });
        });
    }

    fn tool_result(&mut self, id: &Text<'_>, parts: &[Part<'_>], is_error: bool, out: &mut Writer) {
        out.object(|out| {
            out.object_at("toolResult", |out| {
                out.str_at("toolUseId", &safe(&id.decoded(), MAX_CALL_ID));
                out.array_at("content", |out| {
                    let mut is_empty = true;
                    for part in parts {
                        if !super::is_said(part, self.notes) {
                            continue;
                        }
                        is_empty = false;
                        match &part.content {
                            Content::Text(text) | Content::Refusal(text) => {
                                out.object(|out| out.text_at("text", text));
                            }
                            content => self.media(content, out),
                        }
                    }
                    if is_empty {
                        out.object(|out| out.str_at("text", NO_OUTPUT));
                    }
                });
                out.str_at("status", if is_error { "error" } else { "success" });
            });
        });
    }

    fn media(&mut self, content: &Content<'_>, out: &mut Writer) {
        match content {
            Content::Image { source, detail } => {
                if detail.as_ref().is_some_and(|detail| *detail != "auto") {
                    self.notes.dropped("messages[].content[].image_url.detail");
                }
                self.image(source, out);
            }
            Content::Document { source, name, context, citations } => {
                let is_cited = citations.as_ref().and_then(Value::as_object);
                let is_cited = is_cited.and_then(|citations| citations.get("enabled")?.as_bool());
                self.document(source, name.as_ref(), out, |out| {
                    if let Some(context) = context.as_ref().filter(|context| !context.is_blank()) {
                        out.text_at("context", context);
                    }
                    if let Some(is_cited) = is_cited {
                        out.object_at("citations", |out| out.bool_at("enabled", is_cited));
                    }
                });
            }
            Content::Audio { data, format } => match audio_format(&format.decoded()) {
                Some(format) => out.object(|out| {
                    out.object_at("audio", |out| {
                        out.str_at("format", format);
                        out.object_at("source", |out| out.text_at("bytes", data));
                    });
                }),
                None => self.refuse("sound", format, "as wav, mp3, flac, ogg, opus, aac, m4a or webm"),
            },
            Content::Other { value: Value::Object(result), .. } => search_result(result, out),
            // Nothing else is left, unless a tool's result holds what only a turn can.
            _ => self.notes.dropped("messages[].content[].content[]"),
        }
    }

    fn image(&mut self, source: &Source<'_>, out: &mut Writer) {
        match source {
            Source::Base64 { media_type, data } => {
                let name = media_type.decoded();
                match image_format(&name) {
                    Some(format) => out.object(|out| {
                        out.object_at("image", |out| {
                            out.str_at("format", format);
                            out.object_at("source", |out| out.text_at("bytes", data));
                        });
                    }),
                    // Where a client's API has one place for both.
                    None if document_format(&name, "").is_some() => self.document(source, None, out, |_| {}),
                    None => self.refuse("images", media_type, "as PNG, JPEG, GIF or WebP"),
                }
            }
            Source::Url(place) | Source::File(place) => {
                self.refuse("images", place, "in the request itself: as a data: URL or in base64");
            }
            Source::Text(_) => self.refuse("images", &"text/plain".into(), "as PNG, JPEG, GIF or WebP"),
        }
    }

    fn document(
        &mut self,
        source: &Source<'_>,
        name: Option<&Text<'_>>,
        out: &mut Writer,
        more: impl FnOnce(&mut Writer),
    ) {
        let title = name.map(Text::decoded).unwrap_or_default();
        let (format, member, content) = match source {
            Source::Text(text) => ("txt", "text", text),
            Source::Base64 { media_type, data } => match document_format(&media_type.decoded(), &title) {
                Some(format) => (format, "bytes", data),
                None => {
                    return self.refuse(
                        "documents",
                        media_type,
                        "as pdf, csv, doc, docx, xls, xlsx, html, txt or md",
                    );
                }
            },
            Source::Url(place) | Source::File(place) => {
                return self.refuse("documents", place, "in the request itself, in base64");
            }
        };
        let name = self.names.of(&title);
        out.object(|out| {
            out.object_at("document", |out| {
                out.str_at("format", format);
                out.str_at("name", &name);
                out.object_at("source", |out| out.text_at(member, content));
                more(out);
            });
        });
    }

    /// Refuses the request, for `what` is `given` and only taken `how`.
    fn refuse(&mut self, what: &str, given: &Text<'_>, how: &str) {
        let given: String = given.decoded().chars().take(80).collect();
        let message = format!("Bedrock takes {what} only {how}; here it is {given}");
        self.refused.get_or_insert_with(|| Refused::new(PLACE, message));
    }
}

/// Writes what a tool is called with: an object always. What is none, since the model wrote it wrong, is kept in one.
fn input(arguments: &Arguments<'_>, out: &mut Writer) {
    match arguments {
        Arguments::Value(Value::Object(object)) => out.raw(object.raw),
        Arguments::Value(Value::Null) => out.raw("{}"),
        Arguments::Value(value) => out.object(|out| out.value_at("arguments", value)),
        Arguments::Written(_) if arguments.is_empty() => out.raw("{}"),
        Arguments::Written(written) => match parse(written.decoded().as_bytes()) {
            Ok(Value::Object(object)) => out.raw(object.raw),
            Ok(Value::Null) => out.raw("{}"),
            _ => out.object(|out| out.text_at("arguments", written)),
        },
    }
}

/// Writes Anthropic's block of the same name.
fn search_result(result: &Object<'_>, out: &mut Writer) {
    let empty = Text::plain("");
    out.object(|out| {
        out.object_at("searchResult", |out| {
            out.text_at("source", result.text("source").unwrap_or(&empty));
            out.text_at("title", result.text("title").unwrap_or(&empty));
            out.array_at("content", |out| {
                for text in result.items("content").iter().filter_map(|part| part.as_object()?.text("text")) {
                    out.object(|out| out.text_at("text", text));
                }
            });
            if let Some(is_cited) =
                result.object("citations").and_then(|object| object.get("enabled")?.as_bool())
            {
                out.object_at("citations", |out| out.bool_at("enabled", is_cited));
            }
        });
    });
}
