//! People who log in at an OpenID provider.

use penstock_config::Span;
use penstock_config::raw::{RawAuthentication, RawJwt, RawOidc, RawSameSite, RawTextMatch, RawTextMatchType};

use super::{Fault, File, path, tokens};
use crate::api::{LoginAccess, LoginDenyHeader, SecretRef};
use crate::context::{Context, Referrer, Secrets, data_file};
use crate::hosts;
use crate::world::{Key, Kind, shorten};

/// The keys of Secrets that have a client's name, and its secret.
const CLIENT_ID: &str = "client-id";
const CLIENT_SECRET: &str = "client-secret";

/// What Envoy puts in place of the host, and of the scheme, that people came to.
const HOST: &str = "%REQ(:authority)%";
const SCHEMES: [&str; 2] = ["%REQ(x-forwarded-proto)%", "%REQ(:scheme)%"];

/// A client of a provider. What it refers to was looked up in its own namespace.
#[derive(Debug, Clone)]
pub(super) struct Login {
    spec: LoginAccess,
    allows_loopback: bool,
    client_id: Option<Result<String, Fault>>,
    client_secret: Option<Result<File, Fault>>,
}

pub(super) fn read(context: &Context<'_>, policy: &Key, spec: &LoginAccess) -> Login {
    let client_id = match (&spec.client_id, &spec.client_id_ref) {
        (Some(_), Some(_)) => Some(Err("oidc has both of clientID and clientIDRef".to_owned())),
        (Some(id), None) => Some(Ok(id.clone())),
        (None, Some(reference)) => Some(client_id(context, policy, reference)),
        (None, None) => None,
    };
    Login {
        client_id,
        client_secret: spec.client_secret.as_ref().map(|reference| client_secret(context, policy, reference)),
        allows_loopback: context.options.allow_loopback,
        spec: spec.clone(),
    }
}

impl Login {
    /// This, and what a less specific policy says beside it.
    pub(super) fn over(self, parent: Self) -> Self {
        let (own, under) = (self.spec, parent.spec);
        let list = |own: Vec<String>, under: Vec<String>| if own.is_empty() { under } else { own };
        let has_provider = !own.provider.issuer.is_empty();
        Self {
            spec: LoginAccess {
                provider: if has_provider { own.provider } else { under.provider },
                client_id: None,
                client_id_ref: None,
                client_secret: None,
                cookie_names: own.cookie_names.or(under.cookie_names),
                cookie_config: own.cookie_config.or(under.cookie_config),
                cookie_domain: own.cookie_domain.or(under.cookie_domain),
                scopes: list(own.scopes, under.scopes),
                resources: list(own.resources, under.resources),
                redirect_url: own.redirect_url.or(under.redirect_url),
                deny_redirect: own.deny_redirect.or(under.deny_redirect),
                logout_path: own.logout_path.or(under.logout_path),
                forward_access_token: own.forward_access_token.or(under.forward_access_token),
                forward_id_token: own.forward_id_token.or(under.forward_id_token),
                default_token_ttl: own.default_token_ttl.or(under.default_token_ttl),
                refresh_token: own.refresh_token.or(under.refresh_token),
                default_refresh_token_ttl: own.default_refresh_token_ttl.or(under.default_refresh_token_ttl),
                csrf_token_ttl: own.csrf_token_ttl.or(under.csrf_token_ttl),
                pass_through_auth_header: own.pass_through_auth_header.or(under.pass_through_auth_header),
            },
            allows_loopback: self.allows_loopback,
            client_id: self.client_id.or(parent.client_id),
            client_secret: self.client_secret.or(parent.client_secret),
        }
    }

