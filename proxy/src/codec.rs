//! Dialects: how an upstream is spoken to where it does not speak the client's API.
//!
//! An upstream without a [`Codec`] gets the client's bytes and the client gets the upstream's, both untouched. With one,
//! the prepare phase encodes the request once an attempt, since the next attempt may have another upstream, and the relay
//! phase passes the response through the attempt's [`Decoder`].

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, Method, uri::PathAndQuery};
use penstock_tap::Usage;
use pingora_http::ResponseHeader;

/// Why a request or a response could not be translated.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The upstream's dialect has no words for the request. The text is shown to the client.
    #[error("the request cannot be translated: {0}")]
    Request(String),
    /// The upstream has nothing like the API that the request is for. The text is shown to the client.
    #[error("{0}")]
    Unserved(String),
    /// The upstream failed, or what it sent cannot be read.
    #[error("the response cannot be translated")]
    Upstream(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The upstream says in its response, whose status was another, that it failed.
    #[error("the upstream failed: {message}")]
    Failed {
        /// The status that stands for it.
        status: u16,
        /// What it says. Shown to the client.
        message: String,
    },
}

/// A request on its way to an upstream, before it is framed and gets its credential.
#[derive(Debug)]
pub struct Draft {
    /// The method.
    pub method: Method,
    /// Path and query, rewritten as the rule says.
    pub target: PathAndQuery,
    /// End-to-end headers, edited as rule and target say.
    pub headers: HeaderMap,
    /// The body, decoded, with the model named as the upstream names it.
    pub body: Vec<Bytes>,
    /// Members of the request that the codec had to leave out, by name: the client is told. Empty at first.
    pub dropped: Vec<Cow<'static, str>>,
}

/// What a codec has to know of a request beside what is sent.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The request's id.
    pub request_id: &'a str,
    /// The model that the client asks for.
    pub asked_model: Option<&'a str>,
    /// What the upstream calls it.
    pub model: Option<&'a str>,
    /// Whether the gateway shows the upstream a credential of its own.
    pub has_credential: bool,
}

/// Translates between the clients' dialect and an upstream's.
pub trait Codec: Send + Sync {
    /// Whether a request for `path` becomes one of another API. What a client shows of itself is then not for the upstream.
    fn translates(&self, path: &str) -> bool;

    /// Whether the upstream says in the bodies of its refusals for how long it wants to be left alone, and not in headers.
    fn tells_delays_in_bodies(&self) -> bool {
        false
    }

    /// Makes a request one in the upstream's dialect, and returns what decodes the response to it; `None` passes the
    /// response on as it is.
    ///
    /// # Errors
    /// The request cannot be expressed in that dialect; the client gets this error.
    fn encode(&self, draft: &mut Draft, about: About<'_>) -> Result<Option<Box<dyn Decoder>>, CodecError>;
}

/// Translates one response.
pub trait Decoder: Send + Sync {
    /// Makes the response's head one in the client's dialect. Framing is the relay's: a length is dropped before.
    ///
    /// # Errors
    /// The response means a failure of the upstream, after which another attempt may follow.
    fn head(&mut self, head: &mut ResponseHeader) -> Result<(), CodecError>;

    /// Translates a piece of the body; what comes out may be empty, and is the last if `is_end`.
    ///
    /// # Errors
    /// The upstream failed, or what it sent cannot be read. Before the first content another attempt may follow.
    fn body(&mut self, data: Bytes, is_end: bool) -> Result<Bytes, CodecError>;

    /// Whether any content has come out: from here on a failure is the client's to see. As long as there is none, status
    /// and headers are held back.
    fn has_content(&self) -> bool;

    /// Bytes of the response that are kept until all of it is here: the gateway counts them with the bodies of requests.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Whether [`Self::usage`] is all that the upstream says of it, so that nobody need read what comes out for it.
    fn counts_usage(&self) -> bool {
        false
    }

    /// What the upstream counted so far, as far as it says so: the client's API may have no words for it, or the client not
    /// want it. What is not known here is read from the bytes that come out, unless [`Self::counts_usage`].
    fn usage(&self) -> Usage {
        Usage::default()
    }
}
