//! Lowering changes to host and path, and redirects.

use super::text;
use crate::raw::{
    RawPathMatchType, RawPathRewrite, RawPathRewriteType, RawRedirect, RawRule, RawScheme, RawUrlRewrite,
};
use crate::report::{FieldPath, Report};
use crate::spec::{PathRewrite, Redirect, Rewrite};

/// Changes to host and path.
pub(super) fn url(
    raw: &RawUrlRewrite,
    rule: &RawRule,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<Rewrite> {
    if raw.hostname.is_none() && raw.path.is_none() {
        report.add(place, || "changes nothing: give it a hostname or a path".to_owned());
    }
    let hostname = raw.hostname.as_deref().map(|hostname| {
        text::dns_name(hostname)
            .and_then(|()| text::header_value(hostname))
            .map_err(|message| report.add(&place.field("hostname"), || message))
            .ok()
    });
    let path = raw.path.as_ref().map(|path| path_rewrite(path, rule, &place.field("path"), report));
    Some(Rewrite { hostname: hostname.flatten(), path: path.flatten() })
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
    let ((name, wanted), (other_name, other)) = match raw.kind {
        RawPathRewriteType::ReplaceFullPath => (full, prefix),
        RawPathRewriteType::ReplacePrefixMatch => (prefix, full),
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
