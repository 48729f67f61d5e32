//! Patterns of texts, and conditions on paths.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

/// A condition on the path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum PathCondition {
    /// This path.
    Exact(Box<str>),
    /// This path, which has no final slash, and all below it.
    Prefix(Box<str>),
    /// A pattern.
    Pattern(Pattern),
}

/// A regular expression that must match a whole value. Equal if written alike.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    source: Arc<str>,
    regex: Regex,
}

/// Why a regular expression is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PatternError {
    /// It does not parse.
    #[error("not a regular expression: {0}")]
    Syntax(String),
    /// It compiles to too large a program.
    #[error("the regular expression is too large: shorten it or its repetitions")]
    TooLarge,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// It does not parse, or would take too much memory or time.
    pub(crate) fn new(source: &str) -> Result<Self, PatternError> {
        /// Enough for some thousand states, and compiled in a few milliseconds.
        const MAX_PROGRAM_BYTES: usize = 512 << 10;
        const MAX_NESTING: u32 = 32;
        let compile = |source: &str| {
            RegexBuilder::new(source).size_limit(MAX_PROGRAM_BYTES).nest_limit(MAX_NESTING).build().map_err(
                |error| match error {
                    regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
                    // The first lines draw the pattern with a caret; the last one says what is wrong.
                    other => PatternError::Syntax(
                        other.to_string().lines().last().unwrap_or_default().replace("error: ", ""),
                    ),
                },
            )
        };
        // On its own first, so that no unbalanced parenthesis can undo the anchors around it.
        compile(source)?;
        Ok(Self { source: source.into(), regex: compile(&format!(r"\A(?:{source})\z"))? })
    }

    pub(crate) fn accepts(&self, value: &[u8]) -> bool {
        self.regex.is_match(value)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}
