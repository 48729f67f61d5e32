//! Documents that anybody may read, such as the key sets of identity providers, and tokens that these give for what people
//! bring from them.

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

    /// What the token endpoint at `url` answers to a form, of 64 KiB at most. A client and its secret are shown in
    /// `Authorization` (RFC 6749, 2.3.1). Takes 10 s at most, and is not tried again.
    ///
    /// # Errors
    /// The address is none, or there was no answer of 200 within the bounds.
    pub async fn tokens(
        &self,
        url: &str,
        fields: &[(&str, &str)],
        client: Option<(&str, &str)>,
    ) -> Result<Bytes, FetchError> {
        let mut ask = Ask::form(url, fields);
        if let Some((id, secret)) = client {
            ask = ask.of_client(id, secret)?;
        }
        Ok(self.0.send(ask).await?.body)
    }
}
