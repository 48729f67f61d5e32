//! `Content-Type` and `Content-Encoding`: what the client says about its body.
//!
//! Parameters are read strictly, since a boundary or charset that two parsers read differently makes them
//! read two different bodies.

use crate::{Excerpt, FormFault, PeekError};

/// What the client says its body is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/json`, `text/json` or `application/*+json`.
    Json,
    /// `multipart/form-data`.
    Form {
        /// Separates its parts.
        boundary: Vec<u8>,
        /// Of the fields that declare none.
        charset: Charset,
    },
    /// Anything else, or nothing.
    Other,
}

/// What a charset says of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Charset {
    /// They are UTF-8: no charset, UTF-8 itself, or ASCII.
    #[default]
    Utf8,
    /// ASCII bytes are ASCII and others are not for the gateway to read: ISO 8859, Windows' code pages for Europe.
    AsciiOrOther,
}

/// A coding of `Content-Encoding` that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip` (RFC 1952), of any number of members.
    Gzip,
    /// `deflate`: a zlib stream (RFC 1950).
    Deflate,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878), of any number of frames.
    Zstd,
}

/// Longest boundary that RFC 2046, section 5.1.1, permits.
const MAX_BOUNDARY_BYTES: usize = 70;

impl Media {
    /// Reads a `Content-Type`.
    ///
    /// # Errors
    /// A charset other than UTF-8, or a form without a usable boundary.
    pub(crate) fn parse(content_type: &[u8]) -> Result<Self, PeekError> {
        if content_type == b"application/json" {
            return Ok(Self::Json);
        }
        let (essence, parameters) = match content_type.iter().position(|&byte| byte == b';') {
            Some(at) => (&content_type[..at], &content_type[at..]),
            None => (content_type, &[][..]),
        };
        let essence = essence.trim_ascii().to_ascii_lowercase();
        let parameters = Parameters(parameters).collect::<Option<Vec<_>>>();
        // Some servers look at how the type starts and no further.
        if essence.starts_with(b"multipart/form-data") {
            let is_exact = essence.len() == b"multipart/form-data".len();
            let boundary = parameters.as_ref().filter(|_| is_exact).and_then(|all| boundary(all));
            let boundary = boundary.ok_or(PeekError::Form { at: 0, fault: FormFault::Boundary })?.to_vec();
            let charset = charset(parameters.as_deref(), content_type)?;
            return Ok(Self::Form { boundary, charset });
        }
        // What is not ASCII may stand anywhere in JSON, the model's name included.
        if charset(parameters.as_deref(), content_type)? != Charset::Utf8 {
            return Err(PeekError::UnsupportedCharset { charset: Excerpt::of(content_type) });
        }
        Ok(if is_json(&essence) { Self::Json } else { Self::Other })
    }
}

impl Coding {
    /// Reads a `Content-Encoding`, several headers joined by commas; `None` where nothing is encoded.
    ///
    /// # Errors
    /// An unknown coding, and more than one: nothing that talks to a model server stacks them.
    pub fn parse(content_encoding: &[u8]) -> Result<Option<Self>, PeekError> {
        let mut coding = None;
        for token in content_encoding.split(|&byte| byte == b',') {
            let token = token.trim_ascii().to_ascii_lowercase();
            let one = match &*token {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Some(Self::Gzip),
                b"deflate" => Some(Self::Deflate),
                b"br" => Some(Self::Brotli),
                b"zstd" => Some(Self::Zstd),
                _ => None,
            };
            if one.is_none() || coding.is_some() {
                return Err(PeekError::UnsupportedEncoding { encoding: Excerpt::of(content_encoding) });
            }
            coding = one;
        }
        Ok(coding)
    }

    /// The coding's registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

fn is_json(essence: &[u8]) -> bool {
    matches!(essence, b"application/json" | b"text/json")
        || essence.starts_with(b"application/") && essence.ends_with(b"+json")
}

/// The one boundary among the parameters, if RFC 2046 permits it. Spaces, which it permits inside, are not:
/// nobody sends them and parsers strip them.
fn boundary<'a>(parameters: &[Parameter<'a>]) -> Option<&'a [u8]> {
    let mut all = parameters.iter().filter(|parameter| parameter.is_some_form_of(b"boundary"));
    let (one, None) = (all.next()?, all.next()) else { return None };
    let is_permitted = |&byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    let is_usable = one.name.len() == b"boundary".len()
        && (1..=MAX_BOUNDARY_BYTES).contains(&one.value.len())
        && one.value.iter().all(is_permitted);
    is_usable.then_some(one.value)
}

