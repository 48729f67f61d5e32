//! `Content-Encoding`: undone for reading, within a bound. What is forwarded stays encoded.
//!
//! A model server may ignore the header and read the body as it is. Such a server must not find another
//! request in it, so a body that starts like a plain one is refused before it is decoded; gzip, zlib and
//! zstd cannot start so, brotli has no signature and can.

use std::io::{self, Write};

use brotli::DecompressorWriter;
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use zstd::stream::write::Decoder as ZstdDecoder;

use crate::{Options, PeekError, Peeked, body::Body, media::Coding};

/// Bytes decoded at once by brotli; the other decoders choose 32 KiB themselves.
const BUFFER_BYTES: usize = 16 * 1024;

/// Largest zstd window, as a power of two: 8 MiB, which RFC 9659 makes the limit for `Content-Encoding`.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Decodes a body and reads what comes out.
pub(crate) struct Decoding {
    coding: Coding,
    decoder: Decoder,
    /// What else than `{` a plain body would start with.
    plain_start: u8,
    is_started: bool,
    taken: usize,
    failed: Option<PeekError>,
}

enum Decoder {
    Gzip(MultiGzDecoder<Sink>),
    Deflate(ZlibDecoder<Sink>),
    Brotli(Box<DecompressorWriter<Sink>>),
    Zstd(ZstdDecoder<'static, Sink>),
}

impl Decoding {
    pub(crate) fn new(coding: Coding, body: Body, options: &Options) -> Result<Self, PeekError> {
        // A form starts with its delimiter's dashes.
        let plain_start = if matches!(body, Body::Form(_)) { b'-' } else { b'{' };
        let sink =
            Sink { body, left: options.max_decoded_bytes, limit: options.max_decoded_bytes, refused: None };
        let decoder = match coding {
            Coding::Gzip => Decoder::Gzip(MultiGzDecoder::new(sink)),
            Coding::Deflate => Decoder::Deflate(ZlibDecoder::new(sink)),
            Coding::Brotli => Decoder::Brotli(Box::new(DecompressorWriter::new(sink, BUFFER_BYTES))),
            Coding::Zstd => Decoder::Zstd(zstd_decoder(sink).map_err(|_| corrupt(coding, 0))?),
        };
        Ok(Self { coding, decoder, plain_start, is_started: false, taken: 0, failed: None })
    }

    /// Takes the next encoded bytes; every call behind an error repeats it.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<(), PeekError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.guard(chunk).and_then(|()| {
            let written = self.decoder.writer().write_all(chunk);
            self.taken += chunk.len();
            written.map_err(|_| self.refusal())
        });
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// Ends the body. Offsets into what was decoded mean nothing to a splice, so the model loses its range.
    pub(crate) fn finish(mut self) -> Result<Peeked, PeekError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.taken == 0 {
            return Ok(Peeked::default());
        }
        if self.decoder.end().is_err() {
            return Err(self.refusal());
        }
        let body = std::mem::replace(&mut self.decoder.sink().body, Body::Spent);
        let mut peeked = body.finish()?;
        if let Some(model) = &mut peeked.model {
            model.range = None;
        }
        Ok(peeked)
    }

    /// Refuses a body whose first byte besides white space is a plain body's.
    fn guard(&mut self, chunk: &[u8]) -> Result<(), PeekError> {
        if self.is_started {
            return Ok(());
        }
        let Some(&first) = chunk.iter().find(|byte| !byte.is_ascii_whitespace()) else { return Ok(()) };
        self.is_started = true;
        if first == b'{' || first == self.plain_start {
            return Err(PeekError::PlainBehindEncoding { encoding: self.coding.name() });
        }
        Ok(())
    }

    /// Why the decoder stopped: what it decoded was refused, or cannot be decoded.
    fn refusal(&mut self) -> PeekError {
        let refused = self.decoder.sink().refused.clone();
        refused.unwrap_or_else(|| corrupt(self.coding, self.taken))
    }
}

impl std::fmt::Debug for Decoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoding")
            .field("coding", &self.coding)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(decoder) => decoder,
            Self::Deflate(decoder) => decoder,
            Self::Brotli(decoder) => decoder,
            Self::Zstd(decoder) => decoder,
        }
    }

    fn sink(&mut self) -> &mut Sink {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }

    /// Writes out what is left and checks that the stream is complete, where its format tells.
    fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Deflate(decoder) => decoder.try_finish(),
            Self::Brotli(decoder) => decoder.close(),
            Self::Zstd(decoder) => decoder.flush(),
        }
    }
}

fn zstd_decoder(sink: Sink) -> io::Result<ZstdDecoder<'static, Sink>> {
    let mut decoder = ZstdDecoder::new(sink)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

fn corrupt(coding: Coding, at: usize) -> PeekError {
    PeekError::CorruptEncoding { encoding: coding.name(), at }
}

/// Where decoded bytes go.
struct Sink {
    body: Body,
    /// Bytes that may still come.
    left: u64,
    limit: u64,
    /// Why no more are taken.
    refused: Option<PeekError>,
}

impl Write for Sink {
    fn write(&mut self, decoded: &[u8]) -> io::Result<usize> {
        if self.refused.is_none() {
            self.refused = match self.left.checked_sub(decoded.len() as u64) {
                Some(left) => {
                    self.left = left;
                    self.body.feed(decoded).err()
                }
                None => Some(PeekError::DecodedTooLarge { limit: self.limit }),
            };
        }
        match self.refused {
            // The decoder passes this on; the reason is fetched from here.
            Some(_) => Err(io::Error::from(io::ErrorKind::Other)),
            None => Ok(decoded.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
