//! Betas: names by which a client switches features of the API on.

use std::borrow::Cow;

use super::Platform;
use crate::conversation::{Notes, Refused};
use crate::json::{Object, Writer};

/// Betas that are known elsewhere, and whether Bedrock and Vertex know them.
///
/// A name that is not known there is refused (`invalid beta flag`). From their documents, and from what other gateways found
/// to be taken.
const KNOWN: [(&str, bool, bool); 22] = [
    ("compact-2026-01-12", true, true),
    ("compact-2026-09-04", false, true),
    ("computer-use-2024-10-22", true, true),
    ("computer-use-2025-01-24", true, true),
    ("computer-use-2025-11-24", true, true),
    ("context-1m-2025-08-07", true, true),
    ("context-management-2025-06-27", true, true),
    ("dangerous-tool-use-2026-09-03", true, true),
    ("dev-full-thinking-2025-05-14", true, false),
    ("effort-2025-11-24", true, false),
    ("fine-grained-tool-streaming-2025-05-14", true, false),
    ("interleaved-thinking-2025-05-14", true, true),
    ("mid-conversation-output-config-2026-07-01", true, false),
    ("mid-conversation-tool-changes-2026-07-01", true, false),
    ("output-128k-2025-02-19", true, false),
    ("per-turn-control-2026-07-01", false, true),
    ("thinking-binding-controls-2026-08-01", true, true),
    ("thinking-display-updates-2026-08-18", true, true),
    ("token-efficient-tools-2025-02-19", true, false),
    ("tool-examples-2025-10-29", true, true),
    ("tool-search-tool-2025-10-19", true, true),
    ("web-search-2025-03-05", false, true),
];

/// Betas of Anthropic's own service and what they are called elsewhere.
const RENAMED: [(&str, &str); 1] = [("advanced-tool-use-2025-11-20", "tool-search-tool-2025-10-19")];

/// Betas that nothing is lost with: marks of a client, and what has become a part of the API.
const MEANINGLESS: [&str; 8] = [
    "claude-code-20250219",
    "extended-cache-ttl-2025-04-11",
    "message-batches-2024-09-24",
    "model-context-window-exceeded-2025-08-26",
    "oauth-2025-04-20",
    "pdfs-2024-09-25",
    "prompt-caching-2024-07-31",
    "token-counting-2024-11-01",
];

/// The betas of a request that its platform takes.
#[derive(Debug)]
pub(in crate::anthropic) struct Betas(Vec<Cow<'static, str>>);

impl Betas {
    /// Those of an `anthropic-beta` header.
    pub(in crate::anthropic) fn of_header(
        header: Option<&str>,
        platform: Platform,
        notes: &mut Notes,
    ) -> Self {
        let mut betas = Self(Vec::new());
        for beta in header.unwrap_or_default().split(',') {
            betas.add(beta.trim(), platform, notes);
        }
        betas
    }

    /// Takes those of a body's `anthropic_beta` and `betas` as well.
    ///
    /// # Errors
    /// They are not an array of strings.
    pub(super) fn read(
        &mut self,
        body: &Object<'_>,
        platform: Platform,
        notes: &mut Notes,
    ) -> Result<(), Refused> {
        for member in ["anthropic_beta", "betas"] {
            let Some(value) = body.get(member) else { continue };
            let wrong = || Refused::new(member, format!("{member}: it has to be an array of strings"));
            for beta in value.as_items().ok_or_else(wrong)? {
                self.add(beta.as_text().ok_or_else(wrong)?.decoded().trim(), platform, notes);
            }
        }
        Ok(())
    }

    fn add(&mut self, beta: &str, platform: Platform, notes: &mut Notes) {
        let renamed = RENAMED.iter().find(|(name, _)| *name == beta).map_or(beta, |(_, name)| name);
        let is_known = |(name, on_aws, on_gcp): &&(&str, bool, bool)| {
            *name == renamed && if platform == Platform::Aws { *on_aws } else { *on_gcp }
        };
        let taken = match platform {
            _ if beta.is_empty() => return,
            Platform::Anthropic => Some(Cow::Owned(beta.to_owned())),
            Platform::Aws | Platform::Gcp if MEANINGLESS.contains(&beta) => return,
            Platform::Aws | Platform::Gcp => {
                KNOWN.iter().find(is_known).map(|(name, ..)| Cow::Borrowed(*name))
            }
        };
        match taken {
            Some(name) if self.has(&name) => {}
            Some(name) => self.0.push(name),
            None => notes.dropped(noted(beta)),
        }
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|beta| beta.clone().into_owned()).collect()
    }

    /// Whether `beta` is among them.
    pub(super) fn has(&self, beta: &str) -> bool {
        self.0.iter().any(|known| known == beta)
    }

    /// Writes them into a body, where the platform has them there.
    pub(in crate::anthropic) fn write(&self, out: &mut Writer, platform: Platform) {
        if platform == Platform::Aws && !self.0.is_empty() {
            out.array_at("anthropic_beta", |out| self.0.iter().for_each(|beta| out.str(beta)));
        }
    }

    /// They as the value of a header, where the platform has them there.
    pub(in crate::anthropic) fn header(&self, platform: Platform) -> Option<String> {
        (platform != Platform::Aws && !self.0.is_empty()).then(|| self.0.join(","))
    }
}

/// A beta as it is noted: by name, unless that is nothing that Anthropic would call one.
fn noted(beta: &str) -> String {
    let is_name =
        beta.len() <= 64 && beta.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if is_name { format!("anthropic-beta.{beta}") } else { "anthropic-beta".to_owned() }
}
