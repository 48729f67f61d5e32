//! What the events of a response that failed call its failure. Bodies of errors are those of OpenAI's other API.

use crate::answer::FailureKind;

/// What a response that failed calls it, where clients look at a code alone: what the API lists, and the code of a prompt
/// that is too long, which it sends without listing it.
pub(super) fn stream_code(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::InvalidRequest | FailureKind::ContentPolicy | FailureKind::TooLarge => "invalid_prompt",
        FailureKind::ContextLength => "context_length_exceeded",
        FailureKind::Billing => "insufficient_quota",
        FailureKind::RateLimit => "rate_limit_exceeded",
        // Nothing that the client could mend.
        FailureKind::Authentication
        | FailureKind::Permission
        | FailureKind::NotFound
        | FailureKind::Server
        | FailureKind::Overloaded
        | FailureKind::Timeout => "server_error",
    }
}
