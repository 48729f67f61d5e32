//! What an answer counts, and why it ends: read, and written.

use crate::answer::{Finish, Usage};
use crate::json::{Object, Writer};

/// Reads `usage`, with the members in which compatible servers tell of their caches.
pub(super) fn read(usage: &Object<'_>) -> Usage {
    let prompt = usage.object("prompt_tokens_details");
    let completion = usage.object("completion_tokens_details");
    let of_prompt = |name| prompt.and_then(|details| details.u64(name));
    Usage {
        input: usage.u64("prompt_tokens"),
        output: usage.u64("completion_tokens"),
        cache_read: of_prompt("cached_tokens").or(usage.u64("prompt_cache_hit_tokens")),
        cache_write: of_prompt("cache_write_tokens").or(of_prompt("cache_creation_input_tokens")),
        reasoning: completion.and_then(|details| details.u64("reasoning_tokens")),
    }
}

/// Writes `usage`, if anything is known of it.
pub(super) fn write_at(usage: &Usage, out: &mut Writer) {
    if usage.input.is_none() && usage.output.is_none() {
        return;
    }
    out.object_at("usage", |out| {
        out.u64_at("prompt_tokens", usage.input.unwrap_or(0));
        out.u64_at("completion_tokens", usage.output.unwrap_or(0));
        out.u64_at("total_tokens", usage.total());
        if usage.cache_read.is_some() || usage.cache_write.is_some() {
            out.object_at("prompt_tokens_details", |out| {
                out.u64_at("cached_tokens", usage.cache_read.unwrap_or(0));
                if let Some(written) = usage.cache_write {
                    out.u64_at("cache_write_tokens", written);
                }
            });
        }
        if let Some(reasoning) = usage.reasoning {
            out.object_at("completion_tokens_details", |out| out.u64_at("reasoning_tokens", reasoning));
        }
    });
}

/// Why an answer ends; `None` if it does not end but fail. Names that OpenAI has not are those of compatible servers.
pub(super) fn finish(reason: &str) -> Option<Finish> {
    match reason {
        "length" | "max_tokens" | "model_length" => Some(Finish::Length),
        "tool_calls" | "function_call" => Some(Finish::ToolCalls),
        "content_filter" => Some(Finish::ContentFilter),
        "error" | "abort" | "insufficient_system_resource" => None,
        _ => Some(Finish::Stop),
    }
}

/// What OpenAI calls the reason.
pub(super) fn finish_reason(reason: Finish) -> &'static str {
    match reason {
        Finish::Stop | Finish::StopSequence | Finish::Pause => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    }
}
