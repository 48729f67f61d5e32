//! APIs by which clients ask, told by their paths.

/// An API of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// OpenAI's `/v1/chat/completions`.
    ChatCompletions,
    /// OpenAI's `/v1/completions`.
    Completions,
    /// OpenAI's `/v1/responses`.
    Responses,
    /// OpenAI's `/v1/embeddings`.
    Embeddings,
    /// OpenAI's `/v1/images/…`.
    Images,
    /// OpenAI's `/v1/audio/…`.
    Audio,
    /// Anthropic's `/v1/messages`.
    Messages,
    /// Anthropic's `/v1/messages/count_tokens`.
    CountTokens,
    /// Cohere's `/v1/rerank` and `/v2/rerank`, which vLLM serves as well.
    Rerank,
    /// Bedrock's own `/model/…`.
    Bedrock,
    /// Google's own `…:generateContent` and its like.
    Gemini,
}

/// The families of APIs: those of one have the same form of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// OpenAI's.
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Cohere's.
    Cohere,
    /// AWS Bedrock's.
    Bedrock,
    /// Google's.
    Google,
}

impl Api {
    /// The API that is asked at `path`. What stands before it does not matter: gateways serve APIs below paths of their
    /// own, as `/anthropic/v1/messages`.
    pub fn of_path(path: &str) -> Option<Self> {
        // Byte by byte: the last segment is short, and searches take longer to begin.
        let end = path.bytes().rposition(|byte| byte != b'/').map_or(0, |last| last + 1);
        let path = path.get(..end).unwrap_or(path);
        let last = path.bytes().rposition(|byte| byte == b'/').map_or(0, |slash| slash + 1);
        let has = |part: &str| path.contains(part);
        Some(match path.get(last..).unwrap_or_default() {
            "completions" if path.ends_with("/chat/completions") => Self::ChatCompletions,
            "completions" => Self::Completions,
            "responses" => Self::Responses,
            "embeddings" => Self::Embeddings,
            "messages" => Self::Messages,
            "count_tokens" if path.ends_with("/messages/count_tokens") => Self::CountTokens,
            "rerank" => Self::Rerank,
            "converse" | "converse-stream" | "invoke" | "invoke-with-response-stream" | "count-tokens"
                if has("/model/") =>
            {
                Self::Bedrock
            }
            last if has("/models/") && is_google_call(last) => Self::Gemini,
            _ if has("/v1/images/") => Self::Images,
            _ if has("/v1/audio/") => Self::Audio,
            _ => return None,
        })
    }

    /// Its family.
    pub fn family(self) -> Family {
        match self {
            Self::Messages | Self::CountTokens => Family::Anthropic,
            Self::Rerank => Family::Cohere,
            Self::Bedrock => Family::Bedrock,
            Self::Gemini => Family::Google,
            _ => Family::OpenAi,
        }
    }

    /// What it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Images => "images",
            Self::Audio => "audio",
            Self::Messages => "messages",
            Self::CountTokens => "token counts",
            Self::Rerank => "rerank",
            Self::Bedrock => "Bedrock's own API",
            Self::Gemini => "Google's own API",
        }
    }

    /// The rest of its path behind the API's prefix; `None` if the path has it in a form of its own.
    pub(crate) fn rest(self, path: &str) -> Option<&str> {
        let fixed = match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Responses => "/responses",
            Self::Embeddings => "/embeddings",
            Self::Messages => "/messages",
            Self::CountTokens => "/messages/count_tokens",
            Self::Rerank => "/rerank",
            Self::Images => return path.find("/images/").map(|at| &path[at..]),
            Self::Audio => return path.find("/audio/").map(|at| &path[at..]),
            Self::Bedrock | Self::Gemini => return None,
        };
        Some(fixed)
    }
}

/// Whether the last segment of a path is a model with one of Google's methods. A colon alone is part of many models' names:
/// `mistral:latest`.
fn is_google_call(segment: &str) -> bool {
    const METHODS: [&str; 11] = [
        "generateContent",
        "streamGenerateContent",
        "countTokens",
        "computeTokens",
        "embedContent",
        "batchEmbedContents",
        "batchGenerateContent",
        "predict",
        "predictLongRunning",
        "rawPredict",
        "streamRawPredict",
    ];
    segment.rsplit_once(':').is_some_and(|(_, method)| METHODS.contains(&method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_told_by_the_end_of_its_path() {
        for (path, api) in [
            ("/v1/chat/completions", Some(Api::ChatCompletions)),
            ("/openai/v1/chat/completions/", Some(Api::ChatCompletions)),
            ("/v1/completions", Some(Api::Completions)),
            ("/anthropic/v1/messages", Some(Api::Messages)),
            ("/v1/messages/count_tokens", Some(Api::CountTokens)),
            ("/v1/responses", Some(Api::Responses)),
            ("/v2/rerank", Some(Api::Rerank)),
            ("/v1/images/generations", Some(Api::Images)),
            ("/v1/audio/speech", Some(Api::Audio)),
            ("/model/anthropic.claude-3/converse", Some(Api::Bedrock)),
            ("/v1beta/models/gemini-2.5-pro:generateContent", Some(Api::Gemini)),
            ("/v1/models/mistral:latest", None),
            ("/v1/models/qwen3:8b-q4_K_M", None),
            ("/v1/models", None),
            ("/converse", None),
            ("/", None),
        ] {
            assert_eq!(Api::of_path(path), api, "{path}");
        }
    }
}
