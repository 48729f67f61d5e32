//! Bodies of `application/x-www-form-urlencoded`.

use percent_encoding::percent_decode;

/// The fields of a form; of one that is there more than once, the first counts.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(body: &[u8]) -> Self {
        let fields = body.split(|byte| *byte == b'&').filter(|field| !field.is_empty()).map(|field| {
            let at = memchr::memchr(b'=', field).unwrap_or(field.len());
            (decoded(&field[..at]), decoded(field.get(at + 1..).unwrap_or_default()))
        });
        Self(fields.collect())
    }

    /// A field that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

fn decoded(text: &[u8]) -> String {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded() {
        let form = Form::parse(b"a=x+y%2Bz&b&c=&d=1&d=2");
        assert_eq!(form.get("a"), Some("x y+z"));
        assert_eq!((form.get("b"), form.get("c"), form.get("e")), (None, None, None));
        assert_eq!(form.get("d"), Some("1"));
    }
}
