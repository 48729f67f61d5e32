//! How likely the tokens of an answer were, in OpenAI's form.

use std::borrow::Cow;

use crate::answer::Event;
use crate::json::{Object, Value, Writer};

/// Hands on what a candidate says of its tokens (`logprobsResult`).
pub(super) fn read(candidate: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
    let Some(result) = candidate.object("logprobsResult") else { return };
    let top = result.items("topCandidates");
    let mut out = Writer::default();
    out.array(|out| {
        for (at, chosen) in result.items("chosenCandidates").iter().enumerate() {
            let Some(chosen) = chosen.as_object() else { continue };
            let others = top.get(at).and_then(Value::as_object).map(|top| top.items("candidates"));
            out.object(|out| {
                token(chosen, out);
                out.array_at("top_logprobs", |out| {
                    for other in others.unwrap_or_default().iter().filter_map(Value::as_object) {
                        out.object(|out| token(other, out));
                    }
                });
            });
        }
    });
    let written = String::from_utf8(out.finish()).unwrap_or_default();
    let items = written.strip_prefix('[').and_then(|written| written.strip_suffix(']')).unwrap_or_default();
    if !items.is_empty() {
        sink(Event::Logprobs(Cow::Borrowed(items)));
    }
}

fn token(candidate: &Object<'_>, out: &mut Writer) {
    let token = candidate.text("token").map(|token| token.decoded()).unwrap_or_default();
    out.str_at("token", &token);
    out.raw_at("logprob", candidate.get("logProbability").and_then(Value::as_number).unwrap_or("0"));
    out.array_at("bytes", |out| token.bytes().for_each(|byte| out.u64(u64::from(byte))));
}
