//! Where Google's models are: paths, and the hosts of regions. Every name in them may be a client's or a tenant's, so that
//! none gets out of its segment.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is escaped in a segment: also the colon, which ends a model's name in Google's paths.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'@');

/// The longest name.
const MAX_NAME_BYTES: usize = 256;

/// A name that no path or host is made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} cannot be part of an address")]
pub struct BadName {
    /// What it would be: `model`, `project` or `location`.
    pub what: &'static str,
    /// The name, cut.
    pub name: String,
}

/// What a model is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// An answer, as a whole.
    Generate,
    /// An answer as a stream.
    Stream,
    /// How many tokens a prompt has.
    CountTokens,
    /// The embedding of a content.
    Embed,
    /// The embeddings of several.
    BatchEmbed,
    /// The embeddings of texts (Vertex AI, models before Gemini's).
    Predict,
}

/// A project's place on Vertex AI.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The project's id.
    pub project: &'a str,
    /// The region (`europe-west4`), a multi-region (`us`, `eu`), or `global`.
    pub location: &'a str,
}

/// The path and query of a model of the Gemini API. The name may have `models/` before it.
///
/// # Errors
/// The name cannot be part of a path.
pub fn gemini_api(model: &str, method: Method) -> Result<String, BadName> {
    let model = segment("model", model.strip_prefix("models/").unwrap_or(model))?;
    Ok(format!("/v1beta/models/{model}:{}", method.verb()))
}

/// The path and query of a model of Google's on Vertex AI. The name may have `google/` before it.
///
/// # Errors
/// A name cannot be part of a path.
pub fn vertex(place: Place<'_>, model: &str, method: Method) -> Result<String, BadName> {
    let model = segment("model", model.strip_prefix("google/").unwrap_or(model))?;
    Ok(format!("{}/publishers/google/models/{model}:{}", place.path()?, method.verb()))
}

/// The path of a model of Anthropic's on Vertex AI. The name may have `anthropic/` before it; a date at its end
/// (`-20250929`) is a version there (`@20250929`). Only [`Method::Stream`] and [`Method::CountTokens`] make a difference.
///
/// # Errors
/// A name cannot be part of a path.
pub fn vertex_anthropic(place: Place<'_>, model: &str, method: Method) -> Result<String, BadName> {
    let models = format!("{}/publishers/anthropic/models", place.path()?);
    let model = segment("model", &versioned(model.strip_prefix("anthropic/").unwrap_or(model)))?;
    Ok(match method {
        Method::CountTokens => format!("{models}/count-tokens:rawPredict"),
        Method::Stream => format!("{models}/{model}:streamRawPredict"),
        _ => format!("{models}/{model}:rawPredict"),
    })
}

/// The host of the ranking API.
pub const RANKING_HOST: &str = "discoveryengine.googleapis.com";

/// The path of the ranking API.
///
/// # Errors
/// A name cannot be part of a path.
pub fn ranking(place: Place<'_>) -> Result<String, BadName> {
    Ok(format!("{}/rankingConfigs/default_ranking_config:rank", place.path()?))
}

/// The host of a location of Vertex AI.
///
/// # Errors
/// It is no location's name.
pub fn vertex_host(location: &str) -> Result<String, BadName> {
    let location = checked_location(location)?;
    Ok(match location {
        "global" => "aiplatform.googleapis.com".to_owned(),
        "us" | "eu" => format!("aiplatform.{location}.rep.googleapis.com"),
        region => format!("{region}-aiplatform.googleapis.com"),
    })
}

impl Method {
    fn verb(self) -> &'static str {
        match self {
            Self::Generate => "generateContent",
            Self::Stream => "streamGenerateContent?alt=sse",
            Self::CountTokens => "countTokens",
            Self::Embed => "embedContent",
            Self::BatchEmbed => "batchEmbedContents",
            Self::Predict => "predict",
        }
    }
}

impl Place<'_> {
    fn path(self) -> Result<String, BadName> {
        let project = segment("project", self.project)?;
        Ok(format!("/v1/projects/{project}/locations/{}", checked_location(self.location)?))
    }
}

