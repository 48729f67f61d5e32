//! Formats of images, documents and sound, and names of documents.

use std::collections::HashMap;

/// The longest name that is made of a title, in bytes. 200 are taken; the rest is for a number.
const MAX_NAME_BYTES: usize = 180;

/// Media types, the formats that they are called here, and their files' usual ending.
const DOCUMENTS: [(&str, &str); 11] = [
    ("application/pdf", "pdf"),
    ("text/csv", "csv"),
    ("application/msword", "doc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("text/html", "html"),
    ("text/plain", "txt"),
    ("text/markdown", "md"),
    ("text/x-markdown", "md"),
    ("application/x-pdf", "pdf"),
];

/// Formats of sound that are called as OpenAI's API calls them.
const AUDIO: [&str; 9] = ["mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "m4a", "webm"];

/// The format of images of a media type.
pub(super) fn image_format(media_type: &str) -> Option<&'static str> {
    match essence(media_type).as_str() {
        "image/png" => Some("png"),
        "image/jpeg" | "image/jpg" => Some("jpeg"),
        "image/gif" => Some("gif"),
        "image/webp" => Some("webp"),
        _ => None,
    }
}

/// The format of documents of a media type, or of this file name where the media type says nothing.
pub(super) fn document_format(media_type: &str, name: &str) -> Option<&'static str> {
    let media_type = essence(media_type);
    let known = DOCUMENTS.iter().find(|(known, _)| *known == media_type);
    let is_silent = matches!(media_type.as_str(), "" | "application/octet-stream");
    known.or_else(|| ending(name).filter(|_| is_silent)).map(|(_, format)| *format)
}

/// The format of sound.
pub(super) fn audio_format(format: &str) -> Option<&'static str> {
    AUDIO.into_iter().find(|known| *known == format)
}

/// A media type without its parameters.
fn essence(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// The format that a file name ends in.
fn ending(name: &str) -> Option<&'static (&'static str, &'static str)> {
    let (_, ending) = name.rsplit_once('.')?;
    DOCUMENTS.iter().find(|(_, format)| ending.eq_ignore_ascii_case(format))
}

/// Names of a request's documents: letters, digits, hyphens, parentheses, brackets and single spaces, each but once. The
/// same documents in the same order have the same names, so that caches hold.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Names that were given away, and the number that the next one like it may have.
    given: HashMap<String, u32>,
}

impl Names {
    /// The name for a document with this title, or without.
    pub(super) fn of(&mut self, title: &str) -> String {
        let stem = if ending(title).is_some() {
            title.rsplit_once('.').map_or(title, |(stem, _)| stem)
        } else {
            title
        };
        let is_taken = |character: char| character.is_ascii_alphanumeric() || "-()[]".contains(character);
        let words: Vec<String> = stem
            .split_whitespace()
            .take(MAX_NAME_BYTES)
            .map(|word| {
                word.chars().map(|character| if is_taken(character) { character } else { '-' }).collect()
            })
            .collect();
        let mut base: String = words.join(" ");
        base.truncate(MAX_NAME_BYTES);
        let base = base.trim();
        let base = if base.bytes().all(|byte| byte == b'-' || byte == b' ') { "document" } else { base };
        let mut name = base.to_owned();
        while let Some(next) = self.given.get(&name).copied() {
            // The count is kept with the first, so that many of one title are not counted anew each time.
            let number = self.given.get(base).copied().unwrap_or(next);
            name = format!("{base} {number}");
            self.given.insert(base.to_owned(), number.saturating_add(1));
        }
        self.given.insert(name.clone(), 2);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_api_takes_and_each_but_once() {
        let mut names = Names::default();
        for (title, expected) in [
            ("Q3 report.v2.pdf", "Q3 report-v2"),
            ("Q3 report.v2.PDF", "Q3 report-v2 2"),
            ("Q3 report.v2 2", "Q3 report-v2 2 2"),
            ("Q3 report.v2", "Q3 report-v2 3"),
            ("  a \t\n b  ", "a b"),
            ("naïve/ignore \"all\" [x] (1)", "na-ve-ignore -all- [x] (1)"),
            ("", "document"),
            ("日本語.pdf", "document 2"),
            (".pdf", "document 3"),
        ] {
            assert_eq!(names.of(title), expected, "{title}");
        }
        let long = names.of(&"x".repeat(500));
        assert_eq!(long.len(), MAX_NAME_BYTES);
        assert_eq!(names.of(&"x".repeat(501)), format!("{long} 2"));
    }
}