    /// What documents have of it. `providers` are those of tokens of the same policy: where tokens pass through, one of theirs
    /// stands in for a session here, and is asked for behind this all the same.
    ///
    /// # Errors
    /// Something in it cannot be: what, by its field.
    pub(super) fn asked(
        &self,
        providers: &[tokens::Provider],
        secrets: &mut Secrets,
    ) -> Result<RawAuthentication, Fault> {
        let spec = &self.spec;
        let jwt = if spec.pass_through_auth_header == Some(true) {
            if providers.is_empty() {
                return Err(
                    "oidc.passThroughAuthHeader needs jwt, which says in which header a token is".to_owned()
                );
            }
            Some(RawJwt { providers: providers.iter().map(|provider| provider.raw.clone()).collect() })
        } else {
            None
        };
        let oidc = Some(self.client(secrets)?);
        Ok(RawAuthentication { oidc, jwt, ..RawAuthentication::default() })
    }

    fn client(&self, secrets: &mut Secrets) -> Result<RawOidc, Fault> {
        let spec = &self.spec;
        let client_id = self.client_id.clone().transpose()?;
        let client_id = client_id.filter(|id| !id.is_empty());
        let names = spec.cookie_names.clone().unwrap_or_default();
        let default = RawOidc::default();
        let client = RawOidc {
            issuer: self.address("issuer", &spec.provider.issuer)?,
            authorization_endpoint: self
                .optional_address("authorizationEndpoint", spec.provider.authorization_endpoint.as_ref())?,
            token_endpoint: self.optional_address("tokenEndpoint", spec.provider.token_endpoint.as_ref())?,
            end_session_endpoint: self
                .optional_address("endSessionEndpoint", spec.provider.end_session_endpoint.as_ref())?,
            client_id: client_id.ok_or("oidc needs one of clientID and clientIDRef")?,
            client_secret: path(self.client_secret.as_ref(), "oidc.clientSecret", secrets)?,
            redirect_url: spec.redirect_url.as_deref().map_or(Ok(default.redirect_url), redirect_url)?,
            logout_path: spec.logout_path.clone().unwrap_or(default.logout_path),
            scopes: super::distinct(&spec.scopes),
            resources: spec.resources.clone(),
            cookie_domain: spec.cookie_domain.clone(),
            same_site: same_site(spec)?,
            deny_redirect: deny_redirect(spec)?,
            refresh: spec.refresh_token != Some(false),
            token_ttl: span("defaultTokenTTL", spec.default_token_ttl.as_ref())?
                .filter(|ttl| *ttl != Span::secs(0)),
            refresh_token_ttl: span("defaultRefreshTokenTTL", spec.default_refresh_token_ttl.as_ref())?
                .unwrap_or(RawOidc::REFRESH_TOKEN_TTL),
            login_ttl: span("csrfTokenTTL", spec.csrf_token_ttl.as_ref())?.unwrap_or(RawOidc::LOGIN_TTL),
            forward_access_token: spec.forward_access_token == Some(true),
            id_token_header: spec.forward_id_token.as_ref().map(|token| token.header.clone()),
            id_token_cookie: names.id_token,
            access_token_cookie: names.access_token,
            ..RawOidc::default()
        };
        Ok(client)
    }

    fn optional_address(&self, field: &str, text: Option<&String>) -> Result<Option<String>, Fault> {
        text.filter(|text| !text.is_empty()).map(|text| self.address(field, text)).transpose()
    }

    /// The address of something that the data plane asks, or leads people to. Its own host is none, as with Backends.
    fn address(&self, field: &str, text: &str) -> Result<String, Fault> {
        let text = text.trim();
        if text.is_empty() {
            return Err(format!("oidc.provider.{field} is missing"));
        }
        match hosts::check_address(text, self.allows_loopback) {
            Ok(()) => Ok(text.to_owned()),
            Err(_) if text.contains('@') => {
                Err(format!("oidc.provider.{field} has a user's name before its host"))
            }
            Err(why) => Err(format!("oidc.provider.{field} {:?} {why}", shorten(text, 80))),
        }
    }
}

