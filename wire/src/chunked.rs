//! Chunked transfer coding (RFC 9112 §7.1), taken apart in place.
//!
//! Strict where servers and proxies have been played off against each other: line ends are CRLF, sizes are hexadecimal
//! digits and nothing else, and a chunk is followed by its line end. Extensions and trailers are dropped, within a bound.

use bytes::{Buf, Bytes, BytesMut};

/// The most bytes of extensions, or of trailers, that are read without a byte of body between them.
const MAX_FRAMING_BYTES: usize = 16 * 1024;

/// A size has no more digits than fit 64 bits.
const MAX_SIZE_DIGITS: u8 = 16;

/// What a size may be before its last digit: one of 64 bits could be taken for a negative one, or overflow with what is
/// added to it.
const MAX_SIZE_SO_FAR: u64 = u64::MAX >> 5;

/// The body breaks the rules of the coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a chunk of the body is malformed")]
pub struct BadChunk;

/// Takes one body apart, however its bytes are cut.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Bytes since the last byte of body.
    framing_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size {
        value: u64,
        digits: u8,
    },
    /// Spaces behind the size.
    Padding {
        value: u64,
    },
    Extension {
        value: u64,
    },
    SizeEnd {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataEnd,
    DataLineFeed,
    /// At the start of a line behind the last chunk.
    TrailerStart,
    Trailer,
    TrailerLineFeed,
    LastLineFeed,
    Done,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::START, framing_bytes: 0 }
    }
}

impl Decoder {
    /// Whether the body has come to its end.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes what `buffer` has of the body out of it, and leaves what follows the body. The data of several chunks
    /// is moved together; that of one is not moved.
    ///
    /// # Errors
    /// The coding is broken. What was taken before is lost: nothing that follows can be trusted.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Bytes, BadChunk> {
        let (mut start, mut length, mut read) = (0, 0, 0);
        while read < buffer.len() && self.state != State::Done {
            let State::Data { left } = self.state else {
                self.step(buffer[read])?;
                read += 1;
                continue;
            };
            let available = buffer.len() - read;
            let taken = usize::try_from(left).map_or(available, |left| left.min(available));
            if length == 0 {
                start = read;
            } else {
                buffer.copy_within(read..read + taken, start + length);
            }
            length += taken;
            read += taken;
            self.framing_bytes = 0;
            let left = left - taken as u64;
            self.state = if left == 0 { State::DataEnd } else { State::Data { left } };
        }
        if length == 0 {
            buffer.advance(read);
            return Ok(Bytes::new());
        }
        buffer.advance(start);
        let data = buffer.split_to(length).freeze();
        buffer.advance(read - start - length);
        Ok(data)
    }

    fn step(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.framing_bytes += 1;
        if self.framing_bytes > MAX_FRAMING_BYTES {
            return Err(BadChunk);
        }
        self.state = self.state.after(byte)?;
        Ok(())
    }
}

impl State {
    const START: Self = Self::Size { value: 0, digits: 0 };

