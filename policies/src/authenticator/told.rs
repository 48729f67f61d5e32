//! What upstreams are told in headers.

use http::HeaderValue;
use serde_json::Value;

/// A text as a header's value; `None`, and so no header, if it would not arrive as it is: empty, with a space at an end, or
/// with anything but visible ASCII and spaces. Control characters would end the header, and what is beyond ASCII is read in
/// one way here and in another there.
pub(super) fn header_value(text: &str) -> Option<HeaderValue> {
    let bytes = text.as_bytes();
    let is_visible = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let is_whole = !bytes.is_empty() && bytes.trim_ascii().len() == bytes.len();
    if is_visible && is_whole { HeaderValue::from_str(text).ok() } else { None }
}

/// A claim as a header's value; `None` if it is an object, a list, nothing, or a text that cannot be one.
pub(crate) fn claim_value(claim: &Value) -> Option<HeaderValue> {
    match claim {
        Value::String(text) => header_value(text),
        Value::Number(number) => header_value(&number.to_string()),
        Value::Bool(value) => Some(HeaderValue::from_static(if *value { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_would_not_arrive_as_it_is_becomes_no_header() {
        for text in ["a", "a b", "~!@#$%^&*()", "a,b;c=\"d\""] {
            assert_eq!(header_value(text).unwrap(), text);
        }
        for text in [
            "",
            " ",
            " a",
            "a ",
            "a\r\nx-admin: true",
            "a\nb",
            "a\tb",
            "a\0",
            "\u{7f}",
            "J\u{f6}rg",
            "a\u{2028}b",
        ] {
            assert_eq!(header_value(text), None, "{text:?}");
        }
    }

    #[test]
    fn texts_numbers_and_truth_values_become_headers() {
        for (claim, value) in [
            (json!("a"), Some("a")),
            (json!(12), Some("12")),
            (json!(-1.5), Some("-1.5")),
            (json!(u64::MAX), Some("18446744073709551615")),
            (json!(true), Some("true")),
            (json!(false), Some("false")),
            (json!(null), None),
            (json!(["a"]), None),
            (json!({"a": "b"}), None),
        ] {
            assert_eq!(claim_value(&claim), value.map(HeaderValue::from_static), "{claim}");
        }
    }

    proptest! {
        #[test]
        fn a_header_says_what_the_text_says(text in any::<String>()) {
            if let Some(value) = header_value(&text) {
                prop_assert_eq!(value.to_str().unwrap(), text);
            }
        }
    }
}
