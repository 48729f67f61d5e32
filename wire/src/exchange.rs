//! One exchange: what is sent, and what happens.

use bytes::{BufMut, Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use pingora_http::ResponseHeader;

/// The head of a request as its upstream is to see it.
#[derive(Debug)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// The target, in origin form.
    pub target: PathAndQuery,
    /// The headers, with `Host`, and with what frames the body.
    pub headers: HeaderMap,
    /// How the body is sent.
    pub framing: BodyFraming,
}

/// How the body of a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    /// All of it is here, perhaps none.
    Whole,
    /// It is still coming, and its length is known.
    Length,
    /// It is still coming, and its length is not known.
    Chunked,
}

/// What happens to an exchange.
#[derive(Debug)]
pub enum Event {
    /// What there was of the body is sent, and more can be taken.
    Sent,
    /// A head that another one follows.
    Informational(Box<ResponseHeader>),
    /// The head of the response.
    Head {
        /// The head. Length, if any, is as sent; no other header frames the body.
        header: Box<ResponseHeader>,
        /// Whether no body follows.
        is_end: bool,
    },
    /// A piece of the body, perhaps an empty last one.
    Body {
        /// The piece.
        data: Bytes,
        /// Whether it is the last.
        is_end: bool,
    },
    /// What follows the body of an HTTP/2 response: its end.
    Trailers(HeaderMap),
}

impl Outgoing {
    /// The head as HTTP/1.1 writes it.
    pub(crate) fn to_wire(&self) -> Bytes {
        const VERSION: &[u8] = b" HTTP/1.1\r\n";
        let target = self.target.as_str();
        let fields = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        let length =
            self.method.as_str().len() + 1 + target.len() + VERSION.len() + fields.sum::<usize>() + 2;
        let mut wire = BytesMut::with_capacity(length);
        wire.put_slice(self.method.as_str().as_bytes());
        wire.put_u8(b' ');
        wire.put_slice(target.as_bytes());
        wire.put_slice(VERSION);
        for (name, value) in &self.headers {
            wire.put_slice(name.as_str().as_bytes());
            wire.put_slice(b": ");
            wire.put_slice(value.as_bytes());
            wire.put_slice(b"\r\n");
        }
        wire.put_slice(b"\r\n");
        wire.freeze()
    }
}
