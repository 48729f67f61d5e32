//! Paths of Bedrock's API.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::conversation::Refused;

/// The longest id that the API takes, in bytes.
const MAX_ID_BYTES: usize = 2048;

/// Regions that the id of an inference profile may begin with.
const PROFILES: [&str; 8] = ["us", "us-gov", "eu", "apac", "jp", "au", "ca", "global"];

/// All but RFC 3986's unreserved characters: a signature covers the path, so that both sides have to encode alike.
pub(super) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What a model is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An answer in the common form of all models, whole.
    Converse,
    /// The same as a stream.
    ConverseStream,
    /// An answer in the model's own form, whole.
    Invoke,
    /// The same as a stream.
    InvokeStream,
    /// The number of a request's tokens.
    CountTokens,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Converse => "converse",
            Self::ConverseStream => "converse-stream",
            Self::Invoke => "invoke",
            Self::InvokeStream => "invoke-with-response-stream",
            Self::CountTokens => "count-tokens",
        }
    }
}

/// The path at which `model`, an id or an ARN, is asked. The id is one segment, whatever is in it.
///
/// # Errors
/// The id is empty, too long, or one that a path would be resolved by (`.`, `..`).
pub fn path(model: &str, operation: Operation) -> Result<String, Refused> {
    let is_sound = (1..=MAX_ID_BYTES).contains(&model.len()) && !matches!(model, "." | "..");
    if !is_sound {
        let message =
            "the model's name is no id or ARN of a model on Bedrock, as anthropic.claude-sonnet-4-6 is";
        return Err(Refused::new("model", message));
    }
    // Tokens are counted by models only, not by the profiles that spread them over regions.
    let id = if operation == Operation::CountTokens { without_profile(model) } else { model };
    Ok(format!("/model/{}/{}", utf8_percent_encode(id, RESERVED), operation.name()))
}

/// The model behind an inference profile that AWS made: `eu.anthropic.claude-…` is a profile of `anthropic.claude-…`.
pub(super) fn without_profile(id: &str) -> &str {
    match id.split_once('.') {
        Some((region, model)) if PROFILES.contains(&region) && model.contains('.') => model,
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment() {
        for (model, operation, expected) in [
            (
                "anthropic.claude-3-haiku-20240307-v1:0",
                Operation::Converse,
                "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
            ),
            (
                "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc123",
                Operation::ConverseStream,
                "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Aapplication-inference-profile%2Fabc123/\
                 converse-stream",
            ),
            ("../../x?y#z%2F\\", Operation::Invoke, "/model/..%2F..%2Fx%3Fy%23z%252F%5C/invoke"),
            ("ü m\r\n", Operation::InvokeStream, "/model/%C3%BC%20m%0D%0A/invoke-with-response-stream"),
            ("us.amazon.nova-pro-v1:0", Operation::Invoke, "/model/us.amazon.nova-pro-v1%3A0/invoke"),
            ("us.amazon.nova-pro-v1:0", Operation::CountTokens, "/model/amazon.nova-pro-v1%3A0/count-tokens"),
            ("amazon.nova-pro-v1:0", Operation::CountTokens, "/model/amazon.nova-pro-v1%3A0/count-tokens"),
        ] {
            assert_eq!(path(model, operation).unwrap(), expected);
        }
    }

    #[test]
    fn an_id_that_would_change_the_path_is_refused() {
        for model in ["", ".", "..", &"x".repeat(2049)] {
            assert_eq!(path(model, Operation::Converse).unwrap_err().param, "model", "{model}");
        }
    }
}
