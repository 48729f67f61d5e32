//! Bounds for text that a client chose, before it reaches an error message or a log line.

/// The longest prefix of `text` of at most `max_bytes` bytes that ends between two characters.
pub(crate) fn clip(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let mut end = max_bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::clip;

    #[test]
    fn never_cuts_a_character() {
        assert_eq!(clip("naïve", 3), "na");
        assert_eq!(clip("naïve", 4), "naï");
        assert_eq!(clip("naïve", 6), "naïve");
        assert_eq!(clip("é", 0), "");
    }
}
