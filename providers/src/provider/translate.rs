//! Requests that an upstream gets in another form than the client's, and what reads its answers.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, header};

use super::{ANTHROPIC_VERSION, Call, Encoded, Provider, Schema, paths};
use crate::alias::Aliases;
use crate::anthropic::{self, platform::Platform};
use crate::api::{Api, Family};
use crate::bedrock::{self, invoke::InvokeEvents, invoke::Rewrap, paths::Operation};
use crate::conversation::{Conversation, Notes, Refused};
use crate::gemini;
use crate::json::{Object, Text, Value, parse};
use crate::openai;
use crate::response::{FailureForm, Form, InvokeReader, ReadFailure, Translation, WriteFailure};
use crate::responses::{self, echo::Echo};
use crate::translation::{Asked, ReadAnswer, WriteAnswer};

const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// Headers that belong to one API.
const OF_APIS: [HeaderName; 4] = [
    ANTHROPIC_VERSION,
    ANTHROPIC_BETA,
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
];

/// A request of Anthropic's own API for a platform that wraps it.
///
/// # Errors
/// It is no request of that API, or its model has no path there.
pub(super) fn wrapped(provider: &Provider, call: &Call<'_>) -> Result<Encoded, Refused> {
    let document = document(call.body)?;
    let body = object(&document)?;
    let is_stream = is_stream(body);
    let mut notes = Notes::default();
    let is_aws = provider.schema == Schema::AwsAnthropic;
    let platform = if is_aws { Platform::Aws } else { Platform::Gcp };
    let version = provider.place.version.as_deref();
    let rewritten = anthropic::platform::rewrite(body, betas(call), platform, version, &mut notes)?;
    let betas = rewritten.betas.and_then(|betas| HeaderValue::from_str(&betas).ok());
    let headers = vec![(ANTHROPIC_VERSION, None), (ANTHROPIC_BETA, betas)];
    let form = if is_aws && is_stream { Form::Rewrap(Rewrap::default()) } else { Form::Same };
    let asked = asked(call, is_stream, false);
    let failure =
        FailureForm { read: read_failure(provider.schema), write: anthropic::failure::write, has_529: true };
    Ok(Encoded {
        target: target(provider, call, is_stream)?,
        headers,
        body: Some(rewritten.body),
        dropped: notes.names().to_vec(),
        translation: Some(Translation::new(form, failure, asked)),
    })
}

/// A conversation that is put to an upstream of another API.
///
/// # Errors
/// It cannot be put there.
pub(super) fn conversation(provider: &Provider, call: &Call<'_>, api: Api) -> Result<Encoded, Refused> {
    let document = document(call.body)?;
    let body = object(&document)?;
    let (mut notes, mut aliases) = (Notes::default(), Aliases::default());
    let mut conversation = match api {
        Api::Messages => anthropic::request::read(body)?,
        Api::Responses => responses::request::read(body, &mut notes)?,
        _ => openai::request::read(body)?,
    };
    conversation.body = call.body;
    if let Some(model) = call.model {
        conversation.model = Some(Text::Plain(Cow::Borrowed(model)));
    }
    let is_stream = conversation.is_stream;
    let written = write(provider, call, &conversation, &mut aliases, &mut notes)?;
    let asked = asked(call, is_stream, conversation.wants_usage);
    let writer: Box<dyn WriteAnswer> = match api {
        Api::Messages => Box::new(anthropic::answer::Writer::new(asked.clone())),
        Api::Responses => Box::new(responses::answer::Writer::new(asked.clone(), Echo::of(body))),
        _ => Box::new(openai::answer::Writer::new(&asked)),
    };
    let reader = reader(provider.schema, &asked, aliases);
    let has_529 = api.family() == Family::Anthropic;
    let failure = FailureForm { read: read_failure(provider.schema), write: write_failure(api), has_529 };
    Ok(Encoded {
        target: target(provider, call, is_stream)?,
        headers: headers(provider, written.betas),
        body: Some(written.body),
        dropped: notes.names().to_vec(),
        translation: Some(Translation::new(Form::Events { reader, writer }, failure, asked)),
    })
}

pub(super) fn document(body: &[u8]) -> Result<Value<'_>, Refused> {
    parse(body).map_err(|error| Refused::new("", format!("the request body is {error}")))
}

pub(super) fn object<'d, 'a>(document: &'d Value<'a>) -> Result<&'d Object<'a>, Refused> {
    document.as_object().ok_or_else(|| {
        Refused::new("", format!("the request body is {}; expected an object", document.kind()))
    })
}

fn is_stream(body: &Object<'_>) -> bool {
    body.get("stream").and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn asked(call: &Call<'_>, is_stream: bool, wants_usage: bool) -> Asked {
    Asked {
        model: call.asked_model.unwrap_or_default().into(),
        is_stream,
        wants_usage,
        now: call.now,
        request_id: call.request_id.into(),
    }
}

/// The `anthropic-beta` header of a request.
pub(super) fn betas<'a>(call: &Call<'a>) -> Option<&'a str> {
    call.headers.get(&ANTHROPIC_BETA).and_then(|value| value.to_str().ok())
}

