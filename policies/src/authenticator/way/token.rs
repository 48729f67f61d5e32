//! Tokens of one provider or several.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderName;
use penstock_config::{ClaimPath, Extract, JwtProvider};
use serde_json::Value;

use super::{Attempt, Request, TWICE, edits};
use crate::authenticator::told::claim_value;
use crate::authenticator::{By, Identified, Identity, Sources};
use crate::consumers::ConsumerBook;
use crate::extract::{Places, Shown};
use crate::held::Held;
use crate::jwt::{Expected, Fault, KeySet, Token, claim};

/// By a token of one of these.
#[derive(Debug)]
pub(in crate::authenticator) struct ByToken {
    providers: Box<[Provider]>,
    book: Arc<ConsumerBook>,
}

/// An identity provider.
#[derive(Debug)]
struct Provider {
    name: Arc<str>,
    places: Places,
    expected: Expected,
    keys: Arc<Held<KeySet>>,
    consumer_claim: ClaimPath,
    claim_headers: Box<[(HeaderName, ClaimPath)]>,
    is_forwarded: bool,
}

/// Why a provider does not identify the bearer of a token.
enum Miss {
    Fault(Fault),
    Unavailable,
}

impl ByToken {
    pub(in crate::authenticator) fn new(
        providers: &[JwtProvider],
        book: &Arc<ConsumerBook>,
        sources: &dyn Sources,
    ) -> Self {
        let providers = providers.iter().map(|provider| Provider::new(provider, sources)).collect();
        Self { providers, book: Arc::clone(book) }
    }

    pub(in crate::authenticator) fn attempt(&self, request: Request<'_>) -> Attempt {
        let mut parsed = Vec::new();
        let mut fault = None;
        let mut is_twice = false;
        let mut is_unavailable = false;
        for provider in &self.providers {
            let (text, place) = match provider.places.find(request.headers, request.query) {
                Shown::Nothing => continue,
                Shown::Twice => {
                    is_twice = true;
                    continue;
                }
                Shown::Once { text, place } => (text, place),
            };
            let (text, token) = once_parsed(&mut parsed, text);
            match provider.identify(token, text, place, &self.book, request.now) {
                Ok(identified) => return Attempt::Identified(identified),
                Err(Miss::Unavailable) => is_unavailable = true,
                Err(Miss::Fault(found)) => fault = fault.max(Some(found)),
            }
        }
        match fault {
            _ if is_unavailable => Attempt::Unavailable,
            Some(fault) => Attempt::Invalid(fault.text()),
            None if is_twice => Attempt::Invalid(TWICE),
            None => Attempt::NotShown,
        }
    }
}

type Parsed<'a> = (Cow<'a, [u8]>, Result<Token, Fault>);

/// Reads each token once, however many providers look at it.
fn once_parsed<'p, 'a>(
    parsed: &'p mut Vec<Parsed<'a>>,
    text: Cow<'a, [u8]>,
) -> (&'p [u8], &'p Result<Token, Fault>) {
    let at = parsed.iter().position(|(known, _)| *known == text).unwrap_or_else(|| {
        let token = Token::parse(&text);
        parsed.push((text, token));
        parsed.len() - 1
    });
    let (text, token) = &parsed[at];
    (text, token)
}

impl Provider {
    fn new(provider: &JwtProvider, sources: &dyn Sources) -> Self {
        Self {
            name: Arc::clone(&provider.name),
            places: Places::new(provider.extract_from.iter().cloned()),
            expected: Expected::new(provider),
            keys: sources.key_set(&provider.keys),
            consumer_claim: provider.consumer_claim.clone(),
            claim_headers: provider.claim_headers.clone(),
            is_forwarded: provider.is_forwarded,
        }
    }

    fn identify(
        &self,
        token: &Result<Token, Fault>,
        text: &[u8],
        place: &Arc<Extract>,
        book: &ConsumerBook,
        now: SystemTime,
    ) -> Result<Identified, Miss> {
        let token = token.as_ref().map_err(|fault| Miss::Fault(*fault))?;
        self.expected.check(token, now).map_err(Miss::Fault)?;
        let keys = self.keys.get().ok_or(Miss::Unavailable)?;
        if let Err(fault) = keys.verify(token, text) {
            if fault == Fault::UnknownKey {
                self.keys.ask_again();
            }
            return Err(Miss::Fault(fault));
        }
        let consumer = match claim(token.claims(), &self.consumer_claim) {
            None => book.nameless(),
            Some(value) => book.get(&bearer(value).ok_or(Miss::Fault(Fault::Consumer))?),
        };
        let by = By::Jwt { provider: Arc::clone(&self.name) };
        let identity =
            Identity { consumer, by, policy: Arc::default(), claims: Some(Arc::clone(token.claims())) };
        let set = self
            .claim_headers
            .iter()
            .filter_map(|(header, path)| Some((header.clone(), claim_value(claim(token.claims(), path)?)?)));
        let edits = edits(place, self.is_forwarded, set.collect());
        Ok(Identified { identity, edits })
    }
}

/// The name that a claim is: a text without control characters, or a whole number. A fraction is none, since large whole
/// numbers are read as one, and then many are the same.
pub(crate) fn bearer(claim: &Value) -> Option<Cow<'_, str>> {
    match claim {
        Value::String(text) => (!text.is_empty() && !text.contains(char::is_control)).then(|| text.into()),
        Value::Number(number) => (!number.is_f64()).then(|| number.to_string().into()),
        _ => None,
    }
}
