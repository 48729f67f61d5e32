//! Google's generateContent, of the Gemini API and of Vertex AI.

pub(crate) mod answer;
pub(crate) mod embeddings;
pub(crate) mod failure;
mod model;
pub mod paths;
pub(crate) mod request;
pub(crate) mod rerank;
mod schema;

pub use self::failure::retry_after;
pub use self::model::Platform;
pub(crate) use self::model::Target;

/// Marks a signature of a thought as Gemini's, in what clients get: those of other providers, which they may send as well
/// after a request went elsewhere, are refused by Gemini, and look alike.
const SIGNATURE_MARK: &str = "gemini:";