/// The conversation in the upstream's API.
fn write(
    provider: &Provider,
    call: &Call<'_>,
    conversation: &Conversation<'_>,
    aliases: &mut Aliases,
    notes: &mut Notes,
) -> Result<anthropic::platform::Request, Refused> {
    let (version, betas) = (provider.place.version.as_deref(), betas(call));
    let gemini = |platform, aliases, notes| {
        let model = conversation.model.as_ref().map(Text::decoded).unwrap_or_default();
        gemini::request::write(conversation, gemini::Target { platform, model: &model }, aliases, notes)
    };
    let claude = |platform, version, aliases, notes| {
        anthropic::request::write(conversation, platform, version, betas, aliases, notes)
    };
    let body = match provider.schema {
        Schema::Anthropic => return claude(Platform::Anthropic, None, aliases, notes),
        Schema::AwsAnthropic => return claude(Platform::Aws, version, aliases, notes),
        Schema::GcpAnthropic => return claude(Platform::Gcp, version, aliases, notes),
        Schema::AwsBedrock => {
            let betas = anthropic::platform::betas(betas, Platform::Aws, notes);
            let betas: Vec<&str> = betas.iter().map(String::as_str).collect();
            bedrock::request::write(conversation, &betas, aliases, notes)
        }
        Schema::GcpVertexAi => gemini(gemini::Platform::Vertex, aliases, notes),
        Schema::Gemini => gemini(gemini::Platform::GeminiApi, aliases, notes),
        Schema::OpenAi | Schema::AzureOpenAi | Schema::Cohere => {
            let upstream = if provider.is_engine {
                openai::request::Upstream::Engine
            } else {
                openai::request::Upstream::OpenAi
            };
            openai::request::write(conversation, notes, upstream, aliases)
        }
    };
    body.map(|body| anthropic::platform::Request { body, betas: None })
}

/// Path and query of a conversation there.
fn target(provider: &Provider, call: &Call<'_>, is_stream: bool) -> Result<String, Refused> {
    let method = if is_stream { gemini::paths::Method::Stream } else { gemini::paths::Method::Generate };
    let place = provider.google_place();
    match provider.schema {
        Schema::Anthropic => Ok(paths::messages(provider)),
        Schema::AwsBedrock => {
            let operation = if is_stream { Operation::ConverseStream } else { Operation::Converse };
            bedrock::paths::path(model(call)?, operation)
        }
        Schema::AwsAnthropic => {
            let operation = if is_stream { Operation::InvokeStream } else { Operation::Invoke };
            bedrock::paths::path(model(call)?, operation)
        }
        Schema::GcpVertexAi => named(gemini::paths::vertex(place, model(call)?, method)),
        Schema::GcpAnthropic => named(gemini::paths::vertex_anthropic(place, model(call)?, method)),
        Schema::Gemini => named(gemini::paths::gemini_api(model(call)?, method)),
        Schema::OpenAi | Schema::AzureOpenAi | Schema::Cohere => paths::chat(provider, call),
    }
}

/// The model, as the upstream calls it.
///
/// # Errors
/// The request names none.
pub(super) fn model<'a>(call: &Call<'a>) -> Result<&'a str, Refused> {
    let message = "`model` is missing: the upstream's path names it";
    call.model.ok_or_else(|| Refused::new("model", message))
}

/// A path of Google's.
///
/// # Errors
/// A name cannot be part of it.
pub(super) fn named(path: Result<String, gemini::paths::BadName>) -> Result<String, Refused> {
    path.map_err(|bad| Refused::new("model", bad.to_string()))
}

/// Headers of a conversation there: none of the client's API, and those of the upstream's.
pub(super) fn headers(provider: &Provider, betas: Option<String>) -> Vec<(HeaderName, Option<HeaderValue>)> {
    let mut headers = Vec::with_capacity(OF_APIS.len() + 4);
    headers.extend(OF_APIS.iter().map(|name| (name.clone(), None)));
    // What a client says that it reads is its own API's media type, which Bedrock takes for the model's.
    headers.push((header::ACCEPT, None));
    headers.push((header::CONTENT_TYPE, Some(HeaderValue::from_static("application/json"))));
    if provider.schema == Schema::Anthropic {
        headers.push((ANTHROPIC_VERSION, Some(provider.anthropic_version())));
    }
    if let Some(betas) = betas.and_then(|betas| HeaderValue::from_str(&betas).ok()) {
        headers.push((ANTHROPIC_BETA, Some(betas)));
    }
    headers
}

fn reader(schema: Schema, asked: &Asked, aliases: Aliases) -> Box<dyn ReadAnswer> {
    let claude = |aliases| {
        let whole = anthropic::answer::Reader::whole;
        if asked.is_stream { anthropic::answer::Reader::stream(aliases) } else { whole(aliases) }
    };
    match schema {
        Schema::AwsAnthropic if asked.is_stream => {
            Box::new(InvokeReader::new(InvokeEvents::default(), claude(aliases)))
        }
        Schema::Anthropic | Schema::AwsAnthropic | Schema::GcpAnthropic => Box::new(claude(aliases)),
        Schema::AwsBedrock => Box::new(bedrock::answer::Reader::new(aliases, asked.is_stream)),
        Schema::GcpVertexAi | Schema::Gemini => {
            Box::new(gemini::answer::Reader::new(asked.is_stream, aliases, &asked.request_id))
        }
        Schema::OpenAi | Schema::AzureOpenAi | Schema::Cohere => {
            Box::new(openai::answer::Reader::new(asked, aliases))
        }
    }
}

/// What reads the failures of an upstream: status, `x-amzn-errortype`, and body.
pub(super) fn read_failure(schema: Schema) -> ReadFailure {
    match schema.family() {
        Family::Bedrock => bedrock::failure::read,
        Family::Anthropic => |status, _, body| anthropic::failure::read(status, body),
        Family::Google => |status, _, body| gemini::failure::read(status, body),
        Family::OpenAi | Family::Cohere => |status, _, body| openai::failure::read(status, body),
    }
}

/// What writes failures for a client.
pub(super) fn write_failure(api: Api) -> WriteFailure {
    match api {
        Api::Messages | Api::CountTokens => anthropic::failure::write,
        _ => openai::failure::write,
    }
}
