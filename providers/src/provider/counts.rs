//! Requests for the number of a prompt's tokens (Anthropic's `/v1/messages/count_tokens`), which is a request for a
//! conversation that nobody answers.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::translate::{asked, betas, document, headers, model, named, object, read_failure};
use super::{Call, Encoded, Provider, Schema, paths};
use crate::alias::Aliases;
use crate::anthropic::{self, platform::Platform};
use crate::bedrock::{self, paths::Operation};
use crate::conversation::{Conversation, Notes, Refused};
use crate::document::{Document, DocumentForm};
use crate::gemini::{self, paths::Method};
use crate::json::{Object, Text, Writer};
use crate::openai;
use crate::response::{FailureForm, Form, Translation};
use crate::translation::Whole;

/// What of a conversation counts there: the rest of a request is refused.
const OF_CONVERSE: [&str; 4] = ["messages", "system", "toolConfig", "additionalModelRequestFields"];
const OF_VERTEX: [&str; 3] = ["contents", "systemInstruction", "tools"];
const OF_GEMINI: [&str; 4] = ["contents", "systemInstruction", "tools", "toolConfig"];
const OF_TOKENIZE: [&str; 4] = ["model", "messages", "tools", "chat_template_kwargs"];

/// A request for the number of a prompt's tokens.
///
/// # Errors
/// It cannot be put there.
pub(super) fn count_tokens(provider: &Provider, call: &Call<'_>) -> Result<Encoded, Refused> {
    let parsed = document(call.body)?;
    let body = object(&parsed)?;
    let mut notes = Notes::default();
    let (target, body, betas, number) = match provider.schema {
        Schema::AwsAnthropic => {
            let rewritten = claude(provider, call, body, Platform::Aws, &mut notes)?;
            let path = bedrock::paths::path(model(call)?, Operation::CountTokens)?;
            (path, invoke_model(&rewritten.body.concat(call.body)), None, Some("inputTokens"))
        }
        Schema::GcpAnthropic => {
            let rewritten = claude(provider, call, body, Platform::Gcp, &mut notes)?;
            let model = gemini::paths::versioned(model(call)?);
            let path =
                named(gemini::paths::vertex_anthropic(provider.google_place(), &model, Method::CountTokens))?;
            let body = with_member(rewritten.body.concat(call.body), |out| out.str_at("model", &model));
            // The answer is Anthropic's own.
            (path, body, rewritten.betas, None)
        }
        _ => {
            let (target, body, number) = translated(provider, call, body, &mut notes)?;
            (target, body, None, Some(number))
        }
    };
    let form = match number {
        None => Form::Same,
        Some(number) => Form::Document {
            document: Document { form: DocumentForm::TokenCount { number }, count: 1 },
            whole: Whole::default(),
            tokens: None,
        },
    };
    let failure =
        FailureForm { read: read_failure(provider.schema), write: anthropic::failure::write, has_529: true };
    Ok(Encoded {
        target,
        headers: headers(provider, betas),
        body: Some(body.into()),
        dropped: notes.names().to_vec(),
        translation: Some(Translation::new(form, failure, asked(call, false, false))),
    })
}

/// A conversation put to an API that counts its own: path, body, and what the number is called in the answer.
fn translated(
    provider: &Provider,
    call: &Call<'_>,
    body: &Object<'_>,
    notes: &mut Notes,
) -> Result<(String, Vec<u8>, &'static str), Refused> {
    let mut aliases = Aliases::default();
    let read = anthropic::request::read(body)?;
    let name = model(call)?;
    // What is asked for beside the prompt is not counted, and may not be said.
    let conversation = Conversation {
        model: Some(Text::from(name)),
        system: read.system,
        turns: read.turns,
        tools: read.tools,
        tool_choice: read.tool_choice,
        reasoning: read.reasoning,
        rest: read.rest,
        ..Conversation::default()
    };
    let google = |platform, aliases: &mut Aliases, notes: &mut Notes| {
        let to = gemini::Target { platform, model: name };
        Ok::<_, Refused>(gemini::request::write(&conversation, to, aliases, notes)?.concat(conversation.body))
    };
    Ok(match provider.schema {
        Schema::AwsBedrock => {
            let written =
                bedrock::request::write(&conversation, &[], &mut aliases, notes)?.concat(conversation.body);
            let path = bedrock::paths::path(name, Operation::CountTokens)?;
            let converse = picked(&written, &OF_CONVERSE, |_| {})?;
            (path, within("input", &within("converse", &converse)), "inputTokens")
        }
        Schema::GcpVertexAi => {
            let written = google(gemini::Platform::Vertex, &mut aliases, notes)?;
            let path = named(gemini::paths::vertex(provider.google_place(), name, Method::CountTokens))?;
            (path, picked(&written, &OF_VERTEX, |_| {})?, "totalTokens")
        }
        Schema::Gemini => {
            let written = google(gemini::Platform::GeminiApi, &mut aliases, notes)?;
            let path = named(gemini::paths::gemini_api(name, Method::CountTokens))?;
            let model = format!("models/{}", name.strip_prefix("models/").unwrap_or(name));
            let body = picked(&written, &OF_GEMINI, |out| out.str_at("model", &model))?;
            (path, within("generateContentRequest", &body), "totalTokens")
        }
        _ => {
            let upstream = openai::request::Upstream::Engine;
            let written = openai::request::write(&conversation, notes, upstream, &mut aliases)?
                .concat(conversation.body);
            // As the answer to the last message would begin.
            let prompted = |out: &mut Writer| out.bool_at("add_generation_prompt", true);
            let body = picked(&written, &OF_TOKENIZE, prompted)?;
            (paths::tokenize(provider), body, "count")
        }
    })
}

/// The client's request in the form of a platform of Claude's, which takes none without a limit.
fn claude(
    provider: &Provider,
    call: &Call<'_>,
    body: &Object<'_>,
    platform: Platform,
    notes: &mut Notes,
) -> Result<anthropic::platform::Request, Refused> {
    let version = provider.place.version.as_deref();
    let mut request = anthropic::platform::rewrite(body, betas(call), platform, version, notes)?;
    if platform == Platform::Aws && body.get("max_tokens").is_none() {
        let written = request.body.concat(call.body);
        request.body = with_member(written, |out| out.raw_at("max_tokens", "1")).into();
    }
    Ok(request)
}

/// The number of tokens of a body of `InvokeModel`.
fn invoke_model(body: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.object(|out| out.str_at("body", &BASE64_STANDARD.encode(body)));
    within("input", &within("invokeModel", &out.finish()))
}

/// `object`, which is one and has members, with one more.
fn with_member(mut object: Vec<u8>, member: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::default();
    out.object(member);
    if object.pop() == Some(b'}') {
        object.push(b',');
    }
    object.extend_from_slice(out.finish().get(1..).unwrap_or_default());
    object
}

/// An object with `object` as its only member.
fn within(name: &str, object: &[u8]) -> Vec<u8> {
    [b"{\"", name.as_bytes(), b"\":", object, b"}"].concat()
}

/// Those members of `object` that are among `names`, and one more.
///
/// # Errors
/// Never: it was written here.
fn picked(object: &[u8], names: &[&str], more: impl FnOnce(&mut Writer)) -> Result<Vec<u8>, Refused> {
    let parsed = document(object)?;
    let object = self::object(&parsed)?;
    let mut out = Writer::default();
    out.object(|out| {
        more(out);
        for (name, value) in object.members.iter().filter(|(name, _)| names.contains(&name.as_ref())) {
            out.value_at(name, value);
        }
    });
    Ok(out.finish())
}
