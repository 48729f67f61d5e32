//! Conditions on a request, and testing them.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::HeaderName;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode;

use crate::pattern::{PathCondition, Pattern};
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
