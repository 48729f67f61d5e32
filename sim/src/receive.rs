//! Reading a request's body to its end.

use std::hash::Hasher;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use xxhash_rust::xxh64::Xxh64;

use super::{
    body::ExchangeCut,
    connection::Connection,
    record::{Framing, RecordedRequest, hash_text, header_list},
    text::lossy,
};

/// A request body, read to its end.
pub(crate) struct RequestBody {
    /// The body, or nothing where it was longer than what was to be kept.
    pub(crate) body: Bytes,
    /// Whether it was.
    pub(crate) is_too_long: bool,
    bytes: u64,
    hash: u64,
    framing: Framing,
}

impl RequestBody {
    /// The request as it is remembered, with its body or without.
    pub(crate) fn seen(&self, parts: &Parts, connection: &Connection, keeps_body: bool) -> RecordedRequest {
        RecordedRequest {
            connection: connection.number,
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            version: format!("{:?}", parts.version),
            framing: self.framing,
            headers: header_list(&parts.headers),
            body_bytes: self.bytes,
            body_xxh64: hash_text(self.hash),
            body: (keeps_body && !self.is_too_long).then(|| lossy(&self.body).into_owned()),
        }
    }
}

/// Reads a body to its end, keeping up to `keep` bytes. A longer one is read on, so that the answer never comes
/// before the request is complete: a proxy takes such an answer for a broken connection.
///
/// # Errors
/// The client left.
pub(crate) async fn receive(
    parts: &Parts,
    mut body: Incoming,
    keep: usize,
    hashes: bool,
) -> Result<RequestBody, ExchangeCut> {
    let framing = Framing::of(parts, body.is_end_stream());
    let mut received = RequestBody { body: Bytes::new(), is_too_long: false, bytes: 0, hash: 0, framing };
    let mut hasher = Xxh64::new(0);
    let mut gathered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| ExchangeCut)?.into_data() else { continue };
        received.bytes += data.len() as u64;
        if hashes {
            hasher.write(&data);
        }
        if received.bytes > keep as u64 {
            received.is_too_long = true;
            received.body = Bytes::new();
            gathered = BytesMut::new();
        } else if received.body.is_empty() {
            received.body = data;
        } else {
            if gathered.is_empty() {
                let rest = usize::try_from(body.size_hint().lower()).unwrap_or(0);
                gathered.reserve(received.body.len() + data.len() + rest);
                gathered.extend_from_slice(&received.body);
            }
            gathered.extend_from_slice(&data);
        }
    }
    if !gathered.is_empty() {
        received.body = gathered.freeze();
    }
    received.hash = hasher.finish();
    Ok(received)
}
