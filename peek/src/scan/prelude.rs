//! What comes before the document, and what kind of document its first byte starts.

/// The UTF-8 byte order mark. RFC 8259 forbids to send it and allows to ignore it; Python does.
const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Reads up to the document's first byte.
#[derive(Debug, Default)]
pub(super) struct Prelude {
    /// Bytes of a byte order mark seen at the very start.
    bom_bytes: usize,
    /// Whether there were bytes that JSON does not start with and a server may strip: those of UTF-16 and
    /// UTF-32, and what Python's `strip` counts as white space.
    is_odd: bool,
}

/// What a byte before or at the start of the document means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Not the document yet.
    Skip,
    /// The object's opening bracket.
    Object,
    /// The first byte of another JSON value.
    OtherJson,
    /// The first byte of something else.
    NoJson,
    /// JSON in UTF-16 or UTF-32, which Python tells by its first bytes and reads, or behind odd bytes.
    NotUtf8,
}

impl Prelude {
    /// Whether nothing but white space and a byte order mark was seen.
    pub(super) fn is_blank(&self) -> bool {
        !self.is_odd && matches!(self.bom_bytes, 0 | 3)
    }

    /// Takes the byte at offset `at` of the body. Where JSON is not declared, bytes that other encodings
    /// have are skipped at first: an opaque body may start with them.
    pub(super) fn step(&mut self, byte: u8, at: usize, is_declared: bool) -> Opening {
        if at == self.bom_bytes && BOM.get(at) == Some(&byte) {
            self.bom_bytes += 1;
            return Opening::Skip;
        }
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => Opening::Skip,
            0 | 0xFE | 0xFF if is_declared => Opening::NotUtf8,
            0 | 0xFE | 0xFF | 0xEF | 0xBB | 0xBF | 0x0B | 0x0C | 0x1C..=0x1F if !is_declared => {
                self.is_odd = true;
                Opening::Skip
            }
            b'{' if !self.is_blank() => Opening::NotUtf8,
            b'{' => Opening::Object,
            b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' if self.is_blank() => Opening::OtherJson,
            _ => Opening::NoJson,
        }
    }
}
