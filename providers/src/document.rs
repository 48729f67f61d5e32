//! Answers that are no conversations: the whole document is read and written at once.

use crate::answer::Usage;
use crate::bedrock;
use crate::gemini;
use crate::json::parse;
use crate::openai;
use crate::rerank;
use crate::translation::{Asked, Broken};

/// The document that an upstream answers with, and how many things were asked about, which it has to be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) form: DocumentForm,
    /// Texts to embed, or documents to rank.
    pub(crate) count: usize,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentForm {
    /// Google's embeddings.
    GoogleVectors {
        /// Whether the client wants them in base64.
        is_base64: bool,
    },
    /// Embeddings of a model on Bedrock.
    BedrockVectors {
        /// Whether the client wants them in base64.
        is_base64: bool,
    },
    /// The scores of Google's ranking.
    GoogleRanks,
    /// The scores of Bedrock's.
    BedrockRanks,
    /// How many tokens a prompt has.
    TokenCount {
        /// What the number is called.
        number: &'static str,
    },
}

impl Document {
    /// Makes the upstream's document the client's, and says what was counted. `tokens` is what the response's headers
    /// say that the request has.
    ///
    /// # Errors
    /// It is no such document.
    pub(crate) fn translate(
        self,
        body: &[u8],
        tokens: Option<u64>,
        asked: &Asked,
    ) -> Result<(Vec<u8>, Usage), Broken> {
        let value = parse(body).map_err(|error| Broken::Unreadable(error.to_string()))?;
        let id = &asked.request_id;
        let (vectors, told, is_base64) = match self.form {
            DocumentForm::GoogleVectors { is_base64 } => {
                let read = gemini::embeddings::read(&value, self.count)?;
                (read.vectors, read.tokens, is_base64)
            }
            DocumentForm::BedrockVectors { is_base64 } => {
                let read = bedrock::embeddings::read(&value, self.count)?;
                (read.vectors, read.tokens, is_base64)
            }
            DocumentForm::GoogleRanks => {
                let ranks = gemini::rerank::read(&value, self.count)?;
                return Ok((rerank::write(&ranks, id), Usage::default()));
            }
            DocumentForm::TokenCount { number } => {
                let count = value.as_object().and_then(|object| object.u64(number));
                let count = count.ok_or_else(|| Broken::Unreadable(format!("it has no {number}")))?;
                // Nothing was generated from them: they are no usage.
                return Ok((format!("{{\"input_tokens\":{count}}}").into_bytes(), Usage::default()));
            }
            DocumentForm::BedrockRanks => {
                let ranks = bedrock::rerank::read(&value, self.count)?;
                return Ok((rerank::write(&ranks, id), Usage::default()));
            }
        };
        let tokens = told.or(tokens);
        let written = openai::embeddings::write(&vectors, tokens, is_base64, asked)?;
        Ok((written, Usage { input: tokens, ..Usage::default() }))
    }
}
