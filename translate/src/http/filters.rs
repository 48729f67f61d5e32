//! Filters of HTTPRoutes.

use penstock_config::raw::{
    RawCors, RawHeaderEdits, RawPathRewrite, RawPathRewriteType, RawRedirect, RawRespond, RawRuleCredential,
    RawScheme, RawUrlRewrite,
};

use crate::access;
use crate::api::{ExternalAuthFilter, HttpFilter, HttpPathModifier, RequestMirror};
use crate::context::{Context, Secrets};
use crate::headers;
use crate::world::shorten;

use super::extension::{self, Extension};

/// The type of filters that are objects of their own.
const EXTENSION: &str = "ExtensionRef";

/// The filters of a rule or of a backendRef.
pub(super) struct Filters<'a> {
    filters: &'a [HttpFilter],
    /// What those say that are objects of their own, or why one cannot be.
    extension: Result<Extension, String>,
}

impl<'a> Filters<'a> {
    /// Those of a rule.
    pub(super) fn read(context: &Context<'_>, namespace: &str, filters: &'a [HttpFilter]) -> Self {
        let named = filters.iter().filter(|filter| filter.kind == EXTENSION);
        Self { filters, extension: extension::read(context, namespace, named) }
    }

    /// Those of a backendRef.
    pub(super) fn of_target(filters: &'a [HttpFilter]) -> Self {
        let extension = match filters.iter().any(|filter| filter.kind == EXTENSION) {
            true => Err("filters of type ExtensionRef are served of rules alone".to_owned()),
            false => Ok(Extension::default()),
        };
        Self { filters, extension }
    }

    /// # Errors
    /// There is a filter of a type that is not served, or without its section. The specification wants an error for
    /// requests that it would have been for.
    pub(super) fn refuse_unknown(&self) -> Result<(), String> {
        if let Err(fault) = &self.extension {
            return Err(fault.clone());
        }
        for filter in self.filters {
            let is_there = match filter.kind.as_str() {
                "RequestHeaderModifier" => filter.request_header_modifier.is_some(),
                "ResponseHeaderModifier" => filter.response_header_modifier.is_some(),
                "RequestMirror" => filter.request_mirror.is_some(),
                "RequestRedirect" => filter.request_redirect.is_some(),
                "URLRewrite" => filter.url_rewrite.is_some(),
                "CORS" => filter.cors.is_some(),
                "ExternalAuth" => filter.external_auth.is_some(),
                EXTENSION => filter.extension_ref.is_some(),
                other => return Err(format!("filters of type {} are not served", shorten(other, 80))),
            };
            if !is_there {
                return Err(format!("a filter of type {} lacks its section", filter.kind));
            }
        }
        Ok(())
    }

    /// Whether a filter replaces the prefix that matched.
    pub(super) fn changes_prefix(&self) -> bool {
        self.filters.iter().any(|filter| {
            let redirect = filter.request_redirect.as_ref().and_then(|it| it.path.as_ref());
            let rewrite = filter.url_rewrite.as_ref().and_then(|it| it.path.as_ref());
            redirect.or(rewrite).is_some_and(|path| path.kind == "ReplacePrefixMatch")
        })
    }

    pub(super) fn request_headers(&self) -> RawHeaderEdits {
        let modifiers = self.filters.iter().filter_map(|filter| filter.request_header_modifier.as_ref());
        modifiers.map(headers::modifier).fold(RawHeaderEdits::default(), headers::merge)
    }

    pub(super) fn response_headers(&self) -> RawHeaderEdits {
        let modifiers = self.filters.iter().filter_map(|filter| filter.response_header_modifier.as_ref());
        modifiers.map(headers::modifier).fold(RawHeaderEdits::default(), headers::merge)
    }

    pub(super) fn mirrors(&self) -> impl Iterator<Item = &'a RequestMirror> {
        self.filters.iter().filter_map(|filter| filter.request_mirror.as_ref())
    }

    pub(super) fn cors(&self) -> Result<Option<RawCors>, String> {
        self.filters.iter().find_map(|filter| filter.cors.as_ref()).map(access::cors_of_filter).transpose()
    }

    /// # Errors
    /// There are several.
    pub(super) fn external_auth(&self) -> Result<Option<&'a ExternalAuthFilter>, String> {
        let mut all = self.filters.iter().filter_map(|filter| filter.external_auth.as_ref());
        match (all.next(), all.next()) {
            (only, None) => Ok(only),
            (_, Some(_)) => Err("a rule has one filter of type ExternalAuth at most".to_owned()),
        }
    }

    pub(super) fn redirect(&self) -> Result<Option<RawRedirect>, String> {
        let Some(raw) = self.filters.iter().find_map(|filter| filter.request_redirect.as_ref()) else {
            return Ok(None);
        };
        let scheme = match raw.scheme.as_deref() {
            None => None,
            Some("http") => Some(RawScheme::Http),
            Some("https") => Some(RawScheme::Https),
            Some(_) => return Err("a redirect has a scheme that is not served".to_owned()),
        };
        Ok(Some(RawRedirect {
            scheme,
            hostname: raw.hostname.clone(),
            path: raw.path.as_ref().map(path).transpose()?,
            port: raw.port,
            status_code: raw.status_code.unwrap_or(302),
        }))
    }

    /// An answer in place of everything else, and changes to its headers.
    pub(super) fn respond(&self) -> Option<&(RawRespond, RawHeaderEdits)> {
        self.extension.as_ref().ok()?.respond.as_ref()
    }

    /// A secret that requests are sent with.
    pub(super) fn credential(&self) -> Option<RawRuleCredential> {
        self.extension.as_ref().ok()?.credential.clone()
    }

    /// Where that is.
    pub(super) fn secrets(&self) -> Secrets {
        self.extension.as_ref().map(|extension| extension.secrets.clone()).unwrap_or_default()
    }

    pub(super) fn url_rewrite(&self) -> Result<Option<RawUrlRewrite>, String> {
        let mut rewrite = self.extension.as_ref().map(|it| it.rewrite.clone()).unwrap_or_default();
        if let Some(raw) = self.filters.iter().find_map(|filter| filter.url_rewrite.as_ref()) {
            if raw.hostname.is_some() {
                (rewrite.hostname, rewrite.hostname_header) = (raw.hostname.clone(), None);
            }
            if raw.path.is_some() && rewrite.path.is_some() {
                return Err("two filters change the path".to_owned());
            }
            rewrite.path = raw.path.as_ref().map(path).transpose()?.or(rewrite.path);
        }
        // One that changes nothing is a fault to documents, but not to Gateway API.
        Ok((rewrite != RawUrlRewrite::default()).then_some(rewrite))
    }
}

fn path(raw: &HttpPathModifier) -> Result<RawPathRewrite, String> {
    match raw.kind.as_str() {
        "ReplaceFullPath" => Ok(RawPathRewrite {
            kind: RawPathRewriteType::ReplaceFullPath,
            replace_full_path: raw.replace_full_path.clone(),
            replace_prefix_match: None,
            replace_regex_match: None,
        }),
        "ReplacePrefixMatch" => Ok(RawPathRewrite {
            kind: RawPathRewriteType::ReplacePrefixMatch,
            replace_full_path: None,
            replace_prefix_match: raw.replace_prefix_match.clone(),
            replace_regex_match: None,
        }),
        _ => Err("a change of path has a type that is not served".to_owned()),
    }
}
