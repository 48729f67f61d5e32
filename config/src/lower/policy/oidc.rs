//! Lowering how people log in.

use std::sync::Arc;

use http::uri::{Scheme, Uri};
use http::{HeaderName, header};

use super::limit::Lowering;
use super::{boxed, check_distinct, jwt, told};
use crate::lower::file::Files;
use crate::lower::text;
use crate::raw::{RawOidc, RawSameSite};
use crate::report::{FieldPath, Quoted, Report};
use crate::spec::{Oidc, OpenIdProvider, RedirectUrl, SameSite, SessionCookie};

/// The scope without which a provider says nothing of who it is (OpenID Connect Core 1.0, 3.1.2.1).
const OPENID: &str = "openid";

/// The client of a policy.
pub(super) fn lower(
    raw: &RawOidc,
    place: &FieldPath<'_>,
    files: &mut Files,
    limits: &mut Lowering<'_, '_>,
) -> Option<Arc<Oidc>> {
    let deny_redirect = limits.headers(&raw.deny_redirect, &place.field("denyRedirect"));
    let report = &mut *limits.report;
    check_name(raw, place, report);
    let provider = provider(raw, place, report);
    let redirect = redirect(&raw.redirect_url, &place.field("redirectUrl"), report);
    check_logout(raw, redirect.as_ref(), &place.field("logoutPath"), report);
    for (index, resource) in raw.resources.iter().enumerate() {
        if let Err(message) = text::fetched_address(resource) {
            report.add(&place.field("resources").index(index), || message);
        }
    }
    let client_secret = files.path(&raw.client_secret, &place.field("clientSecret"), report);
    let cookie = cookie(raw, redirect.as_ref(), place, report);
    check_token_cookies(raw, place, report);
    let claim_headers = jwt::claim_headers(&raw.claim_headers, &place.field("claimHeaders"), report);
    let id_token_header = id_token_header(raw, place, report);
    let consumer_claim = jwt::claim(&raw.consumer_claim, &place.field("consumerClaim"), report);
    Some(Arc::new(Oidc {
        name: raw.name.as_str().into(),
        provider: provider?,
        client_id: raw.client_id.as_str().into(),
        client_secret,
        redirect: redirect?,
        logout_path: raw.logout_path.as_str().into(),
        scope: scope(&raw.scopes, &place.field("scopes"), report),
        resources: boxed(&raw.resources),
        cookie,
        deny_redirect,
        refreshes: raw.refresh,
        token_ttl: raw.token_ttl.map(|ttl| ttl.0),
        refresh_token_ttl: raw.refresh_token_ttl.0,
        login_ttl: raw.login_ttl.0,
        forwards_access_token: raw.forward_access_token,
        id_token_header,
        id_token_cookie: raw.id_token_cookie.as_deref().map(Into::into),
        access_token_cookie: raw.access_token_cookie.as_deref().map(Into::into),
        claim_headers,
        consumer_claim: consumer_claim?,
    }))
}

fn check_name(raw: &RawOidc, place: &FieldPath<'_>, report: &mut Report) {
    if let Err(message) = text::label(&raw.name) {
        report.add(&place.field("name"), || message);
    }
    if raw.client_id.contains(char::is_control) {
        report.add(&place.field("clientId"), || "has control characters: leave them out".to_owned());
    }
}

fn provider(raw: &RawOidc, place: &FieldPath<'_>, report: &mut Report) -> Option<OpenIdProvider> {
    let issuer = match text::service_address(&raw.issuer) {
        Ok(issuer) => Some(Arc::from(issuer)),
        Err(message) => {
            report.add(&place.field("issuer"), || message);
            None
        }
    };
    let mut endpoint = |field, written: &Option<String>| {
        if let Some(written) = written
            && let Err(message) = text::fetched_address(written)
        {
            report.add(&place.field(field), || message);
        }
        written.as_deref().map(Into::into)
    };
    Some(OpenIdProvider {
        authorization_endpoint: endpoint("authorizationEndpoint", &raw.authorization_endpoint),
        token_endpoint: endpoint("tokenEndpoint", &raw.token_endpoint),
        end_session_endpoint: endpoint("endSessionEndpoint", &raw.end_session_endpoint),
        issuer: issuer?,
    })
}

/// An address, or its path.
fn redirect(written: &str, place: &FieldPath<'_>, report: &mut Report) -> Option<RedirectUrl> {
    let fault = || {
        format!(
            "{} is not where people can be led back to: write \"https://chat.example.com/oauth2/callback\", or the path alone",
            Quoted(written)
        )
    };
    let (origin, path) = if written.starts_with('/') {
        (None, written)
    } else {
        let uri = text::fetched_address(written).ok().and_then(|()| written.parse::<Uri>().ok());
        let parts = uri.map(Uri::into_parts);
        let origin = parts.and_then(|parts| Some((parts.scheme?, parts.authority?)));
        let Some(origin) = origin else {
            report.add(place, fault);
            return None;
        };
        let rest = written.split_once("://").map_or("", |(_, rest)| rest);
        (Some(origin), rest.find('/').map_or("", |at| &rest[at..]))
    };
    if !is_plain_path(path) {
        report.add(place, fault);
        return None;
    }
    Some(RedirectUrl { origin, path: path.into() })
}

