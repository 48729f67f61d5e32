//! The inference endpoints and their paths.

use http::Method;
use serde_json::Value;

/// The forms of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorDialect {
    OpenAi,
    Anthropic,
    Aws,
    Google,
    Cohere,
}

/// Whose credentials a request has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    OpenAi,
    Anthropic,
    Aws,
    Vertex,
    Gemini,
    Azure,
    Cohere,
}

/// The model that a path names, decoded.
pub(super) fn model_of(path: &str) -> String {
    let segment = match path.strip_prefix("/model/") {
        Some(rest) => rest.split('/').next(),
        None => path.rsplit('/').next().and_then(|last| last.split(':').next()),
    };
    decoded(segment.unwrap_or_default())
}

/// The deployment that a path of Azure's names, decoded.
pub(super) fn deployment_of(path: &str) -> Option<String> {
    Some(decoded(path.strip_prefix("/openai/deployments/")?.split('/').next()?))
}

fn decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// An inference endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
    Responses,
    Messages,
    CountMessages,
    /// One of OpenAI's, at Azure's paths.
    Azure(OfAzure),
    /// AWS Bedrock's.
    Converse {
        streams: bool,
    },
    /// Bedrock's for whatever a model takes: Claude, or one that embeds.
    Invoke {
        streams: bool,
    },
    CountBedrock,
    /// Google's.
    GenerateContent {
        streams: bool,
    },
    /// Claude on Vertex.
    RawPredict {
        streams: bool,
    },
    CountGoogle,
    EmbedGoogle(Embeds),
    RankGoogle,
    EmbedCohere,
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

/// How Google embeds texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Embeds {
    /// `:embedContent`
    One,
    /// `:batchEmbedContents`
    Batch,
    /// `:predict`
    Predicts,
}

/// What Azure serves of OpenAI's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfAzure {
    Chat,
    Completions,
    Responses,
    Embeddings,
    Transcription,
    Speech,
    Images,
}

impl OfAzure {
    fn of(rest: &str) -> Option<(&'static str, Self)> {
        Some(match rest {
            "chat/completions" => ("/openai/{…}/chat/completions", Self::Chat),
            "completions" => ("/openai/{…}/completions", Self::Completions),
            "responses" => ("/openai/{…}/responses", Self::Responses),
            "embeddings" => ("/openai/{…}/embeddings", Self::Embeddings),
            "audio/transcriptions" | "audio/translations" => {
                ("/openai/{…}/audio/transcriptions", Self::Transcription)
            }
            "audio/speech" => ("/openai/{…}/audio/speech", Self::Speech),
            "images/generations" | "images/edits" => ("/openai/{…}/images/generations", Self::Images),
            _ => return None,
        })
    }
}

