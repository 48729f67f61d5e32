//! What the first candidate of a response says.

use super::{Answer, citations, logprobs};
use crate::alias::safe;
use crate::answer::{Event, Failure, FailureKind, Finish};
use crate::gemini::SIGNATURE_MARK;
use crate::json::{Object, Text, Value};

/// The longest id of a call that OpenAI takes, which its clients may be sent on to.
const MAX_ID_LEN: usize = 40;

impl Answer {
    pub(super) fn candidate(&mut self, candidate: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        let parts = candidate.object("content").map(|content| content.items("parts")).unwrap_or_default();
        for part in parts.iter().filter_map(Value::as_object) {
            self.part(part, sink);
        }
        citations::read(candidate, sink);
        logprobs::read(candidate, sink);
        let Some(reason) = candidate.text("finishReason") else { return };
        match finish(&reason.decoded()) {
            End::Finish(finish) => self.finish = Some(finish),
            End::Failure(status, kind) => {
                let message = match candidate.text("finishMessage") {
                    Some(message) => message.clone(),
                    None => Text::from(format!("the model's answer ended with {}", reason.decoded())),
                };
                self.fail(Failure { status, kind, message, code: Some(reason.clone()), param: None }, sink);
            }
            End::None => {}
        }
    }

    fn part(&mut self, part: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        let signature = part.text("thoughtSignature").filter(|signature| !signature.is_empty());
        let is_thought = part.get("thought").and_then(Value::as_bool) == Some(true);
        if is_thought {
            if let Some(text) = part.text("text").filter(|text| !text.is_empty()) {
                sink(Event::Reasoning(text.clone()));
                self.is_thought_open = true;
            }
            if let Some(signature) = signature {
                self.sign_thought(signature, sink);
            }
            return;
        }
        let text = part.text("text");
        let call = part.object("functionCall");
        let media = part.object("inlineData");
        if let Some(signature) = signature
            && (text.is_some() || call.is_some())
        {
            self.sign_thought(signature, sink);
        }
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.is_thought_open = false;
            sink(Event::Text(text.clone()));
        }
        if let Some(call) = call {
            self.is_thought_open = false;
            self.call(call, signature, sink);
        }
        if let Some(media) = media {
            self.is_thought_open = false;
            draw(media, sink);
        }
    }

    /// Ends the thought that is open, if one is, with the signature of what came next.
    fn sign_thought(&mut self, signature: &Text<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        if std::mem::take(&mut self.is_thought_open) {
            let marked = format!("{SIGNATURE_MARK}{}", signature.decoded());
            sink(Event::Signature(Text::from(marked)));
        }
    }

    fn call(&mut self, function: &Object<'_>, signature: Option<&Text<'_>>, sink: &mut dyn FnMut(Event<'_>)) {
        let call = self.calls;
        self.calls += 1;
        let id = match function.text("id").filter(|id| !id.is_empty()) {
            Some(id) => id.clone(),
            None => Text::from(safe(&format!("call_{}_{call}", self.id), MAX_ID_LEN).into_owned()),
        };
        let name = function.text("name").map(Text::decoded).unwrap_or_default();
        let name = Text::from(self.aliases.name(&name));
        sink(Event::ToolCall { call, id, name, signature: signature.cloned() });
        if let Some(arguments) = function.object("args").filter(|arguments| !arguments.members.is_empty()) {
            sink(Event::Arguments { call, text: Text::from(arguments.raw) });
        }
        sink(Event::EndOfPart);
    }
}

/// An image as Markdown, anything else as a link; the bytes are copied as they are.
fn draw(media: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
    let (Some(data), Some(media_type)) = (media.text("data"), media.text("mimeType")) else { return };
    let media_type = media_type.decoded();
    let is_image = media_type.starts_with("image/");
    let start = if is_image { "![image]".to_owned() } else { format!("[{media_type}]") };
    sink(Event::Text(Text::from(format!("{start}(data:{media_type};base64,"))));
    sink(Event::Text(data.clone()));
    sink(Event::Text(Text::from(")")));
}

enum End {
    Finish(Finish),
    /// The model did not get anywhere.
    Failure(u16, FailureKind),
    /// Not the end.
    None,
}

fn finish(reason: &str) -> End {
    match reason {
        "" | "FINISH_REASON_UNSPECIFIED" => End::None,
        "MAX_TOKENS" => End::Finish(Finish::Length),
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "IMAGE_OTHER" => End::Finish(Finish::ContentFilter),
        // The model wrote what Google could not read, and shows nothing of it: another try may do better.
        "MALFORMED_FUNCTION_CALL" | "MALFORMED_RESPONSE" | "UNEXPECTED_TOOL_CALL" | "TOO_MANY_TOOL_CALLS" => {
            End::Failure(502, FailureKind::Server)
        }
        "MISSING_THOUGHT_SIGNATURE" => End::Failure(400, FailureKind::InvalidRequest),
        // `STOP`, and what is not known of.
        _ => End::Finish(Finish::Stop),
    }
}
