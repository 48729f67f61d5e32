//! Strings: finding their end, and resolving their escapes.

use std::borrow::Cow;

use memchr::memchr2;

use crate::NameFault;

/// Where a walk through a string ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TextEnd {
    /// Behind its closing quote.
    Closed(usize),
    /// At the end of the window.
    Open,
    /// At a byte that makes an escape invalid.
    BadEscape(usize),
}

/// Walks strings, also where an escape is cut in two.
#[derive(Debug, Default)]
pub(super) struct Text {
    escape: Escape,
}

/// How far an escape has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// Behind the backslash.
    Slash,
    /// Behind `\u` and all but so many hexadecimal digits.
    Hex { left: u8 },
}

impl Escape {
    /// The state behind `byte`, or `None` where it is no escape.
    fn step(self, byte: u8) -> Option<Self> {
        match self {
            Self::Slash if byte == b'u' => Some(Self::Hex { left: 4 }),
            Self::Slash => is_simple_escape(byte).then_some(Self::None),
            Self::Hex { left: 1 } => byte.is_ascii_hexdigit().then_some(Self::None),
            Self::Hex { left } => byte.is_ascii_hexdigit().then_some(Self::Hex { left: left - 1 }),
            Self::None => Some(Self::None),
        }
    }
}

impl Text {
    /// Walks on from `i`, which lies within a string.
    pub(super) fn skip(&mut self, window: &[u8], mut i: usize) -> TextEnd {
        while self.escape != Escape::None {
            let Some(&byte) = window.get(i) else { return TextEnd::Open };
            let Some(next) = self.escape.step(byte) else { return TextEnd::BadEscape(i) };
            self.escape = next;
            i += 1;
        }
        loop {
            let Some(skipped) = find_quote_or_backslash(&window[i..]) else { return TextEnd::Open };
            i += skipped;
            if window[i] == b'"' {
                return TextEnd::Closed(i + 1);
            }
            // Escapes come in runs (`\n\n`, and all of a text that was written as ASCII only): stay here.
            while window.get(i) == Some(&b'\\') {
                i += match window[i..].first_chunk() {
                    Some(&[_, b'u', a, b, c, d]) if is_hex([a, b, c, d]) => 6,
                    Some(&[_, byte, ..]) if is_simple_escape(byte) => 2,
                    _ => match self.cut_escape(window, i) {
                        Ok(len) => len,
                        Err(end) => return end,
                    },
                }
            }
        }
    }

    /// Steps through the escape at `start` that is invalid or close to the end of the window; gives its
    /// length.
    #[cold]
    fn cut_escape(&mut self, window: &[u8], start: usize) -> Result<usize, TextEnd> {
        self.escape = Escape::Slash;
        let mut i = start;
        while self.escape != Escape::None {
            i += 1;
            let Some(&byte) = window.get(i) else { return Err(TextEnd::Open) };
            let Some(next) = self.escape.step(byte) else { return Err(TextEnd::BadEscape(i)) };
            self.escape = next;
        }
        Ok(i + 1 - start)
    }
}

/// Offset of the first byte that is `"` or `\`.
///
/// Many strings of a chat (`role`, `user`) are shorter than what makes a vector search pay off, so the first
/// eight bytes are looked at as one word.
#[inline]
fn find_quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    let Some((word, rest)) = bytes.split_first_chunk::<8>() else {
        return bytes.iter().position(|&byte| byte == b'"' || byte == b'\\');
    };
    let word = u64::from_le_bytes(*word);
    let hits = zero_bytes(word ^ repeat(b'"')) | zero_bytes(word ^ repeat(b'\\'));
    if hits != 0 {
        return Some((hits.trailing_zeros() / 8) as usize);
    }
    memchr2(b'"', b'\\', rest).map(|at| 8 + at)
}

/// The high bit of each byte that is zero; above the lowest such byte the bits mean nothing.
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(repeat(0x01)) & !word & repeat(0x80)
}

const fn repeat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

fn is_simple_escape(byte: u8) -> bool {
    matches!(byte, b'n' | b'"' | b'\\' | b'/' | b'b' | b'f' | b'r' | b't')
}

/// Whether all four are hexadecimal digits, without a branch for each.
fn is_hex(digits: [u8; 4]) -> bool {
    digits.iter().fold(true, |all, &digit| all & IS_HEX[usize::from(digit)])
}

static IS_HEX: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_hexdigit();
        byte += 1;
    }
    table
};

/// Resolves the escapes of a string's raw bytes, which [`Text`] has walked through.
///
/// # Errors
/// Bytes that are not UTF-8, and escaped halves of surrogate pairs.
pub(super) fn unescape(raw: &[u8]) -> Result<Cow<'_, str>, NameFault> {
    let raw = std::str::from_utf8(raw).map_err(|_| NameFault::NotUtf8)?;
    let Some(first) = raw.find('\\') else { return Ok(Cow::Borrowed(raw)) };
    let mut resolved = String::with_capacity(raw.len());
    resolved.push_str(&raw[..first]);
    let mut rest = &raw[first..];
    while let Some(at) = rest.find('\\') {
        resolved.push_str(&rest[..at]);
        let (c, len) = unescape_one(&rest.as_bytes()[at..])?;
        resolved.push(c);
        rest = &rest[at + len..];
    }
    resolved.push_str(rest);
    Ok(Cow::Owned(resolved))
}

/// The character that the escape at the start of `raw` stands for, and the escape's length.
fn unescape_one(raw: &[u8]) -> Result<(char, usize), NameFault> {
    let c = match raw.get(1) {
        Some(b'u') => return unescape_hex(raw),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(&byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
        _ => return Err(NameFault::Escape),
    };
    Ok((c, 2))
}

fn unescape_hex(raw: &[u8]) -> Result<(char, usize), NameFault> {
    let high = code_unit(raw).ok_or(NameFault::Escape)?;
    if let Some(c) = char::from_u32(high) {
        return Ok((c, 6));
    }
    let low = code_unit(&raw[6..]).filter(|low| (0xDC00..0xE000).contains(low));
    match (high, low) {
        (0xD800..0xDC00, Some(low)) => {
            let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            Ok((char::from_u32(code).ok_or(NameFault::LoneSurrogate)?, 12))
        }
        _ => Err(NameFault::LoneSurrogate),
    }
}

/// The code unit that `\uXXXX` at the start of `raw` stands for.
fn code_unit(raw: &[u8]) -> Option<u32> {
    let digits = raw.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}
