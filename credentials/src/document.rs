//! Documents that anybody may read, such as the key sets of identity providers.

use bytes::Bytes;

use crate::error::FetchError;
use crate::http::{Ask, Http};

/// Fetches documents, within the bounds of all requests here: one attempt, no redirects, TLS with the system's authorities.
#[derive(Default)]
pub struct Documents(Http);

impl Documents {
    /// Has fetched nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The document at `url`, of `limit_bytes` at most. Takes 10 s at most.
    ///
    /// # Errors
    /// The address is none, or there was no answer of 200 within the bounds.
    pub async fn get(&self, url: &str, limit_bytes: usize) -> Result<Bytes, FetchError> {
        Ok(self.0.send(Ask::get(url).limit_bytes(limit_bytes)).await?.body)
    }
}
