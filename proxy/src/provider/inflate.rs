//! Responses that come compressed though that was not asked for, decoded as they come.

use std::sync::Arc;

use parking_lot::Mutex;
use penstock_peek::{Coding, Decoder, Options, PeekError, Sink};

/// The most bytes that one piece of a response may decode to. A piece has some 16 KiB.
const MAX_PIECE_BYTES: u64 = 32 << 20;

/// The most bytes that a whole response may decode to.
const MAX_BYTES: u64 = 1 << 30;

/// Decodes one response.
pub(super) struct Inflate {
    /// Until the end.
    decoder: Option<Decoder<Piece>>,
    decoded: Arc<Mutex<Vec<u8>>>,
}

/// What a piece decodes to.
struct Piece(Arc<Mutex<Vec<u8>>>);

impl Sink for Piece {
    type Error = PeekError;

    fn take(&mut self, decoded: &[u8]) -> Result<(), PeekError> {
        let mut piece = self.0.lock();
        if (piece.len() + decoded.len()) as u64 > MAX_PIECE_BYTES {
            return Err(PeekError::DecodedTooLarge { limit: MAX_PIECE_BYTES });
        }
        piece.extend_from_slice(decoded);
        Ok(())
    }
}

impl Inflate {
    /// Of a response with this `Content-Encoding`; `None` if it is not compressed.
    ///
    /// # Errors
    /// The coding is unknown.
    pub(super) fn new(content_encoding: &[u8]) -> Result<Option<Self>, PeekError> {
        let Some(coding) = Coding::parse(content_encoding)? else { return Ok(None) };
        let decoded: Arc<Mutex<Vec<u8>>> = Arc::default();
        let options = Options { max_decoded_bytes: MAX_BYTES, ..Options::default() };
        // What a response may grow to by its size is not known before its end.
        let decoder = Decoder::new(coding, usize::MAX, false, &options, Piece(decoded.clone()))?;
        Ok(Some(Self { decoder: Some(decoder), decoded }))
    }

    /// What a piece decodes to.
    ///
    /// # Errors
    /// It is not what its coding says, decodes to too much, or ends too early.
    pub(super) fn piece(&mut self, encoded: &[u8], is_end: bool) -> Result<Vec<u8>, PeekError> {
        if let Some(decoder) = &mut self.decoder {
            decoder.feed(encoded)?;
            decoder.flush()?;
        }
        if is_end && let Some(decoder) = self.decoder.take() {
            decoder.finish()?;
        }
        Ok(std::mem::take(&mut *self.decoded.lock()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packed(coding: &str, pieces: &[&str]) -> Vec<Vec<u8>> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let mut brotli = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
        let mut sent = 0;
        let mut packed: Vec<Vec<u8>> = Vec::new();
        for piece in pieces {
            let all = if coding == "gzip" {
                gzip.write_all(piece.as_bytes()).unwrap();
                gzip.flush().unwrap();
                gzip.get_ref()
            } else {
                brotli.write_all(piece.as_bytes()).unwrap();
                brotli.flush().unwrap();
                brotli.get_ref()
            };
            packed.push(all[sent..].to_vec());
            sent = all.len();
        }
        let all = if coding == "gzip" { gzip.finish().unwrap() } else { brotli.into_inner() };
        packed.push(all[sent..].to_vec());
        packed
    }

    #[test]
    fn a_piece_is_there_as_soon_as_its_bytes_are() {
        let pieces = ["data: one\n\n", "data: two\n\n"];
        for coding in ["gzip", "br"] {
            let mut inflate = Inflate::new(coding.as_bytes()).unwrap().unwrap();
            let packed = packed(coding, &pieces);
            for (packed, piece) in packed.iter().zip(pieces) {
                assert_eq!(inflate.piece(packed, false).unwrap(), piece.as_bytes(), "{coding}");
            }
            assert_eq!(inflate.piece(&packed[2], true).unwrap(), b"", "{coding}");
        }
        assert!(Inflate::new(b"identity").unwrap().is_none());
        assert!(Inflate::new(b"compress").is_err());
    }

    #[test]
    fn what_is_cut_or_a_bomb_is_an_error() {
        let packed = packed("gzip", &["data: one\n\n"]).concat();
        let mut inflate = Inflate::new(b"gzip").unwrap().unwrap();
        assert!(inflate.piece(&packed[..packed.len() - 9], true).is_err());
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(&vec![0; MAX_PIECE_BYTES as usize + 1]).unwrap();
        let mut inflate = Inflate::new(b"gzip").unwrap().unwrap();
        assert!(inflate.piece(&bomb.finish().unwrap(), false).is_err());
    }
}
