//! A request's body in chunks, taken apart by the gateway's own decoder.
//!
//! Pingora's reader of chunks takes an empty line for the last chunk, and spaces and line ends that RFC 9112 does not have:
//! another server could read the same bytes as something else. They cannot be judged in passing beneath the session either,
//! since a body may begin in what came with its head, or with the request before. So Pingora is told of a length that no
//! body reaches, and hands the bytes over as they are. It never learns of the body's end: the connection goes back to the
//! loop that serves it with what followed the body, as it does behind a [`BodyTail`](super::tail::BodyTail).

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, header};
use penstock_wire::chunked::Decoder;
use pingora_core::protocols::http::ServerSession;
use pingora_http::RequestHeader;

use super::failure;
use crate::error::Error;

/// A length that no body reaches, in bytes.
const ENDLESS: usize = usize::MAX / 2;

/// A body of which Pingora hands over the bytes, chunks and all.
#[derive(Debug, Default)]
pub(super) struct ChunkedBody {
    decoder: Decoder,
    /// What was handed over and is not taken apart; once the body is, what follows it.
    raw: BytesMut,
    bytes_read: usize,
}

impl ChunkedBody {
    /// The body of `session`, about whose body nothing was asked yet.
    ///
    /// # Errors
    /// Pingora does not take a head that it should.
    pub(super) fn begin(session: &mut ServerSession) -> Result<Self, Error> {
        let mut head = RequestHeader::build(Method::POST, b"/", Some(1)).map_err(Error::internal)?;
        head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(ENDLESS)).map_err(Error::internal)?;
        std::mem::swap(session.req_header_mut(), &mut head);
        // The first question about the body decides how it is read.
        let is_empty = session.is_body_empty();
        std::mem::swap(session.req_header_mut(), &mut head);
        // Deadlines of a body are the gateway's own, and what comes after it has none.
        session.set_read_timeout(None);
        match is_empty {
            false => Ok(Self::default()),
            true => Err(Error::internal("a body of some length counts as empty")),
        }
    }

    /// Whether all of it was read.
    pub(super) fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// Bytes of it that were read, without what frames its chunks.
    pub(super) fn bytes_read(&self) -> usize {
        self.bytes_read
    }

    /// Takes what was read and is not the body's.
    pub(super) fn take_ahead(&mut self) -> BytesMut {
        std::mem::take(&mut self.raw)
    }

    /// The next piece; `None` at the end. May be cancelled and called again.
    ///
    /// # Errors
    /// The client left, or the chunks are malformed.
    pub(super) async fn read(&mut self, session: &mut ServerSession) -> Result<Option<Bytes>, Error> {
        loop {
            let data = self.decode()?;
            if !data.is_empty() {
                return Ok(Some(data));
            }
            if self.is_done() {
                return Ok(None);
            }
            let raw = session.read_request_body().await.map_err(failure)?;
            self.raw = raw.ok_or(Error::ClientGone)?.into();
        }
    }

    /// Resolves when the client leaves, once the body was read. Its next request, sent ahead, hides that.
    pub(super) async fn gone(&mut self, session: &mut ServerSession) -> Error {
        if self.raw.is_empty() {
            match session.read_request_body().await {
                Ok(Some(ahead)) => self.raw = ahead.into(),
                Ok(None) => return Error::ClientGone,
                Err(error) => return failure(error),
            }
        }
        std::future::pending().await
    }

    fn decode(&mut self) -> Result<Bytes, Error> {
        let raw_bytes = self.raw.len();
        let data = self.decoder.decode(&mut self.raw);
        let data = data.map_err(|malformed| Error::BrokenBody(Some(malformed.into())))?;
        self.bytes_read += data.len();
        // Little data would keep all in memory that frames its chunks.
        Ok(if data.len() < raw_bytes / 2 { Bytes::copy_from_slice(&data) } else { data })
    }
}
