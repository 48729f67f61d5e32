//! What becomes of each member of a client's request at each upstream's API: the declaration, the test that it is true, and
//! the page that is made of it (`docs/dialects.md`).
//!
//! Only requests that are translated are in it: where the client's API is the upstream's, nothing of the body is read.

mod chat;
mod check;
mod messages;
mod page;
mod responses;

use crate::api::Api;
use crate::provider::Schema;

/// What becomes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is said there, at this place of the request's body.
    To(&'static str),
    /// It is left out, and the client is told of it under this name.
    Dropped(&'static str),
    /// It is said there, in part: what has no place is told of under this name.
    Partly(&'static str, &'static str),
    /// The request is refused, with this member named.
    Refused(&'static str),
    /// There is nothing to say there, for this reason.
    Moot(&'static str),
}

/// A member of a request: its place, where `[]` is each item of an array and `[x]` each whose `type` is `x`; a sample, which
/// is laid over a minimal request; and its fate at each of the upstreams of [`Client::upstreams`].
type Row = (&'static str, &'static str, &'static [Fate]);

/// A client's API.
struct Client {
    api: Api,
    path: &'static str,
    /// A minimal request.
    minimal: &'static str,
    upstreams: &'static [Upstream],
    rows: &'static [Row],
}

/// An upstream's API.
struct Upstream {
    /// What the page calls it.
    name: &'static str,
    schema: Schema,
    is_engine: bool,
    model: &'static str,
}

const OPENAI: Upstream =
    Upstream { name: "OpenAI", schema: Schema::OpenAi, is_engine: false, model: "gpt-4.1" };
const ENGINE: Upstream =
    Upstream { name: "a pool's engine", schema: Schema::OpenAi, is_engine: true, model: "qwen" };
const ANTHROPIC: Upstream =
    Upstream { name: "Anthropic", schema: Schema::Anthropic, is_engine: false, model: "claude-sonnet-4-5" };
const BEDROCK: Upstream = Upstream {
    name: "Bedrock (Converse)",
    schema: Schema::AwsBedrock,
    is_engine: false,
    model: "anthropic.claude-sonnet-4-5-20250929-v1:0",
};
const GEMINI: Upstream =
    Upstream { name: "Gemini", schema: Schema::Gemini, is_engine: false, model: "gemini-2.5-flash" };

/// Every client's API that is translated.
const CLIENTS: [Client; 3] = [chat::CLIENT, messages::CLIENT, responses::CLIENT];
