//! What a response repeats of its request.
//!
//! Clients have typed models of a response in which many of these members are required. They are put together when the
//! request is read, as text that goes into each copy of the response as it is: a stream has three.

use crate::json::{Object, Writer};

/// Members of a response that the request decides: written, with commas in between, without braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Echo {
    members: String,
}

impl Echo {
    /// What the response to this request repeats. What the request does not say is the API's default where that is the
    /// same for each model, and else `null`.
    pub(crate) fn of(body: &Object<'_>) -> Self {
        /// Members that are repeated as they are, and what they are by default.
        const REPEATED: [(&str, &str); 13] = [
            ("instructions", "null"),
            ("max_output_tokens", "null"),
            ("max_tool_calls", "null"),
            ("metadata", "{}"),
            ("parallel_tool_calls", "true"),
            ("prompt_cache_key", "null"),
            ("safety_identifier", "null"),
            ("temperature", "null"),
            ("tool_choice", "\"auto\""),
            ("tools", "[]"),
            ("top_p", "null"),
            ("truncation", "\"disabled\""),
            ("user", "null"),
        ];
        let mut out = Writer::default();
        out.object(|out| {
            for (name, default) in REPEATED {
                match body.get(name) {
                    Some(value) => out.value_at(name, value),
                    None => out.raw_at(name, default),
                }
            }
            // As it is here, whatever the request asks for.
            out.bool_at("background", false);
            out.raw_at("previous_response_id", "null");
            out.bool_at("store", false);
            out.object_at("reasoning", |out| {
                let reasoning = body.object("reasoning");
                for name in ["effort", "summary"] {
                    match reasoning.and_then(|reasoning| reasoning.get(name)) {
                        Some(value) => out.value_at(name, value),
                        None => out.raw_at(name, "null"),
                    }
                }
            });
            out.object_at("text", |out| {
                let text = body.object("text");
                match text.and_then(|text| text.get("format")) {
                    Some(format) => out.value_at("format", format),
                    None => out.raw_at("format", r#"{"type":"text"}"#),
                }
                if let Some(verbosity) = text.and_then(|text| text.get("verbosity")) {
                    out.value_at("verbosity", verbosity);
                }
            });
        });
        let mut members = String::from_utf8(out.finish()).unwrap_or_default();
        members.pop();
        members.drain(..members.len().min(1));
        Self { members }
    }

    /// Writes the members into the object that is being written.
    pub(super) fn write(&self, out: &mut Writer) {
        out.raw(&self.members);
    }
}
