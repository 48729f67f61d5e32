//! `Content-Encoding`: undone within bounds.
//!
//! A compressed body is the one thing whose cost its length does not tell: 500 bytes of brotli can stand for 64 MiB. So
//! what may come out is bounded by what went in, beside the bound that is the same for all bodies.
//!
//! A model server may ignore the header and read the body as it is. Such a server must not find another
//! request in it, so a body that starts like a plain one is refused before it is decoded; gzip, zlib and
//! zstd cannot start so, brotli has no signature and can.

use std::io::{self, Write};

use brotli::DecompressorWriter;
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use zstd::stream::write::Decoder as ZstdDecoder;

use crate::{Coding, Options, Peek, PeekError};

/// What a body may decode to whatever its size, in bytes. Repeated text in a small body compresses a thousandfold, and
/// to decode so little costs no more than the request does otherwise.
const FREE_BYTES: u64 = 256 * 1024;

/// Bytes decoded at once by brotli; the other decoders choose 32 KiB themselves.
const BUFFER_BYTES: usize = 16 * 1024;

/// Largest zstd window, as a power of two: 8 MiB, which RFC 9659 makes the limit for `Content-Encoding`.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Takes what a body decodes to, piece by piece.
pub trait Sink {
    /// Why no more is taken.
    type Error: From<PeekError>;

    /// Takes the next decoded bytes.
    ///
    /// # Errors
    /// No more is taken; decoding ends.
    fn take(&mut self, decoded: &[u8]) -> Result<(), Self::Error>;
}

impl Sink for Peek {
    type Error = PeekError;

    fn take(&mut self, decoded: &[u8]) -> Result<(), PeekError> {
        self.feed(decoded)
    }
}

/// Decodes one body.
pub struct Decoder<S: Sink> {
    coding: Coding,
    format: Format<S>,
    /// What else than `{` a plain body would start with.
    plain_start: u8,
    is_started: bool,
    taken: usize,
}

enum Format<S: Sink> {
    Gzip(MultiGzDecoder<Bounded<S>>),
    Deflate(ZlibDecoder<Bounded<S>>),
    Brotli(Box<DecompressorWriter<Bounded<S>>>),
    Zstd(ZstdDecoder<'static, Bounded<S>>),
}

impl<S: Sink> Decoder<S> {
    /// Prepares for a body of `encoded_bytes`, of which `options` say what it may decode to. `is_form` is whether it is
    /// a form, decoded.
    ///
    /// # Errors
    /// There is no memory for the decoder.
    pub fn new(
        coding: Coding,
        encoded_bytes: usize,
        is_form: bool,
        options: &Options,
        sink: S,
    ) -> Result<Self, PeekError> {
        let sink = Bounded::new(encoded_bytes, options, sink);
        let format = match coding {
            Coding::Gzip => Format::Gzip(MultiGzDecoder::new(sink)),
            Coding::Deflate => Format::Deflate(ZlibDecoder::new(sink)),
            Coding::Brotli => Format::Brotli(Box::new(DecompressorWriter::new(sink, BUFFER_BYTES))),
            Coding::Zstd => Format::Zstd(zstd_decoder(sink).map_err(|_| corrupt(coding, 0))?),
        };
        // A form starts with its delimiter's dashes.
        let plain_start = if is_form { b'-' } else { b'{' };
        Ok(Self { coding, format, plain_start, is_started: false, taken: 0 })
    }

    /// Takes the next encoded bytes. Behind an error nothing more is decoded.
    ///
    /// # Errors
    /// The body is not what its coding says, decodes to too much, or the sink takes no more.
    pub fn feed(&mut self, encoded: &[u8]) -> Result<(), S::Error> {
        self.guard(encoded)?;
        let written = self.format.writer().write_all(encoded);
        self.taken += encoded.len();
        written.map_err(|_| self.refusal())
    }

    /// Hands the sink what the bytes so far decode to: some decoders keep a little back.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn flush(&mut self) -> Result<(), S::Error> {
        self.format.writer().flush().map_err(|_| self.refusal())
    }

    /// Ends the body, and gives the sink back.
    ///
    /// # Errors
    /// As [`Self::feed`]; and the body ends too early, where its format tells.
    pub fn finish(mut self) -> Result<S, S::Error> {
        // An empty body is empty in every coding.
        if self.taken > 0 && self.format.end().is_err() {
            return Err(self.refusal());
        }
        self.format.sink().sink.take().ok_or_else(|| corrupt(self.coding, self.taken).into())
    }

    /// Refuses a body whose first byte besides white space is a plain body's.
    fn guard(&mut self, encoded: &[u8]) -> Result<(), PeekError> {
        if self.is_started {
            return Ok(());
        }
        let Some(&first) = encoded.iter().find(|byte| !byte.is_ascii_whitespace()) else { return Ok(()) };
        self.is_started = true;
        if first == b'{' || first == self.plain_start {
            return Err(PeekError::PlainBehindEncoding { encoding: self.coding.name() });
        }
        Ok(())
    }

    /// Why the decoder stopped: what it decoded was refused, or cannot be decoded.
    fn refusal(&mut self) -> S::Error {
        let refused = self.format.sink().refused.take();
        refused.unwrap_or_else(|| corrupt(self.coding, self.taken).into())
    }
}

impl<S: Sink> std::fmt::Debug for Decoder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("coding", &self.coding)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl<S: Sink> Format<S> {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(decoder) => decoder,
            Self::Deflate(decoder) => decoder,
            Self::Brotli(decoder) => decoder,
            Self::Zstd(decoder) => decoder,
        }
    }

    fn sink(&mut self) -> &mut Bounded<S> {
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

fn zstd_decoder<S: Sink>(sink: Bounded<S>) -> io::Result<ZstdDecoder<'static, Bounded<S>>> {
    let mut decoder = ZstdDecoder::new(sink)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

fn corrupt(coding: Coding, at: usize) -> PeekError {
    PeekError::CorruptEncoding { encoding: coding.name(), at }
}

/// A sink that takes so much and no more.
struct Bounded<S: Sink> {
    /// Until the end.
    sink: Option<S>,
    /// Bytes that may still come.
    left: u64,
    /// What is said of a body that decodes to more.
    excess: PeekError,
    /// Why no more is taken.
    refused: Option<S::Error>,
}

impl<S: Sink> Bounded<S> {
    fn new(encoded_bytes: usize, options: &Options, sink: S) -> Self {
        let ratio = options.max_decoded_ratio;
        let (limit, expanded) = (
            options.max_decoded_bytes,
            FREE_BYTES.saturating_add(u64::from(ratio).saturating_mul(encoded_bytes as u64)),
        );
        let excess = if limit <= expanded {
            PeekError::DecodedTooLarge { limit }
        } else {
            PeekError::DecodedTooFar { ratio, limit: expanded }
        };
        Self { sink: Some(sink), left: limit.min(expanded), excess, refused: None }
    }

    fn take(&mut self, decoded: &[u8]) -> Result<(), S::Error> {
        self.left = self.left.checked_sub(decoded.len() as u64).ok_or_else(|| self.excess.clone())?;
        self.sink.as_mut().map_or(Ok(()), |sink| sink.take(decoded))
    }
}

impl<S: Sink> Write for Bounded<S> {
    fn write(&mut self, decoded: &[u8]) -> io::Result<usize> {
        if self.refused.is_none() {
            self.refused = self.take(decoded).err();
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
