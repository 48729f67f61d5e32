//! What is asked for, as both conventions call it.

use penstock_providers::Api;

/// What is asked of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// An API that is known by its path, but for those of which one path has several.
    Of(Api),
    /// Speech of a text.
    Speech,
    /// The text of speech.
    Transcription,
    /// The text of speech in English.
    Translation,
}

impl Operation {
    /// `None` where nothing is asked of a model: a list of models, a health check.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        Some(match Api::of_path(path)? {
            Api::Audio => match path.trim_end_matches('/').rsplit('/').next()? {
                "speech" => Self::Speech,
                "transcriptions" => Self::Transcription,
                "translations" => Self::Translation,
                _ => Self::Of(Api::Audio),
            },
            api => Self::Of(api),
        })
    }

    /// OpenTelemetry's name, or one like it where it has none.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Of(Api::ChatCompletions | Api::Responses | Api::Messages | Api::Bedrock) => "chat",
            Self::Of(Api::Completions) => "text_completion",
            Self::Of(Api::Gemini) => "generate_content",
            other => other.envoy_name(),
        }
    }

    /// Envoy AI Gateway's name.
    pub(super) fn envoy_name(self) -> &'static str {
        match self {
            Self::Of(Api::ChatCompletions | Api::Bedrock) => "chat",
            Self::Of(Api::Completions) => "completion",
            Self::Of(Api::Responses) => "responses",
            Self::Of(Api::Embeddings) => "embeddings",
            Self::Of(Api::Images) => "image_generation",
            Self::Of(Api::Messages) => "messages",
            Self::Of(Api::CountTokens) => "count_tokens",
            Self::Of(Api::Rerank) => "rerank",
            Self::Of(Api::Gemini) => "generate_content",
            Self::Of(Api::Audio) => "audio",
            Self::Speech => "speech",
            Self::Transcription => "transcription",
            Self::Translation => "translation",
        }
    }
}