/// `name` as a segment of a path.
fn segment(what: &'static str, name: &str) -> Result<String, BadName> {
    let is_dots = name.bytes().all(|byte| byte == b'.');
    if name.len() > MAX_NAME_BYTES || is_dots {
        return Err(bad(what, name));
    }
    Ok(utf8_percent_encode(name, ESCAPED).to_string())
}

fn checked_location(location: &str) -> Result<&str, BadName> {
    let is_safe = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = (1..=63).contains(&location.len()) && location.bytes().all(is_safe);
    if is_name && !location.starts_with('-') { Ok(location) } else { Err(bad("location", location)) }
}

fn bad(what: &'static str, name: &str) -> BadName {
    BadName { what, name: name.chars().take(64).collect() }
}

/// The name of a Claude with its date as Vertex has it.
pub(crate) fn versioned(model: &str) -> String {
    match model.rsplit_once('-') {
        Some((name, date)) if date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{name}@{date}")
        }
        _ => model.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place { project: "my-project", location: "us-central1" };

    #[test]
    fn a_model_has_its_path() {
        let at = "/v1/projects/my-project/locations/us-central1/publishers";
        for (path, wanted) in [
            (
                gemini_api("gemini-2.5-flash", Method::Generate),
                "/v1beta/models/gemini-2.5-flash:generateContent",
            ),
            (
                gemini_api("models/gemini-3-pro-preview", Method::Stream),
                "/v1beta/models/gemini-3-pro-preview:streamGenerateContent?alt=sse",
            ),
            (
                gemini_api("gemini-embedding-001", Method::BatchEmbed),
                "/v1beta/models/gemini-embedding-001:batchEmbedContents",
            ),
            (
                vertex(PLACE, "google/gemini-2.5-pro", Method::CountTokens),
                &format!("{at}/google/models/gemini-2.5-pro:countTokens"),
            ),
            (
                vertex_anthropic(PLACE, "claude-sonnet-4-5-20250929", Method::Stream),
                &format!("{at}/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict"),
            ),
            (
                vertex_anthropic(PLACE, "claude-sonnet-4-5@20250929", Method::Generate),
                &format!("{at}/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"),
            ),
            (
                vertex_anthropic(PLACE, "claude-opus-4-6", Method::CountTokens),
                &format!("{at}/anthropic/models/count-tokens:rawPredict"),
            ),
        ] {
            assert_eq!(path.as_deref(), Ok(wanted));
        }
    }

    #[test]
    fn a_name_stays_within_its_segment() {
        for (model, segment) in [
            ("a/../b", "a%2F..%2Fb"),
            ("../x", "..%2Fx"),
            ("a:generateContent?x=#", "a%3AgenerateContent%3Fx%3D%23"),
            ("a%2fb\r\n ß", "a%252fb%0D%0A%20%C3%9F"),
            ("a\\b", "a%5Cb"),
        ] {
            let path = format!("/v1beta/models/{segment}:countTokens");
            assert_eq!(gemini_api(model, Method::CountTokens), Ok(path));
        }
        for model in ["", ".", "..", "models/..", &"x".repeat(257)] {
            assert!(gemini_api(model, Method::Generate).is_err(), "{model}");
        }
        let path = "/v1/projects/my-project/locations/us-central1/rankingConfigs/default_ranking_config:rank";
        assert_eq!(ranking(PLACE).as_deref(), Ok(path));
        let project = Place { project: "example.com:p", location: "global" };
        let path = "/v1/projects/example.com%3Ap/locations/global/publishers/google/models/m:predict";
        assert_eq!(vertex(project, "m", Method::Predict).as_deref(), Ok(path));
        assert!(vertex(Place { project: "..", location: "global" }, "m", Method::Generate).is_err());
    }

    #[test]
    fn a_location_has_its_host() {
        for (location, host) in [
            ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
            ("global", "aiplatform.googleapis.com"),
            ("us", "aiplatform.us.rep.googleapis.com"),
            ("eu", "aiplatform.eu.rep.googleapis.com"),
        ] {
            assert_eq!(vertex_host(location).as_deref(), Ok(host));
        }
        for location in ["", "evil.example/", "a.b", "US", "-x", "us\r\n", &"x".repeat(64)] {
            assert!(vertex_host(location).is_err(), "{location}");
            assert!(vertex(Place { project: "p", location }, "m", Method::Generate).is_err(), "{location}");
        }
    }
}