fn client_id(context: &Context<'_>, policy: &Key, reference: &SecretRef) -> Result<String, Fault> {
    let from = Referrer::of(Kind::SecurityPolicy, &policy.namespace);
    let secret = context.referred_secret(from, reference, "Invalid");
    let (secret, values) = secret.map_err(|error| format!("oidc.clientIDRef: {}", error.message))?;
    let value = values.get(CLIENT_ID).map(|value| value.expose().trim_ascii());
    let text = value.and_then(|value| std::str::from_utf8(value).ok()).filter(|text| !text.is_empty());
    let text = text
        .ok_or_else(|| format!("oidc.clientIDRef: the Secret {secret} has no key {CLIENT_ID} with a text"))?;
    Ok(text.to_owned())
}

fn client_secret(context: &Context<'_>, policy: &Key, reference: &SecretRef) -> Result<File, Fault> {
    let from = Referrer::of(Kind::SecurityPolicy, &policy.namespace);
    let (secret, values) =
        context.referred_secret(from, reference, "Invalid").map_err(|error| error.message)?;
    let value = values.get(CLIENT_SECRET).map(|value| value.expose().trim_ascii());
    if value.is_none_or(<[u8]>::is_empty) {
        return Err(format!("the Secret {secret} has no key {CLIENT_SECRET} with a text"));
    }
    let mut secrets = Secrets::new();
    let path = data_file(&mut secrets, "credential", Kind::Secret, &secret, CLIENT_SECRET);
    Ok(File { path, secrets })
}

/// An address, or its path where the rest is what people came to.
fn redirect_url(text: &str) -> Result<String, Fault> {
    let fault = |why: &str| format!("oidc.redirectURL {:?} {why}", shorten(text, 80));
    let Some((scheme, rest)) = text.split_once("://") else { return Err(fault("has no scheme")) };
    let path = rest.strip_prefix(HOST).filter(|_| SCHEMES.contains(&scheme));
    match path {
        Some(path) => Ok(path.to_owned()),
        None if text.contains('%') => Err(fault(
            "has variables that are not known here: write %REQ(x-forwarded-proto)%://%REQ(:authority)%/PATH, or an address",
        )),
        None => Ok(text.to_owned()),
    }
}

fn same_site(spec: &LoginAccess) -> Result<RawSameSite, Fault> {
    let text = spec.cookie_config.as_ref().and_then(|config| config.same_site.as_deref());
    match text {
        None | Some("Lax") => Ok(RawSameSite::Lax),
        Some("Strict") => Ok(RawSameSite::Strict),
        Some("None") => Ok(RawSameSite::None),
        Some(other) => {
            Err(format!("oidc.cookieConfig.sameSite {:?} is none of Lax, Strict, None", shorten(other, 40)))
        }
    }
}

fn deny_redirect(spec: &LoginAccess) -> Result<Vec<RawTextMatch>, Fault> {
    let headers = spec.deny_redirect.iter().flat_map(|deny| &deny.headers);
    headers.enumerate().map(|(index, header)| deny_header(index, header)).collect()
}

fn deny_header(index: usize, header: &LoginDenyHeader) -> Result<RawTextMatch, Fault> {
    let literal = || regex_of(&header.value);
    let (kind, value) = match header.kind.as_deref() {
        None | Some("Exact") => (RawTextMatchType::Exact, header.value.clone()),
        Some("Prefix") => (RawTextMatchType::RegularExpression, format!("(?s){}.*", literal())),
        Some("Suffix") => (RawTextMatchType::RegularExpression, format!("(?s).*{}", literal())),
        Some("RegularExpression") => (RawTextMatchType::RegularExpression, header.value.clone()),
        Some(other) => {
            let place = format!("oidc.denyRedirect.headers[{index}].type");
            return Err(format!("{place} {:?} is not known", shorten(other, 40)));
        }
    };
    Ok(RawTextMatch { kind, name: header.name.clone(), value: Some(value), invert: false })
}

/// A regular expression that a text alone matches.
fn regex_of(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii_punctuation() {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

fn span(field: &str, text: Option<&String>) -> Result<Option<Span>, Fault> {
    text.map(|text| Span::parse(text).map_err(|error| format!("oidc.{field}: {error}"))).transpose()
}
