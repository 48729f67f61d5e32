//! The inference endpoints and their paths.

use http::Method;

/// An inference endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
    Responses,
    Messages,
    Embeddings,
    Rerank,
    Score,
    Tokenize,
    Detokenize,
    Transcription,
    Speech,
    Images,
    LoadLora,
    UnloadLora,
    Models,
    Version,
}

impl Endpoint {
    /// Every endpoint with its paths and its method.
    const TABLE: [(&'static str, Self); 24] = [
        ("/v1/chat/completions", Self::Chat),
        ("/v1/completions", Self::Completions),
        ("/v1/responses", Self::Responses),
        ("/v1/messages", Self::Messages),
        ("/v1/embeddings", Self::Embeddings),
        ("/rerank", Self::Rerank),
        ("/v1/rerank", Self::Rerank),
        ("/v2/rerank", Self::Rerank),
        ("/score", Self::Score),
        ("/v1/score", Self::Score),
        ("/tokenize", Self::Tokenize),
        ("/v1/tokenize", Self::Tokenize),
        ("/detokenize", Self::Detokenize),
        ("/v1/detokenize", Self::Detokenize),
        ("/v1/audio/transcriptions", Self::Transcription),
        ("/v1/audio/translations", Self::Transcription),
        ("/v1/audio/speech", Self::Speech),
        ("/v1/images/generations", Self::Images),
        ("/v1/images/edits", Self::Images),
        ("/v1/load_lora_adapter", Self::LoadLora),
        ("/v1/unload_lora_adapter", Self::UnloadLora),
        ("/v1/models", Self::Models),
        ("/models", Self::Models),
        ("/version", Self::Version),
    ];

    /// The endpoint of a path, with the path as metrics name it.
    pub(crate) fn of(path: &str) -> Option<(&'static str, Self)> {
        Self::TABLE.into_iter().find(|(known, _)| *known == path)
    }

    /// Its method, with the name that metrics give it.
    pub(super) fn method(self) -> (Method, &'static str) {
        match self {
            Self::Models | Self::Version => (Method::GET, "GET"),
            _ => (Method::POST, "POST"),
        }
    }
}
