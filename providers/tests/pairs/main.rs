//! What a request or an answer says, it says after translation as well: for every pair of a client's API and an upstream's
//! that differ, with readers and writers of each API that are the tests' own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use http::HeaderMap;
use penstock_providers::{Call, Encoded, Place, Provider, Schema};

#[path = "../support/frames.rs"]
mod frames;

mod answers;
mod requests;

/// The path of OpenAI's chat.
const CHAT: &str = "/v1/chat/completions";

/// The path of Anthropic's Messages.
const MESSAGES: &str = "/v1/messages";

/// OpenAI's chat, Anthropic's Messages, OpenAI's Responses.
const PATHS: [&str; 3] = [CHAT, MESSAGES, "/v1/responses"];

/// An upstream of each API; OpenAI's is an engine that has chat alone.
const SCHEMAS: [Schema; 4] = [Schema::OpenAi, Schema::Anthropic, Schema::AwsBedrock, Schema::Gemini];

/// Whether an upstream has a client's API itself.
fn is_same(path: &str, schema: Schema) -> bool {
    matches!((path, schema), (CHAT, Schema::OpenAi) | (MESSAGES, Schema::Anthropic))
}

/// What the upstream is asked.
fn encode(path: &str, schema: Schema, body: &str) -> (Encoded, Vec<u8>) {
    let (headers, model) = (HeaderMap::new(), "claude-3-5-sonnet");
    let call = Call {
        model: Some(model),
        asked_model: Some(model),
        request_id: "r1",
        ..Call::new(path, &headers, body.as_bytes())
    };
    let served = penstock_providers::Served { messages: false, responses: false };
    let provider = Provider::new(schema, Place::default(), schema == Schema::OpenAi).serving(served);
    let mut encoded = provider.encode(&call).unwrap();
    let written = encoded.body.take().unwrap().concat(call.body);
    (encoded, written)
}