    fn after(self, byte: u8) -> Result<Self, BadChunk> {
        Ok(match (self, byte) {
            (Self::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F')
                if digits < MAX_SIZE_DIGITS && value <= MAX_SIZE_SO_FAR =>
            {
                let digit = (byte as char).to_digit(16).ok_or(BadChunk)?;
                Self::Size { value: (value << 4) | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { value, digits: 1.. } | Self::Padding { value }, b' ' | b'\t') => {
                Self::Padding { value }
            }
            (Self::Size { value, digits: 1.. } | Self::Padding { value }, b';') => Self::Extension { value },
            (
                Self::Size { value, digits: 1.. } | Self::Padding { value } | Self::Extension { value },
                b'\r',
            ) => Self::SizeEnd { value },
            (Self::Extension { value }, byte) if byte != b'\n' => Self::Extension { value },
            (Self::SizeEnd { value: 0 }, b'\n') => Self::TrailerStart,
            (Self::SizeEnd { value }, b'\n') => Self::Data { left: value },
            (Self::DataEnd, b'\r') => Self::DataLineFeed,
            (Self::DataLineFeed, b'\n') => Self::START,
            (Self::TrailerStart, b'\r') => Self::LastLineFeed,
            (Self::Trailer, b'\r') => Self::TrailerLineFeed,
            (Self::TrailerStart | Self::Trailer, byte) if byte != b'\n' => Self::Trailer,
            (Self::TrailerLineFeed, b'\n') => Self::TrailerStart,
            (Self::LastLineFeed, b'\n') => Self::Done,
            _ => return Err(BadChunk),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input` in pieces of `piece` bytes: the body, and what is left behind it.
    fn decode(input: &[u8], piece: usize) -> Result<(Vec<u8>, bool, Vec<u8>), BadChunk> {
        let mut decoder = Decoder::default();
        let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
        for bytes in input.chunks(piece) {
            buffer.extend_from_slice(bytes);
            body.extend_from_slice(&decoder.decode(&mut buffer)?);
        }
        Ok((body, decoder.is_done(), buffer.to_vec()))
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let input =
            b"4\r\nWiki\r\n5;name=\"v\"\r\npedia\r\nE \r\n in\r\n\r\nchunks.\r\n0\r\nx-t: 1\r\n\r\nNEXT";
        for piece in 1..=input.len() {
            let (body, is_done, rest) = decode(input, piece).unwrap();
            assert_eq!(body, b"Wikipedia in\r\n\r\nchunks.", "{piece}");
            assert!(is_done);
            assert_eq!(rest, b"NEXT", "{piece}");
        }
    }

    #[test]
    fn one_chunk_is_not_moved() {
        let mut buffer = BytesMut::from(&b"5\r\nhello\r\n"[..]);
        let at = buffer[3..].as_ptr();
        let data = Decoder::default().decode(&mut buffer).unwrap();
        assert_eq!((data.as_ptr(), &*data), (at, &b"hello"[..]));
        assert!(buffer.is_empty());
    }

    #[test]
    fn an_unfinished_body_is_not_done() {
        for input in [&b"4\r\nWi"[..], b"4\r\nWiki\r\n", b"0\r\n", b"0\r\n\r", b"0\r\nx: y\r\n", b""] {
            let (_, is_done, rest) = decode(input, 1).unwrap();
            assert!(!is_done && rest.is_empty(), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for input in [
            &b"zz\r\n"[..],
            b"\r\n",
            b" 4\r\nWiki",
            b"0x4\r\nWiki",
            b"+4\r\nWiki",
            b"-4\r\n",
            b"4\nWiki",
            b"4\r\rWiki",
            b"4 0\r\nWiki",
            b"4 x\r\nWiki",
            b"4 \nWiki",
            b"4;x\ny\r\nWiki",
            b"2\r\nWiki\r\n",
            b"4\r\nWiki0\r\n",
            b"4\r\nWiki\n0\r\n",
            b"10000000000000000\r\n",
            b"8000000000000000\r\n",
            b"00000000000000004\r\nWiki",
            b"0\r\nx: y\n\r\n",
            b"0\r\n\n",
        ] {
            assert_eq!(decode(input, input.len()), Err(BadChunk), "{}", input.escape_ascii());
            assert_eq!(decode(input, 1), Err(BadChunk), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn extensions_and_trailers_have_a_bound() {
        let endless = [&b"4;"[..], &[b'x'; MAX_FRAMING_BYTES]].concat();
        assert_eq!(decode(&endless, 1000), Err(BadChunk));
        let endless = [&b"0\r\n"[..], &b"x: y\r\n".repeat(MAX_FRAMING_BYTES / 6 + 1)].concat();
        assert_eq!(decode(&endless, 1000), Err(BadChunk));
        // Many small chunks are no such thing.
        let many = [&b"1\r\nx\r\n".repeat(MAX_FRAMING_BYTES)[..], b"0\r\n\r\n"].concat();
        assert_eq!(decode(&many, 4096).unwrap().0.len(), MAX_FRAMING_BYTES);
    }
}
