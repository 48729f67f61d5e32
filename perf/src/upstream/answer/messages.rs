//! Answers of Anthropic's API.

use crate::upstream::request::ParsedRequest;

/// The events of a stream before its first token.
pub(super) const BEGIN: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_0\",\
    \"type\":\"message\",\"role\":\"assistant\",\"model\":\"model\",\"content\":[],\"stop_reason\":null,\
    \"stop_sequence\":null,\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n\
    event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\
    \"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";

/// A token of a stream.
pub(super) const TOKEN: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
    \"delta\":{\"type\":\"text_delta\",\"text\":\"the \"}}\n\n";

/// The last events of a stream.
pub(super) fn end(request: &ParsedRequest) -> String {
    format!(
        "event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":0}}\n\n\
         event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"max_tokens\",\
         \"stop_sequence\":null}},{}}}\n\n\
         event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n",
        usage(request)
    )
}

/// A whole answer with this text.
pub(super) fn whole(text: &str, request: &ParsedRequest) -> String {
    format!(
        "{{\"id\":\"msg_0\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"model\",\
         \"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}],\"stop_reason\":\"max_tokens\",\
         \"stop_sequence\":null,{}}}",
        usage(request)
    )
}

fn usage(request: &ParsedRequest) -> String {
    let ParsedRequest { prompt_tokens, max_tokens, .. } = request;
    format!("\"usage\":{{\"input_tokens\":{prompt_tokens},\"output_tokens\":{max_tokens}}}")
}
