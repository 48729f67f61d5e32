//! Where Claude is served, and how a client's own request becomes one that is taken there.
//!
//! Bedrock and Vertex take Anthropic's requests nearly as they are, and refuse a request for any member that they do not
//! know. So members are copied as they stand, but for those of which it is known that they are refused; a member that a beta
//! allows goes with it.

pub(super) mod betas;

use crate::anthropic::generation::Generation;
use crate::conversation::{Notes, Refused};
use crate::json::{Array, Object, Value, Writer, Written};

use self::betas::Betas;

/// Where Claude is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    /// By Anthropic itself, or by what takes its requests as they are.
    Anthropic,
    /// By Bedrock's `InvokeModel`: the model and whether to stream are in the path, betas in the body.
    Aws,
    /// By Vertex' `rawPredict`: the model is in the path, betas in the header.
    Gcp,
}

/// A request for a platform.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Its body.
    pub(crate) body: Written,
    /// Its `anthropic-beta` header; `None` if it is to have none.
    pub(crate) betas: Option<String>,
}

/// Members that neither Bedrock nor Vertex takes: what they stand for is Anthropic's own service.
const NOWHERE_ELSE: [&str; 11] = [
    "billing_policy",
    "container",
    "diagnostics",
    "fallback_credit_token",
    "fallbacks",
    "inference_geo",
    "mcp_servers",
    "output_format",
    "speed",
    "thread",
    "workspace_id",
];

/// Members that Bedrock does not take either.
const NOT_ON_AWS: [&str; 2] = ["metadata", "service_tier"];

/// Members that are taken with a beta only, and the betas of which one is enough.
const WITH_BETA: [(&str, &[&str]); 2] = [
    ("context_management", &["context-management-2025-06-27", "compact-2026-01-12"]),
    ("compaction", &["compact-2026-09-04"]),
];

impl Platform {
    /// What requests have as `anthropic_version` there.
    pub(crate) fn version(self) -> Option<&'static str> {
        match self {
            Self::Anthropic => None,
            Self::Aws => Some("bedrock-2023-05-31"),
            Self::Gcp => Some("vertex-2023-10-16"),
        }
    }
}

/// The betas of an `anthropic-beta` header that a platform takes; others are noted.
pub(crate) fn betas(header: Option<&str>, platform: Platform, notes: &mut Notes) -> Vec<String> {
    Betas::of_header(header, platform, notes).names()
}

/// Makes a client's request one for `platform`. `betas` is its `anthropic-beta` header, `version` the configured
/// `anthropic_version`.
///
/// # Errors
/// `anthropic_beta` is not an array of strings.
pub(crate) fn rewrite(
    body: &Object<'_>,
    betas: Option<&str>,
    platform: Platform,
    version: Option<&str>,
    notes: &mut Notes,
) -> Result<Request, Refused> {
    if platform == Platform::Anthropic {
        return Ok(Request { body: body.raw.as_bytes().to_vec().into(), betas: betas.map(str::to_owned) });
    }
    let mut taken = Betas::of_header(betas, platform, notes);
    taken.read(body, platform, notes)?;
    let betas = taken;
    let generation = Generation::of(&body.text("model").map(|model| model.decoded()).unwrap_or_default());
    let version = version.or(body.word("anthropic_version")).or(platform.version());
    let mut out = Writer::default();
    out.object(|out| {
        if let Some(version) = version {
            out.str_at("anthropic_version", version);
        }
        betas.write(out, platform);
        for (name, value) in &body.members {
            let name = name.as_ref();
            match name {
                "anthropic_version" | "anthropic_beta" | "betas" | "model" => {}
                "stream" if platform == Platform::Aws => {}
                _ if !is_taken(name, platform, &betas) => {
                    if !value.is_null() {
                        notes.dropped(name.to_owned());
                    }
                }
                "system" | "tools" | "messages" => {
                    out.key(name);
                    write_blocks(out, value, platform, generation, notes);
                }
                "cache_control" => {
                    out.key(name);
                    write_mark(out, value, platform, generation, notes);
                }
                _ => out.value_at(name, value),
            }
        }
    });
    Ok(Request { body: out.written(), betas: betas.header(platform) })
}

fn is_taken(name: &str, platform: Platform, betas: &Betas) -> bool {
    if NOWHERE_ELSE.contains(&name) || platform == Platform::Aws && NOT_ON_AWS.contains(&name) {
        return false;
    }
    let needed = WITH_BETA.iter().find(|(member, _)| *member == name);
    needed.is_none_or(|(_, any)| any.iter().any(|beta| betas.has(beta)))
}

/// Writes a mark for the cache without what the platform does not take of it.
pub(crate) fn write_mark(
    out: &mut Writer,
    mark: &Value<'_>,
    platform: Platform,
    generation: Generation,
    notes: &mut Notes,
) {
    let Value::Object(object) = mark else { return out.value(mark) };
    if platform == Platform::Anthropic {
        return out.value(mark);
    }
    out.object(|out| {
        for (name, value) in &object.members {
            match name.as_ref() {
                "scope" => notes.dropped("cache_control.scope"),
                // Five minutes is what it is without. Bedrock's older models know no other time.
                "ttl" if value.as_text().is_some_and(|ttl| *ttl == "5m") => {}
                "ttl" if platform == Platform::Aws && generation.is_before(4, 5) => {
                    notes.dropped("cache_control.ttl");
                }
                name => out.value_at(name, value),
            }
        }
    });
}

/// Writes blocks, tools, or messages with blocks as their content. What is within a call's `input` or a tool's schema stays as it is.
fn write_blocks(
    out: &mut Writer,
    value: &Value<'_>,
    platform: Platform,
    generation: Generation,
    notes: &mut Notes,
) {
    let Some(array) = with_marks(value) else { return out.value(value) };
    out.array(|out| {
        for block in &array.items {
            let Value::Object(block) = block else {
                out.value(block);
                continue;
            };
            out.object(|out| {
                for (name, value) in &block.members {
                    out.key(name);
                    match name.as_ref() {
                        "cache_control" => write_mark(out, value, platform, generation, notes),
                        "content" => write_blocks(out, value, platform, generation, notes),
                        _ => out.value(value),
                    }
                }
            });
        }
    });
}

/// The array that `value` is, if there may be marks in it of which something is left out.
fn with_marks<'v, 'a>(value: &'v Value<'a>) -> Option<&'v Array<'a>> {
    let Value::Array(array) = value else { return None };
    let has = |name: &str| memchr::memmem::find(array.raw.as_bytes(), name.as_bytes()).is_some();
    (has("\"scope\"") || has("\"ttl\"")).then_some(array)
}

#[cfg(test)]
mod tests;
