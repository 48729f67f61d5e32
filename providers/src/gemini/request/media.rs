//! Images, documents and sound in a request.

use crate::conversation::{Content, Refused, Source};
use crate::gemini::{Platform, Target};
use crate::json::{Text, Writer};

/// The start of addresses of files that were uploaded to the Gemini API, which knows their type.
const UPLOADED: &str = "https://generativelanguage.googleapis.com/";

/// Endings of addresses, and the media types that Gemini has for them.
const TYPES: [(&str, &str); 32] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("bmp", "image/bmp"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("htm", "text/html"),
    ("xml", "text/xml"),
    ("json", "application/json"),
    ("mp3", "audio/mp3"),
    ("wav", "audio/wav"),
    ("flac", "audio/flac"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/opus"),
    ("aac", "audio/aac"),
    ("aiff", "audio/aiff"),
    ("m4a", "audio/m4a"),
    ("mp4", "video/mp4"),
    ("mov", "video/mov"),
    ("mpeg", "video/mpeg"),
    ("mpg", "video/mpg"),
    ("avi", "video/avi"),
    ("webm", "video/webm"),
    ("wmv", "video/wmv"),
    ("flv", "video/x-flv"),
];

/// What Gemini gets of an image, a document or sound.
pub(super) enum Media<'p, 'a> {
    /// Its bytes in base64.
    Inline { media_type: MediaType<'p, 'a>, data: &'p Text<'a> },
    /// Where it is.
    File { media_type: Option<&'static str>, uri: &'p Text<'a> },
    /// Its text.
    Text(&'p Text<'a>),
}

pub(super) enum MediaType<'p, 'a> {
    Given(&'p Text<'a>),
    Known(&'static str),
}

impl<'p, 'a> Media<'p, 'a> {
    /// What it is; `None` if `content` is nothing of the kind.
    ///
    /// # Errors
    /// Nobody says its type, without which Gemini takes none.
    pub(super) fn of(content: &'p Content<'a>, target: Target<'_>) -> Result<Option<Self>, Refused> {
        match content {
            Content::Image { source, .. } => Self::at(source, target, "image").map(Some),
            Content::Document { source, .. } => Self::at(source, target, "document").map(Some),
            Content::Audio { data, format } => {
                let media_type =
                    known_type(&format.decoded()).filter(|media_type| media_type.starts_with("audio/"));
                let media_type = media_type.ok_or_else(|| {
                    Refused::new(
                        "messages[].content[].input_audio.format",
                        "Gemini has no such format of sound: send `wav`, `mp3`, `flac`, `ogg`, `aac` or `aiff`",
                    )
                })?;
                Ok(Some(Self::Inline { media_type: MediaType::Known(media_type), data }))
            }
            _ => Ok(None),
        }
    }

    fn at(source: &'p Source<'a>, target: Target<'_>, what: &str) -> Result<Self, Refused> {
        match source {
            Source::Base64 { media_type, .. } if media_type.is_blank() => Err(Refused::new(
                "messages[].content[]",
                format!("Gemini has to be told the type of the {what}: send its media type with its bytes"),
            )),
            Source::Base64 { media_type, data } => {
                // A name that many give to JPEG, and Gemini does not.
                let is_jpeg = *media_type == "image/jpg";
                let media_type =
                    if is_jpeg { MediaType::Known("image/jpeg") } else { MediaType::Given(media_type) };
                Ok(Self::Inline { media_type, data })
            }
            Source::Text(text) => Ok(Self::Text(text)),
            Source::Url(uri) | Source::File(uri) => {
                let address = uri.decoded();
                let media_type = address.contains("://").then(|| type_of(&address)).flatten();
                let is_uploaded = target.platform == Platform::GeminiApi && address.starts_with(UPLOADED);
                if media_type.is_none() && !is_uploaded {
                    return Err(Refused::new(
                        "messages[].content[]",
                        format!(
                            "Gemini has to be told the type of the {what}, and its address does not say: send it as \
                             base64 with its media type, or at an address that ends in one such as `.png` or `.pdf`"
                        ),
                    ));
                }
                Ok(Self::File { media_type, uri })
            }
        }
    }

    /// Whether it is text, which has a place wherever text has.
    pub(super) fn as_text(&self) -> Option<&'p Text<'a>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Writes it as a part.
    pub(super) fn write(&self, out: &mut Writer) {
        out.object(|out| match self {
            Self::Inline { media_type, data } => out.object_at("inlineData", |out| {
                match media_type {
                    MediaType::Given(media_type) => out.text_at("mimeType", media_type),
                    MediaType::Known(media_type) => out.str_at("mimeType", media_type),
                }
                out.text_at("data", data);
            }),
            Self::File { media_type, uri } => out.object_at("fileData", |out| {
                if let Some(media_type) = media_type {
                    out.str_at("mimeType", media_type);
                }
                out.text_at("fileUri", uri);
            }),
            Self::Text(text) => out.text_at("text", text),
        });
    }
}

/// The type that an address says by how its path ends.
fn type_of(address: &str) -> Option<&'static str> {
    let path = address.split(['?', '#']).next()?;
    let (_, name) = path.split_once("://")?.1.rsplit_once('/')?;
    known_type(name.rsplit_once('.')?.1)
}

fn known_type(ending: &str) -> Option<&'static str> {
    TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)).map(|(_, media_type)| *media_type)
}
