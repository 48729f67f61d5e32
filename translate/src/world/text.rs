//! Texts of others in messages of ours.

/// At most the first `bytes` of a text.
pub fn shorten(text: &str, bytes: usize) -> String {
    match text.char_indices().find(|(at, _)| *at >= bytes) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
