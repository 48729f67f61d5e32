//! Which requests a limit is for.
//!
//! Where what a limit asks cannot be known, it is for the request: hiding something leads past no limit. So it is with a
//! model or an address that is not known, and with headers that are there several times: one value that fits suffices, and
//! what is asked not to fit has to fit in all of them to lead past.

use http::{HeaderMap, HeaderName};
use penstock_config::{
    Comparison, Consumer, LimitMatch, MODEL_HEADER, ModelNames, PathComparison, PathMatch, TextMatch,
    plain_path,
};

use super::ask::Ask;
use crate::authorizer::Model;
use crate::extract::query_values;

/// Whether a limit is for a request.
pub(crate) fn is_for(when: &LimitMatch, ask: &Ask<'_>) -> bool {
    let facts = ask.facts;
    (when.methods.is_empty() || when.methods.contains(facts.method))
        && !when.other_methods.contains(facts.method)
        && when.models.as_ref().is_none_or(|models| is_model(models, ask))
        && (when.addresses.is_empty()
            || facts.address.is_none_or(|address| when.addresses.iter().any(|range| range.contains(address))))
        && !facts
            .address
            .is_some_and(|address| when.other_addresses.iter().any(|range| range.contains(address)))
        && is_asked_by(when, ask)
        && when.headers.iter().all(|header| is_header(header, ask))
        && when.query.iter().all(|parameter| is_parameter(parameter, ask))
        && when.paths.iter().all(|path| is_path(path, ask.path))
}

/// Of what an upstream is asked for, the model is the one that it knows. The list of models is about none of them.
fn is_model(models: &ModelNames, ask: &Ask<'_>) -> bool {
    match ask.target_model.or(ask.model) {
        Some(model) => models.contains(model),
        None => ask.facts.model != Model::List,
    }
}

/// Whether one of those who sent the request has the name and the tags.
fn is_asked_by(when: &LimitMatch, ask: &Ask<'_>) -> bool {
    let is_one = |consumer: &Consumer| {
        (when.consumers.is_empty() || when.consumers.iter().any(|name| **name == *consumer.name))
            && when
                .tags
                .iter()
                .all(|(name, values)| consumer.tags.get(name).is_some_and(|tag| values.contains(tag)))
    };
    when.consumers.is_empty() && when.tags.is_empty() || ask.consumers().any(is_one)
}

/// The model that the body names stands for the header that is called so, which no client can send.
fn is_header(header: &TextMatch<HeaderName>, ask: &Ask<'_>) -> bool {
    if header.name == MODEL_HEADER {
        return match ask.model {
            Some(model) => is_met(header, std::iter::once(model.as_bytes())),
            None => ask.facts.model != Model::List,
        };
    }
    let values = ask.facts.headers.get_all(&header.name).iter();
    is_met(header, values.map(|value| value.as_bytes()))
}

fn is_parameter(parameter: &TextMatch<Box<str>>, ask: &Ask<'_>) -> bool {
    is_met(parameter, query_values(ask.query.unwrap_or_default(), &parameter.name))
}

/// Whether what is asked of a header holds for these.
pub(crate) fn is_text_met(header: &TextMatch<HeaderName>, headers: &HeaderMap) -> bool {
    is_met(header, headers.get_all(&header.name).iter().map(|value| value.as_bytes()))
}

fn is_met<N>(asked: &TextMatch<N>, mut values: impl Iterator<Item = impl AsRef<[u8]>>) -> bool {
    let Some(comparison) = &asked.value else { return values.next().is_some() != asked.is_inverted };
    // Without a value there is none that matches, and none that does not.
    let mut values = values.map(|value| is_equal(comparison, value.as_ref())).peekable();
    match (values.peek(), asked.is_inverted) {
        (None, is_inverted) => is_inverted,
        (Some(_), true) => !values.all(|is_equal| is_equal),
        (Some(_), false) => values.any(|is_equal| is_equal),
    }
}

fn is_equal(comparison: &Comparison, value: &[u8]) -> bool {
    match comparison {
        Comparison::Exact(text) => text.as_bytes() == value,
        Comparison::Regex(pattern) => pattern.matches(&String::from_utf8_lossy(value)),
    }
}

/// However a path is written that servers take for this one, it leads past no limit: it is the path as it is written, or its
/// plain form, without a slash at its end.
fn is_path(asked: &PathMatch, path: &str) -> bool {
    let plain = plain_path(path);
    let bare = plain.trim_end_matches('/');
    let plain = if bare.is_empty() { &*plain } else { bare };
    let is_at = |path: &str| match &asked.value {
        PathComparison::Exact(text) => **text == *path,
        PathComparison::Prefix(text) => is_below(text.trim_end_matches('/'), path),
        PathComparison::Regex(pattern) => pattern.matches(path),
    };
    if asked.is_inverted { !is_at(path) || !is_at(plain) } else { is_at(path) || is_at(plain) }
}

/// By whole segments.
fn is_below(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