/// The charset, unless it reads ASCII bytes as other characters, which servers that obey it would do. Where
/// the parameters cannot be told apart (`None`), the mere word is enough to refuse them.
fn charset(parameters: Option<&[Parameter<'_>]>, content_type: &[u8]) -> Result<Charset, PeekError> {
    let refused = |value: &[u8]| PeekError::UnsupportedCharset { charset: Excerpt::of(value) };
    let Some(parameters) = parameters else {
        let lower = content_type.to_ascii_lowercase();
        return match memchr::memmem::find(&lower, b"charset") {
            Some(_) => Err(refused(content_type)),
            None => Ok(Charset::Utf8),
        };
    };
    let mut charset = Charset::Utf8;
    for parameter in parameters {
        match parameter.charset() {
            Some(Charset::Utf8) => {}
            Some(Charset::AsciiOrOther) => charset = Charset::AsciiOrOther,
            None => return Err(refused(parameter.value)),
        }
    }
    Ok(charset)
}

/// One parameter of a header value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameter<'a> {
    /// As sent, in any case.
    pub(crate) name: &'a [u8],
    /// Without quotes.
    pub(crate) value: &'a [u8],
}

impl Parameter<'_> {
    /// Whether it is the parameter `name`, extended or continued ones (`name*`, `name*0`: RFC 2231)
    /// included.
    pub(crate) fn is_some_form_of(&self, name: &[u8]) -> bool {
        let base = self.name.split(|&byte| byte == b'*').next().unwrap_or_default();
        base.eq_ignore_ascii_case(name)
    }

    /// The charset that it names; UTF-8 for a parameter that names none, `None` for one in which ASCII is not ASCII, or
    /// that is not known.
    pub(crate) fn charset(&self) -> Option<Charset> {
        if !self.is_some_form_of(b"charset") {
            return Some(Charset::Utf8);
        }
        if self.name.len() != b"charset".len() {
            return None;
        }
        let value = self.value.to_ascii_lowercase();
        match &*value {
            b"utf-8" | b"utf8" | b"us-ascii" | b"ascii" => Some(Charset::Utf8),
            b"latin1" => Some(Charset::AsciiOrOther),
            _ if value.starts_with(b"iso-8859-") || value.starts_with(b"windows-125") => {
                Some(Charset::AsciiOrOther)
            }
            _ => None,
        }
    }
}

/// The parameters behind a header's value, each with its semicolon; an item is `None` where the syntax
/// leaves a doubt: a backslash before a quote, which ends the string for some and not for others (but see
/// [`end_of_file_name`]), a missing value, or bytes between the value and the next semicolon.
pub(crate) struct Parameters<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<Parameter<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.0.trim_ascii();
        while let Some(behind) = rest.strip_prefix(b";") {
            rest = behind.trim_ascii_start();
        }
        if rest.is_empty() {
            return None;
        }
        let one = split_parameter(rest);
        self.0 = one.map_or(&[][..], |(_, rest)| rest);
        Some(one.map(|(parameter, _)| parameter))
    }
}

fn split_parameter(text: &[u8]) -> Option<(Parameter<'_>, &[u8])> {
    let equals = text.iter().position(|&byte| byte == b'=')?;
    let (name, value) = (&text[..equals], &text[equals + 1..]);
    if !is_token(name) {
        return None;
    }
    let (value, rest) = match value.strip_prefix(b"\"") {
        Some(quoted) => {
            let mut end = quoted.iter().position(|&byte| byte == b'"')?;
            if quoted[..end].ends_with(b"\\") {
                end = name.eq_ignore_ascii_case(b"filename").then(|| end_of_file_name(quoted)).flatten()?;
            }
            (&quoted[..end], &quoted[end + 1..])
        }
        None => {
            let end = value.iter().position(|&byte| matches!(byte, b';' | b' ' | b'\t'));
            let (value, rest) = value.split_at(end.unwrap_or(value.len()));
            if value.is_empty() || value.contains(&b'"') {
                return None;
            }
            (value, rest)
        }
    };
    let rest = rest.trim_ascii_start();
    (rest.is_empty() || rest.starts_with(b";")).then_some((Parameter { name, value }, rest))
}

/// Where a file's name ends that has quotes in it behind backslashes, as curl and Go write them. Nobody routes by such a
/// name, so it may be read in two ways, as long as nothing else can: it has to be the last parameter, and has to hold
/// nothing that could be another for those for whom it ends at its first quote.
fn end_of_file_name(quoted: &[u8]) -> Option<usize> {
    let end = quoted.trim_ascii_end().len().checked_sub(1)?;
    let (name, last) = quoted.split_at(end);
    let mut before = 0;
    for &byte in name {
        let is_escaped = before == b'\\';
        match byte {
            b';' | b'=' => return None,
            b'"' if !is_escaped => return None,
            // Does it escape itself, or what follows?
            b'\\' if is_escaped => return None,
            _ => before = byte,
        }
    }
    (last.starts_with(b"\"") && before != b'\\').then_some(end)
}

/// Whether `bytes` is a token as RFC 9110, section 5.6.2, has it.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    let is_permitted = |&byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !bytes.is_empty() && bytes.iter().all(is_permitted)
}

#[cfg(test)]
mod tests;
