//! Conditions on a request, and testing them.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use http::header::HeaderName;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode;
use regex::bytes::{Regex, RegexBuilder};

use crate::spec::{RequestModel, RouteRequest};

/// One way to match a rule: a match of the document, for one of its models.
#[derive(Debug)]
pub(crate) struct Alternative {
    /// The position of the rule.
    pub(crate) rule: usize,
    /// The position of this alternative in the document, over all rules.
    pub(crate) order: usize,
    /// The path.
    pub(crate) path: PathCondition,
    /// The model, if it matters.
    pub(crate) model: Option<ValueTest>,
    /// The rest.
    pub(crate) conditions: Arc<Conditions>,
}

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

/// Conditions on what is neither path nor model. Headers and parameters are sorted by name.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Conditions {
    pub(crate) method: Option<Method>,
    pub(crate) headers: Vec<NamedTest<HeaderName>>,
    pub(crate) params: Vec<NamedTest<Box<str>>>,
}

/// A condition on a header or a query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct NamedTest<N> {
    pub(crate) name: N,
    pub(crate) test: ValueTest,
}

/// A condition on a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ValueTest {
    /// This value.
    Exact(Box<str>),
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

/// A request, as conditions see it.
pub(super) struct RequestView<'r> {
    pub(super) path: &'r str,
    pub(super) model: Option<&'r str>,
    pub(super) headers: &'r HeaderMap,
    method: &'r Method,
    query: Option<&'r str>,
}

impl Alternative {
    /// Whether all conditions hold, but for an exact path or a prefix, which the place in the table stands for.
    pub(super) fn matches(&self, request: &RequestView<'_>) -> bool {
        let is_model = self
            .model
            .as_ref()
            .is_none_or(|test| request.model.is_some_and(|model| test.accepts(model.as_bytes())));
        is_model && self.matches_for_some_model(request)
    }

    /// The same, whatever the model.
    pub(super) fn matches_for_some_model(&self, request: &RequestView<'_>) -> bool {
        let is_path = match &self.path {
            PathCondition::Pattern(pattern) => pattern.accepts(request.path.as_bytes()),
            PathCondition::Exact(_) | PathCondition::Prefix(_) => true,
        };
        is_path && self.conditions.hold(request)
    }
}

impl Conditions {
    fn hold(&self, request: &RequestView<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| method == request.method)
            && self
                .headers
                .iter()
                .all(|c| request.header(&c.name).is_some_and(|value| c.test.accepts(&value)))
            && self.params.iter().all(|c| request.param(&c.name).is_some_and(|value| c.test.accepts(&value)))
    }
}

impl ValueTest {
    fn accepts(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.as_bytes() == value,
            Self::Pattern(pattern) => pattern.accepts(value),
        }
    }
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

impl<'r> RequestView<'r> {
    /// Looks at a request.
    pub(super) fn new(request: &RouteRequest<'r>) -> Self {
        let model = match request.model {
            RequestModel::Named(model) => Some(model),
            RequestModel::Unread | RequestModel::Absent => None,
        };
        Self {
            path: request.path,
            model,
            headers: request.headers,
            method: request.method,
            query: request.query,
        }
    }

    /// A header's value. Several are joined by commas (RFC 9110, §5.3), which is the one case that allocates.
    pub(super) fn header(&self, name: &HeaderName) -> Option<Cow<'r, [u8]>> {
        let mut values = self.headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
        let first = values.next()?;
        let Some(second) = values.next() else { return Some(first.into()) };
        let mut joined = [first, second].join(&b',');
        for further in values {
            joined.push(b',');
            joined.extend_from_slice(further);
        }
        Some(joined.into())
    }

    /// The first value of a query parameter, decoded. Allocates only where something is encoded.
    pub(super) fn param(&self, name: &str) -> Option<Cow<'r, [u8]>> {
        let pairs = self.query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs
            .into_iter()
            .find(|(key, _)| *form_decode(key) == *name.as_bytes())
            .map(|(_, value)| form_decode(value))
    }
}

/// Decodes `%41` and `+` (`application/x-www-form-urlencoded`).
fn form_decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('+') {
        return percent_decode(text.as_bytes()).into();
    }
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).collect::<Vec<u8>>().into()
}
