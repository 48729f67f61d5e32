//! Strings of a document, decoded only where somebody has to read them.

use std::borrow::Cow;

/// White space as it is mostly written.
const BLANKS: [&str; 4] = [" ", "\\n", "\\t", "\\r"];

/// A string, as it stands in a document or in plain.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// What stands between the quotes, escapes and all.
    Escaped(&'a str),
    /// The string itself.
    Plain(Cow<'a, str>),
}

impl<'a> Text<'a> {
    /// A string in plain.
    pub fn plain(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Plain(text.into())
    }

    /// The string itself. A lone surrogate, which no string of Rust's can hold, becomes U+FFFD.
    pub fn decoded(&self) -> Cow<'a, str> {
        match self {
            Self::Escaped(escaped) if memchr::memchr(b'\\', escaped.as_bytes()).is_none() => {
                Cow::Borrowed(escaped)
            }
            Self::Escaped(escaped) => Cow::Owned(unescape(escaped)),
            Self::Plain(plain) => plain.clone(),
        }
    }

    /// The string, if it is written without escapes: names and keywords are.
    pub fn as_word(&self) -> Option<&'a str> {
        match self {
            Self::Escaped(escaped) if memchr::memchr(b'\\', escaped.as_bytes()).is_none() => Some(escaped),
            Self::Plain(Cow::Borrowed(plain)) => Some(plain),
            _ => None,
        }
    }

    /// How many characters it has.
    pub fn characters(&self) -> usize {
        let escaped = match self {
            Self::Escaped(escaped) => *escaped,
            Self::Plain(plain) => return plain.chars().count(),
        };
        let (mut rest, mut count) = (escaped, escaped.chars().count());
        while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
            let is_code = rest.as_bytes().get(at + 1) == Some(&b'u');
            let length = if is_code { code_point(&rest[at..]).1 } else { 2 };
            // What is written by so many is one.
            count = count.saturating_sub(length - 1);
            rest = rest.get(at + length..).unwrap_or_default();
        }
        count
    }

    /// How many bytes it has as it stands.
    pub fn written_bytes(&self) -> usize {
        match self {
            Self::Escaped(escaped) => escaped.len(),
            Self::Plain(plain) => plain.len(),
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Escaped(escaped) => escaped.is_empty(),
            Self::Plain(plain) => plain.is_empty(),
        }
    }

    /// Whether nothing is in it but white space.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Escaped(escaped) => {
                let mut rest = *escaped;
                while let Some(after) = BLANKS.iter().find_map(|blank| rest.strip_prefix(blank)) {
                    rest = after;
                }
                // Other white space is rare: only where it may be is the text decoded to be seen.
                let may_be_blank = rest.starts_with(char::is_whitespace)
                    || rest.starts_with("\\u")
                    || rest.starts_with("\\f");
                rest.is_empty() || may_be_blank && Self::Escaped(rest).decoded().trim().is_empty()
            }
            Self::Plain(plain) => plain.trim().is_empty(),
        }
    }

    /// It without a borrow.
    pub fn into_owned(self) -> Text<'static> {
        Text::Plain(Cow::Owned(self.decoded().into_owned()))
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.decoded() == other.decoded()
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        match self {
            Self::Plain(plain) => plain == other,
            Self::Escaped(_) => self.decoded() == other,
        }
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(plain: &'a str) -> Self {
        Self::Plain(Cow::Borrowed(plain))
    }
}

impl From<String> for Text<'_> {
    fn from(plain: String) -> Self {
        Self::Plain(Cow::Owned(plain))
    }
}

/// The string that is written `escaped`, which the parser has found well formed.
fn unescape(escaped: &str) -> String {
    let mut plain = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        plain.push_str(&rest[..at]);
        let mut after = rest[at + 1..].chars();
        let (character, length) = match after.next() {
            Some('n') => ('\n', 2),
            Some('t') => ('\t', 2),
            Some('r') => ('\r', 2),
            Some('b') => ('\u{8}', 2),
            Some('f') => ('\u{c}', 2),
            Some('u') => code_point(&rest[at..]),
            Some(other) => (other, 1 + other.len_utf8()),
            None => (char::REPLACEMENT_CHARACTER, 1),
        };
        plain.push(character);
        rest = rest.get(at + length..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

/// The character that `\uXXXX` at the start of `text`, or a pair of them, stands for, and how many bytes they take.
fn code_point(text: &str) -> (char, usize) {
    const LONE: char = char::REPLACEMENT_CHARACTER;
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(0) else { return (LONE, text.len().min(2)) };
    if let Some(character) = char::from_u32(first) {
        return (character, 6);
    }
    match unit(6) {
        Some(second) if (0xD800..0xDC00).contains(&first) && (0xDC00..0xE000).contains(&second) => {
            let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            (char::from_u32(code).unwrap_or(LONE), 12)
        }
        _ => (LONE, 6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_as_json_has_them() {
        for (escaped, plain) in [
            ("", ""),
            ("plain ß", "plain ß"),
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r"\u00e9\u0000", "é\0"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud83d!", "\u{fffd}!"),
            (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(Text::Escaped(escaped).decoded(), plain, "{escaped}");
            assert_eq!(Text::Escaped(escaped).characters(), plain.chars().count(), "{escaped}");
        }
    }

    #[test]
    fn white_space_is_blank_however_it_is_written() {
        for (escaped, is_blank) in [
            ("", true),
            (" \\n\\t", true),
            ("\\u0020", true),
            ("\\u00a0 ", true),
            ("\u{a0}\\n\u{2003}", true),
            ("\\n\\na", false),
            ("\\n\\\\n", false),
            ("\u{a0}b", false),
            ("a ", false),
            (" a", false),
        ] {
            assert_eq!(Text::Escaped(escaped).is_blank(), is_blank, "{escaped}");
        }
    }
}
