//! The inference endpoints and their paths.

use http::Method;

/// The forms of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorDialect {
    OpenAi,
    Anthropic,
    Aws,
    Google,
}

/// The model that a path names, decoded.
pub(super) fn model_of(path: &str) -> String {
    let segment = match path.strip_prefix("/model/") {
        Some(rest) => rest.split('/').next(),
        None => path.rsplit('/').next().and_then(|last| last.split(':').next()),
    };
    percent_encoding::percent_decode_str(segment.unwrap_or_default()).decode_utf8_lossy().into_owned()
}

/// An inference endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
    Responses,
    Messages,
    /// AWS Bedrock's.
    Converse {
        streams: bool,
    },
    /// Google's.
    GenerateContent {
        streams: bool,
    },
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
        Self::TABLE.into_iter().find(|(known, _)| *known == path).or_else(|| Self::of_model(path))
    }

    /// The endpoint of a path that has the model in it.
    fn of_model(path: &str) -> Option<(&'static str, Self)> {
        let last = path.rsplit('/').next()?;
        if path.starts_with("/model/") {
            return match last {
                "converse" => Some(("/model/{model}/converse", Self::Converse { streams: false })),
                "converse-stream" => {
                    Some(("/model/{model}/converse-stream", Self::Converse { streams: true }))
                }
                _ => None,
            };
        }
        if !path.contains("/models/") {
            return None;
        }
        match last.split_once(':')?.1 {
            "generateContent" => {
                Some(("/models/{model}:generateContent", Self::GenerateContent { streams: false }))
            }
            "streamGenerateContent" => {
                Some(("/models/{model}:streamGenerateContent", Self::GenerateContent { streams: true }))
            }
            _ => None,
        }
    }

    /// How its errors are worded.
    pub(crate) fn dialect(self) -> ErrorDialect {
        match self {
            Self::Messages => ErrorDialect::Anthropic,
            Self::Converse { .. } => ErrorDialect::Aws,
            Self::GenerateContent { .. } => ErrorDialect::Google,
            _ => ErrorDialect::OpenAi,
        }
    }

    /// Its method, with the name that metrics give it.
    pub(super) fn method(self) -> (Method, &'static str) {
        match self {
            Self::Models | Self::Version => (Method::GET, "GET"),
            _ => (Method::POST, "POST"),
        }
    }
}
