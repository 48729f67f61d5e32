//! Lowering changes to host and path, and redirects.

use regex::RegexBuilder;

use super::text;
use crate::raw::{
    RawPathMatchType, RawPathRewrite, RawPathRewriteType, RawRedirect, RawRespond, RawRule, RawScheme,
    RawUrlRewrite,
};
use crate::report::{FieldPath, Report};
use crate::spec::{FixedAnswer, PathRewrite, Redirect, RegexReplacement, Rewrite};

/// The most memory that a compiled pattern may take, in bytes: some thousand states.
const MAX_PROGRAM_BYTES: usize = 512 << 10;

/// How deep groups of a pattern may be nested.
const MAX_NESTING: u32 = 32;

/// Changes to host and path.
pub(super) fn url(
    raw: &RawUrlRewrite,
    rule: &RawRule,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<Rewrite> {
    if raw.hostname.is_none() && raw.hostname_header.is_none() && raw.path.is_none() {
        report.add(place, || "changes nothing: give it a hostname or a path".to_owned());
    }
    let hostname = raw.hostname.as_deref().map(|hostname| {
        text::dns_name(hostname)
            .and_then(|()| text::header_value(hostname))
            .map_err(|message| report.add(&place.field("hostname"), || message))
            .ok()
    });
    let header_place = place.field("hostnameHeader");
    if raw.hostname.is_some() && raw.hostname_header.is_some() {
        report.add(&header_place, || "cannot stand beside hostname: choose one".to_owned());
    }
    let hostname_header = raw.hostname_header.as_deref().and_then(|name| {
        text::asked_header_name(name).map_err(|message| report.add(&header_place, || message)).ok()
    });
    let path = raw.path.as_ref().map(|path| path_rewrite(path, rule, &place.field("path"), report));
    Some(Rewrite { hostname: hostname.flatten(), hostname_header, path: path.flatten() })
}

/// A redirect.
pub(super) fn redirect(
    raw: &RawRedirect,
    rule: &RawRule,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<Redirect> {
    if let Some(hostname) = &raw.hostname
        && let Err(message) = text::dns_name(hostname)
    {
        report.add(&place.field("hostname"), || message);
    }
    if raw.path.as_ref().is_some_and(|path| path.kind == RawPathRewriteType::ReplaceRegexMatch) {
        let message = || "is not for redirects: use ReplaceFullPath or ReplacePrefixMatch".to_owned();
        report.add(&place.field("path").field("type"), message);
    }
    let path = raw.path.as_ref().map(|path| path_rewrite(path, rule, &place.field("path"), report));
    let status = match raw.status_code {
        301 | 302 | 303 | 307 | 308 => http::StatusCode::from_u16(raw.status_code).ok(),
        other => {
            let message =
                || format!("{other} is not a redirect with a location: choose 301, 302, 303, 307 or 308");
            report.add(&place.field("statusCode"), message);
            None
        }
    };
    let scheme = raw.scheme.map(|scheme| match scheme {
        RawScheme::Http => "http",
        RawScheme::Https => "https",
    });
    let hostname = raw.hostname.as_deref().map(|hostname| hostname.to_ascii_lowercase().into());
    Some(Redirect { scheme, hostname, path: path.flatten(), port: raw.port, status: status? })
}

fn path_rewrite(
    raw: &RawPathRewrite,
    rule: &RawRule,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<PathRewrite> {
    let full = ("replaceFullPath", raw.replace_full_path.as_deref());
    let prefix = ("replacePrefixMatch", raw.replace_prefix_match.as_deref());
    if raw.kind == RawPathRewriteType::ReplaceRegexMatch {
        return regex(raw, place, report);
    }
    if raw.replace_regex_match.is_some() {
        report.add(&place.field("replaceRegexMatch"), || "does not go with this type".to_owned());
    }
    let ((name, wanted), (other_name, other)) = match raw.kind {
        RawPathRewriteType::ReplaceFullPath => (full, prefix),
        RawPathRewriteType::ReplacePrefixMatch | RawPathRewriteType::ReplaceRegexMatch => (prefix, full),
    };
    if other.is_some() {
        report.add(&place.field(other_name), || "does not go with this type".to_owned());
    }
    let Some(wanted) = wanted else {
        report.add(&place.field(name), || "is missing: this type needs it".to_owned());
        return None;
    };
    if raw.kind == RawPathRewriteType::ReplaceFullPath {
        text::path(wanted).map_err(|message| report.add(&place.field(name), || message)).ok()?;
        return Some(PathRewrite::Full(wanted.into()));
    }
    let has_prefixes_only = rule
        .matches
        .iter()
        .filter_map(|m| m.path.as_ref())
        .all(|path| path.kind == RawPathMatchType::PathPrefix);
    if !has_prefixes_only {
        report.add(place, || "needs a PathPrefix in every match of the rule".to_owned());
    }
    // Nothing and the root are the same prefix.
    if !wanted.is_empty() {
        text::path(wanted).map_err(|message| report.add(&place.field(name), || message)).ok()?;
    }
    Some(PathRewrite::Prefix(wanted.trim_end_matches('/').into()))
}

/// An answer that is the same for all.
pub(super) fn respond(raw: &RawRespond, place: &FieldPath<'_>, report: &mut Report) -> Option<FixedAnswer> {
    let content_type = raw.content_type.as_deref().and_then(|value| {
        text::header_value(value).map_err(|message| report.add(&place.field("contentType"), || message)).ok()
    });
    if matches!(raw.status, 204 | 205 | 304) && !raw.body.is_empty() {
        report.add(&place.field("body"), || format!("cannot go with status {}", raw.status));
    }
    let status = http::StatusCode::from_u16(raw.status).ok()?;
    Some(FixedAnswer { status, content_type, body: raw.body.as_str().into() })
}

fn regex(raw: &RawPathRewrite, place: &FieldPath<'_>, report: &mut Report) -> Option<PathRewrite> {
    for (name, other) in
        [("replaceFullPath", &raw.replace_full_path), ("replacePrefixMatch", &raw.replace_prefix_match)]
    {
        if other.is_some() {
            report.add(&place.field(name), || "does not go with this type".to_owned());
        }
    }
    let place = place.field("replaceRegexMatch");
    let Some(wanted) = &raw.replace_regex_match else {
        report.add(&place, || "is missing: this type needs it".to_owned());
        return None;
    };
    let builder =
        RegexBuilder::new(&wanted.pattern).size_limit(MAX_PROGRAM_BYTES).nest_limit(MAX_NESTING).build();
    let pattern = match builder {
        Ok(pattern) => pattern,
        Err(error) => {
            let last = error.to_string().lines().last().unwrap_or_default().replace("error: ", "");
            report.add(&place.field("pattern"), || format!("is no pattern: {last}"));
            return None;
        }
    };
    let replacement = RegexReplacement::new(pattern, &wanted.substitution);
    if replacement.is_none() {
        let message =
            || "has a backslash before something that is no group of the pattern and no backslash".to_owned();
        report.add(&place.field("substitution"), message);
    }
    replacement.map(PathRewrite::Regex)
}