/// Whether it is a path below `/` that is written in one way only, without a query.
fn is_plain_path(path: &str) -> bool {
    text::path(path).is_ok()
        && path.len() > 1
        && !path.contains("//")
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte))
}

fn check_logout(raw: &RawOidc, redirect: Option<&RedirectUrl>, place: &FieldPath<'_>, report: &mut Report) {
    if !is_plain_path(&raw.logout_path) {
        let message =
            || format!("{} is not a path to log out at: write it as \"/logout\"", Quoted(&raw.logout_path));
        report.add(place, message);
    }
    if redirect.is_some_and(|redirect| *redirect.path == *raw.logout_path) {
        report.add(place, || "is the path of redirectUrl, where people log in: choose another".to_owned());
    }
}

fn scope(raw: &[String], place: &FieldPath<'_>, report: &mut Report) -> Box<str> {
    check_distinct(raw, place, report);
    for (index, scope) in raw.iter().enumerate() {
        if let Err(message) = text::scope(scope) {
            report.add(&place.index(index), || message);
        }
    }
    let others = raw.iter().map(String::as_str).filter(|scope| *scope != OPENID);
    let all: Vec<&str> = std::iter::once(OPENID).chain(others).collect();
    all.join(" ").into()
}

fn cookie(
    raw: &RawOidc,
    redirect: Option<&RedirectUrl>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> SessionCookie {
    if let Some(name) = &raw.cookie_name
        && let Err(message) = text::cookie_name(name)
    {
        report.add(&place.field("cookieName"), || message);
    }
    if let Some(domain) = &raw.cookie_domain {
        let field = place.field("cookieDomain");
        if let Err(message) = text::dns_name(domain) {
            report.add(&field, || message);
        }
        let host = redirect.and_then(|redirect| Some(redirect.origin.as_ref()?.1.host()));
        if let Some(host) = host.filter(|host| !is_within(host, domain)) {
            report.add(&field, || {
                format!(
                    "has not the host of redirectUrl, {}, among its own, so nobody could log in",
                    Quoted(host)
                )
            });
        }
    }
    let is_plain = redirect
        .is_some_and(|redirect| redirect.origin.as_ref().is_some_and(|(scheme, _)| *scheme == Scheme::HTTP));
    let same_site = match raw.same_site {
        RawSameSite::Lax => SameSite::Lax,
        RawSameSite::Strict => SameSite::Strict,
        RawSameSite::None => SameSite::None,
    };
    if is_plain && same_site == SameSite::None {
        let message = || "needs a redirectUrl with https: browsers take such a cookie by no other".to_owned();
        report.add(&place.field("sameSite"), message);
    }
    let lower = |domain: &String| domain.to_ascii_lowercase().into();
    SessionCookie {
        name: raw.cookie_name.as_deref().map(Into::into),
        domain: raw.cookie_domain.as_ref().map(lower),
        same_site,
    }
}

/// Whether a host is a domain or lies in it.
fn is_within(host: &str, domain: &str) -> bool {
    let (host, domain) = (host.to_ascii_lowercase(), domain.to_ascii_lowercase());
    host.strip_suffix(&*domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn check_token_cookies(raw: &RawOidc, place: &FieldPath<'_>, report: &mut Report) {
    let mut names: Vec<&String> = raw.cookie_name.iter().collect();
    for (field, name) in
        [("idTokenCookie", &raw.id_token_cookie), ("accessTokenCookie", &raw.access_token_cookie)]
    {
        let Some(name) = name else { continue };
        if let Err(message) = text::cookie_name(name) {
            report.add(&place.field(field), || message);
        }
        if names.contains(&name) {
            report.add(&place.field(field), || format!("{} has another meaning already", Quoted(name)));
        }
        names.push(name);
    }
}

fn id_token_header(raw: &RawOidc, place: &FieldPath<'_>, report: &mut Report) -> Option<HeaderName> {
    let field = place.field("idTokenHeader");
    let name = told(raw.id_token_header.as_deref(), &field, report)?;
    if name == header::AUTHORIZATION && raw.forward_access_token {
        report.add(&field, || "has the access token (forwardAccessToken): choose another".to_owned());
    }
    let is_claims = |claim: &&crate::raw::RawClaimHeader| claim.header.eq_ignore_ascii_case(name.as_str());
    if raw.claim_headers.iter().any(|claim| is_claims(&claim)) {
        report.add(&field, || format!("the header {name} has a claim already"));
    }
    Some(name)
}
