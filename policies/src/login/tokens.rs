//! Tokens: what the provider is asked, and what is believed of its answer.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use penstock_config::Oidc;
use serde_json::Value;

use super::session::Session;
use super::start::Code;
use super::{Login, LoginFault, seconds};
use crate::authenticator::{By, Edits, Identified, Identity, bearer, claim_value};
use crate::consumers::ConsumerBook;
use crate::json;
use crate::jwt::{Expected, Token, claim};

/// What a provider's token endpoint is asked.
pub struct Ask {
    /// Where.
    pub url: Box<str>,
    /// The fields of the form.
    pub fields: Vec<(&'static str, String)>,
    /// The client and its secret, where they are shown in `Authorization`.
    pub basic: Option<(String, String)>,
}

/// What an answer has to be for.
#[derive(Debug, Clone, Copy)]
pub enum Expecting<'a> {
    /// This login.
    Login(&'a Code),
    /// The renewal of this session.
    Renewal(&'a Session),
}

impl Login {
    /// What the provider is asked.
    ///
    /// # Errors
    /// It was never had, or the session cannot be renewed.
    pub fn ask(&self, expecting: Expecting<'_>) -> Result<Ask, LoginFault> {
        let (Some(provider), Some(secret)) = (self.provider.get(), self.secret.get()) else {
            return Err(LoginFault::Unavailable);
        };
        let endpoint = self.spec.provider.token_endpoint.as_ref().or(provider.token_endpoint.as_ref());
        let mut fields = match expecting {
            Expecting::Login(code) => vec![
                ("grant_type", "authorization_code".to_owned()),
                ("code", code.code.clone()),
                ("redirect_uri", code.redirect_uri.clone()),
                ("code_verifier", code.verifier.clone()),
            ],
            Expecting::Renewal(session) => vec![
                ("grant_type", "refresh_token".to_owned()),
                ("refresh_token", session.refresh_token().ok_or(LoginFault::Code)?.to_owned()),
            ],
        };
        fields.extend(self.spec.resources.iter().map(|resource| ("resource", resource.to_string())));
        let client = self.spec.client_id.to_string();
        let basic = if provider.wants_secret_in_form {
            fields.push(("client_id", client));
            fields.push(("client_secret", secret.expose().to_owned()));
            None
        } else {
            Some((client, secret.expose().to_owned()))
        };
        Ok(Ask { url: endpoint.ok_or(LoginFault::Unavailable)?.clone(), fields, basic })
    }

    /// The session that the provider's answer gives.
    ///
    /// # Errors
    /// It is none that is to be believed.
    pub fn accept(
        &self,
        answer: &[u8],
        expecting: Expecting<'_>,
        now: SystemTime,
    ) -> Result<Session, LoginFault> {
        let answer = json::parse(answer).map_err(|_| LoginFault::NoIdToken)?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let id_token = match (text("id_token"), expecting) {
            (Some(id_token), _) => {
                self.verify(id_token, expecting, now)?;
                id_token
            }
            // A provider may leave out what it said before (OpenID Connect Core 1.0, 12.2).
            (None, Expecting::Renewal(session)) => &session.id_token,
            (None, Expecting::Login(_)) => return Err(LoginFault::NoIdToken),
        };
        let wants_access_token = self.spec.forwards_access_token || self.spec.access_token_cookie.is_some();
        let access_token = text("access_token").filter(|_| wants_access_token);
        if wants_access_token && access_token.is_none_or(|token| HeaderValue::from_str(token).is_err()) {
            return Err(LoginFault::Token("there is no access token"));
        }
        let before = match expecting {
            Expecting::Renewal(session) => session.refresh_token(),
            Expecting::Login(_) => None,
        };
        let refresh_token = text("refresh_token").or(before).filter(|_| self.spec.refreshes);
        let seconds_now = seconds(now);
        let session = Session {
            id_token: id_token.into(),
            access_token: access_token.map(Into::into),
            refresh_token: refresh_token.map(Into::into),
            expires: self.expires(&answer, id_token, seconds_now)?,
            renewable_until: seconds_now.saturating_add(self.spec.refresh_token_ttl.as_secs()),
        };
        self.identify(&session)?;
        Ok(session)
    }

    /// Whether an ID token is the provider's, for this client and for this login or session (OpenID Connect Core 1.0, 3.1.3.7
    /// and 12.2).
    fn verify(&self, text: &str, expecting: Expecting<'_>, now: SystemTime) -> Result<(), LoginFault> {
        let provider = self.provider.get().ok_or(LoginFault::Unavailable)?;
        let token = Token::parse(text.as_bytes())?;
        Expected::of_client(&provider.issuer, &self.spec.client_id).check(&token, now)?;
        let claims = token.claims();
        let said = |name: &str| claims.get(name).and_then(Value::as_str);
        if claims.get("exp").is_none() {
            return Err(LoginFault::Token("the ID token does not expire"));
        }
        if claims.get("azp").is_some() && said("azp") != Some(&self.spec.client_id) {
            return Err(LoginFault::Token("the ID token is for another client"));
        }
        provider.keys.verify(&token, text.as_bytes()).map_err(|fault| {
            if let LoginFault::UnknownKey = fault.into() {
                self.provider.ask_again();
            }
            LoginFault::from(fault)
        })?;
        match expecting {
            Expecting::Login(code) if said("nonce") != Some(&code.nonce) => Err(LoginFault::Nonce),
            Expecting::Login(_) => Ok(()),
            Expecting::Renewal(session) => {
                let before = Token::parse(session.id_token.as_bytes())?;
                let is_same = before.claims().get("sub") == claims.get("sub");
                if is_same { Ok(()) } else { Err(LoginFault::OtherSubject) }
            }
        }
    }

    /// Until when a session holds: as the provider says, as the policy says, or as long as the ID token.
    fn expires(&self, answer: &Value, id_token: &str, now: u64) -> Result<u64, LoginFault> {
        let told = match answer.get("expires_in") {
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_u64(),
            None => None,
        };
        let told = told.filter(|lifetime| *lifetime > 0);
        if let Some(lifetime) = told.or_else(|| Some(self.spec.token_ttl?.as_secs())) {
            return Ok(now.saturating_add(lifetime));
        }
        let token = Token::parse(id_token.as_bytes())?;
        let expires = token.claims().get("exp").and_then(Value::as_f64);
        expires
            .filter(|expires| *expires >= 0.0)
            .map(|expires| expires as u64)
            .ok_or(LoginFault::Token("the ID token does not expire"))
    }
}

/// Whoever a session is of, and what upstreams are told of them.
pub(super) fn identified(
    spec: &Oidc,
    session: &Session,
    book: &ConsumerBook,
) -> Result<Identified, LoginFault> {
    let token = Token::parse(session.id_token.as_bytes())?;
    let claims = token.claims();
    let consumer = match claim(claims, &spec.consumer_claim) {
        None => book.nameless(),
        Some(value) => {
            book.get(&bearer(value).ok_or(LoginFault::Token("the ID token does not name its bearer"))?)
        }
    };
    let told = spec
        .claim_headers
        .iter()
        .filter_map(|(header, path)| Some((header.clone(), claim_value(claim(claims, path)?)?)));
    let mut set: Vec<(HeaderName, HeaderValue)> = told.collect();
    if let Some(name) = &spec.id_token_header {
        let prefix = if *name == AUTHORIZATION { "Bearer " } else { "" };
        set.extend(secret(prefix, &session.id_token).map(|value| (name.clone(), value)));
    }
    if let Some(token) = session.access_token.as_deref().filter(|_| spec.forwards_access_token) {
        set.extend(secret("Bearer ", token).map(|value| (AUTHORIZATION, value)));
    }
    let by = By::Oidc { provider: Arc::clone(&spec.name) };
    let identity = Identity { consumer, by, policy: Arc::default(), claims: Some(Arc::clone(claims)) };
    Ok(Identified { identity, edits: Edits { remove: None, set } })
}

fn secret(prefix: &str, token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("{prefix}{token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