impl Endpoint {
    /// Every endpoint with its paths and its method.
    const TABLE: [(&'static str, Self); 26] = [
        ("/v1/chat/completions", Self::Chat),
        ("/v1/completions", Self::Completions),
        ("/v1/responses", Self::Responses),
        ("/v1/messages", Self::Messages),
        ("/v1/messages/count_tokens", Self::CountMessages),
        ("/v1/embeddings", Self::Embeddings),
        ("/v2/embed", Self::EmbedCohere),
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
        let known = Self::TABLE.into_iter().find(|(known, _)| *known == path);
        known.or_else(|| Self::of_azure(path)).or_else(|| Self::of_model(path))
    }

    fn of_azure(path: &str) -> Option<(&'static str, Self)> {
        let rest = path.strip_prefix("/openai/")?;
        let rest = match rest.strip_prefix("deployments/") {
            Some(rest) => rest.split_once('/')?.1,
            None => rest.strip_prefix("v1/").unwrap_or(rest),
        };
        OfAzure::of(rest).map(|(label, of)| (label, Self::Azure(of)))
    }

    /// The endpoint of a path that has the model in it.
    fn of_model(path: &str) -> Option<(&'static str, Self)> {
        let last = path.rsplit('/').next()?;
        if path.starts_with("/model/") {
            return Some(match last {
                "converse" => ("/model/{model}/converse", Self::Converse { streams: false }),
                "converse-stream" => ("/model/{model}/converse-stream", Self::Converse { streams: true }),
                "invoke" => ("/model/{model}/invoke", Self::Invoke { streams: false }),
                "invoke-with-response-stream" => {
                    ("/model/{model}/invoke-with-response-stream", Self::Invoke { streams: true })
                }
                "count-tokens" => ("/model/{model}/count-tokens", Self::CountBedrock),
                _ => return None,
            });
        }
        let verb = last.split_once(':')?.1;
        if path.contains("/rankingConfigs/") && verb == "rank" {
            return Some(("/rankingConfigs/{config}:rank", Self::RankGoogle));
        }
        if !path.contains("/models/") {
            return None;
        }
        let is_claude = path.contains("/publishers/anthropic/");
        Some(match verb {
            "rawPredict" if is_claude => ("/models/{model}:rawPredict", Self::RawPredict { streams: false }),
            "streamRawPredict" if is_claude => {
                ("/models/{model}:streamRawPredict", Self::RawPredict { streams: true })
            }
            _ if is_claude => return None,
            "generateContent" => {
                ("/models/{model}:generateContent", Self::GenerateContent { streams: false })
            }
            "streamGenerateContent" => {
                ("/models/{model}:streamGenerateContent", Self::GenerateContent { streams: true })
            }
            "countTokens" => ("/models/{model}:countTokens", Self::CountGoogle),
            "embedContent" => ("/models/{model}:embedContent", Self::EmbedGoogle(Embeds::One)),
            "batchEmbedContents" => ("/models/{model}:batchEmbedContents", Self::EmbedGoogle(Embeds::Batch)),
            "predict" => ("/models/{model}:predict", Self::EmbedGoogle(Embeds::Predicts)),
            _ => return None,
        })
    }

    /// How its errors are worded.
    pub(crate) fn dialect(self) -> ErrorDialect {
        match self {
            Self::Messages | Self::CountMessages | Self::RawPredict { .. } => ErrorDialect::Anthropic,
            Self::Converse { .. } | Self::Invoke { .. } | Self::CountBedrock => ErrorDialect::Aws,
            Self::GenerateContent { .. } | Self::CountGoogle | Self::EmbedGoogle(_) | Self::RankGoogle => {
                ErrorDialect::Google
            }
            Self::EmbedCohere => ErrorDialect::Cohere,
            _ => ErrorDialect::OpenAi,
        }
    }

    /// Whose it is, by its path and, where two have the same, by its body.
    pub(crate) fn provider(self, path: &str, body: &[u8]) -> Provider {
        match self {
            Self::Messages | Self::CountMessages => Provider::Anthropic,
            Self::Converse { .. } | Self::Invoke { .. } | Self::CountBedrock => Provider::Aws,
            Self::Rerank if path == "/rerank" && is_rank_of_bedrock(body) => Provider::Aws,
            Self::Rerank if path == "/v2/rerank" => Provider::Cohere,
            Self::EmbedCohere => Provider::Cohere,
            Self::Azure(_) => Provider::Azure,
            Self::RawPredict { .. } | Self::RankGoogle => Provider::Vertex,
            Self::GenerateContent { .. } | Self::CountGoogle | Self::EmbedGoogle(_) => {
                if is_of_vertex(path) {
                    Provider::Vertex
                } else {
                    Provider::Gemini
                }
            }
            _ => Provider::OpenAi,
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

/// Whether a body for `/rerank` is one of Bedrock's and not of an engine's.
pub(super) fn is_rank_of_bedrock(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body.get("queries").is_some())
}

/// Whether a path of Google's is Vertex's, and not the Gemini API's.
pub(super) fn is_of_vertex(path: &str) -> bool {
    path.contains("/projects/")
}
