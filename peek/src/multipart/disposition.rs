//! A part's headers: which field it is.

use crate::{
    FormFault,
    media::{Charset, Parameters, is_token},
};

/// What a part means to routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The field `model`, and in what its value is written.
    Model(Charset),
    Other,
}

/// Reads a part's headers, each line with its CRLF, the empty one included. `charset` is the form's.
pub(super) fn read(headers: &[u8], mut charset: Charset) -> Result<Part, FormFault> {
    let mut disposition = None;
    let mut is_plain = true;
    for line in headers.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let (name, value) = split_header(line).ok_or(FormFault::Header)?;
        if name.eq_ignore_ascii_case(b"content-disposition") {
            if disposition.replace(value).is_some() {
                return Err(FormFault::Disposition);
            }
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            is_plain &= is_identity(value);
        } else if name.eq_ignore_ascii_case(b"content-type") {
            match plain_charset(value) {
                // Who asks for more than ASCII in the form's charset does not get around it here.
                Some(Charset::Utf8) => {}
                Some(other) => charset = other,
                None => is_plain = false,
            }
        }
    }
    let field = field(disposition.ok_or(FormFault::Disposition)?).ok_or(FormFault::Disposition)?;
    match field.name {
        b"model" if is_plain && !field.is_file => Ok(Part::Model(charset)),
        // `_charset_` changes how the other fields are read (RFC 7578, section 4.6).
        b"model" | b"_charset_" => Err(FormFault::ModelNotPlain),
        other if is_model_to_some(other) => Err(FormFault::ModelAlias),
        _ => Ok(Part::Other),
    }
}

/// A header line's name and value; `None` for folded lines and control characters, too.
fn split_header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let is_clean = line.iter().all(|&byte| byte == b'\t' || !byte.is_ascii_control());
    (is_clean && is_token(&line[..colon])).then(|| (&line[..colon], line[colon + 1..].trim_ascii()))
}

struct Field<'a> {
    name: &'a [u8],
    is_file: bool,
}

/// The one field that a `Content-Disposition` names.
fn field(disposition: &[u8]) -> Option<Field<'_>> {
    let end = disposition.iter().position(|&byte| byte == b';').unwrap_or(disposition.len());
    let (kind, parameters) = disposition.split_at(end);
    if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
        return None;
    }
    let mut name = None;
    let mut is_file = false;
    for parameter in Parameters(parameters) {
        let parameter = parameter?;
        if parameter.is_some_form_of(b"name") {
            if name.is_some() || parameter.name.len() != b"name".len() {
                return None;
            }
            name = Some(parameter.value);
        }
        is_file |= parameter.is_some_form_of(b"filename");
    }
    Some(Field { name: name?, is_file })
}

/// Whether some parser could take the name for `model`: nothing but its letters and digits counts, percent
/// escapes resolved.
fn is_model_to_some(name: &[u8]) -> bool {
    let mut letters = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, behind @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        letters.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &rest[3..] } else { behind };
    }
    letters.retain(u8::is_ascii_alphanumeric);
    letters.eq_ignore_ascii_case(b"model")
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Whether a `Content-Transfer-Encoding` leaves the bytes as they are.
fn is_identity(encoding: &[u8]) -> bool {
    let identities: [&[u8]; 3] = [b"7bit", b"8bit", b"binary"];
    identities.iter().any(|identity| encoding.eq_ignore_ascii_case(identity))
}

/// The charset of a part of this `Content-Type`, if it is one value and its ASCII bytes are ASCII.
fn plain_charset(content_type: &[u8]) -> Option<Charset> {
    let end = content_type.iter().position(|&byte| byte == b';').unwrap_or(content_type.len());
    let (essence, parameters) = content_type.split_at(end);
    let essence = essence.trim_ascii().to_ascii_lowercase();
    if essence.starts_with(b"multipart/") || essence.starts_with(b"message/") {
        return None;
    }
    let mut charset = Charset::Utf8;
    for parameter in Parameters(parameters) {
        match parameter?.charset()? {
            Charset::Utf8 => {}
            other => charset = other,
        }
    }
    Some(charset)
}
