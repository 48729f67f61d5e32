//! Request bodies, with their fields in the order in which OpenAI's Python client sends them.

use bytes::{BufMut, Bytes, BytesMut};
use clap::ValueEnum;

use super::Models;

/// The API that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Api {
    /// `/v1/chat/completions`
    #[default]
    Chat,
    /// `/v1/completions`
    Completions,
}

impl Api {
    /// Its path.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
        }
    }
}

/// What all bodies of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct BodyFormat {
    pub(crate) api: Api,
    pub(crate) is_stream: bool,
    /// Ask for an answer of exactly so many tokens (`ignore_eos`, which vLLM and SGLang know).
    pub(crate) fixes_length: bool,
    pub(crate) models: Models,
}

impl BodyFormat {
    /// The body up to the end of the prompt.
    pub(super) fn prompt(&self, messages: &[(&str, String)]) -> Bytes {
        let bytes: usize = messages.iter().map(|(_, text)| text.len() + 48).sum();
        let mut body = BytesMut::with_capacity(bytes + 16);
        match self.api {
            Api::Chat => {
                body.put_slice(b"{\"messages\":[");
                for (index, (role, text)) in messages.iter().enumerate() {
                    if index > 0 {
                        body.put_u8(b',');
                    }
                    for part in ["{\"role\":\"", role, "\",\"content\":"] {
                        body.put_slice(part.as_bytes());
                    }
                    push_quoted(&mut body, text);
                    body.put_u8(b'}');
                }
                body.put_u8(b']');
            }
            Api::Completions => {
                body.put_slice(b"{\"prompt\":");
                let texts: Vec<&str> = messages.iter().map(|(_, text)| text.as_str()).collect();
                push_quoted(&mut body, &texts.concat());
            }
        }
        body.freeze()
    }

    /// What comes behind the prompt.
    pub(super) fn tail(&self, model: &str, output_tokens: u64) -> Bytes {
        let mut tail = BytesMut::with_capacity(128);
        tail.put_slice(b",\"model\":");
        push_quoted(&mut tail, model);
        tail.put_slice(b",\"max_tokens\":");
        tail.put_slice(output_tokens.to_string().as_bytes());
        if self.fixes_length {
            tail.put_slice(b",\"ignore_eos\":true");
        }
        if self.is_stream {
            tail.put_slice(b",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
        }
        tail.put_u8(b'}');
        tail.freeze()
    }
}

fn push_quoted(body: &mut BytesMut, text: &str) {
    // Words of our own never need escapes; a model's answer may.
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        body.put_slice(serde_json::Value::from(text).to_string().as_bytes());
    } else {
        body.put_u8(b'"');
        body.put_slice(text.as_bytes());
        body.put_u8(b'"');
    }
}
