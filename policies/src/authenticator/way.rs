//! The ways of saying who asks, each by itself.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use penstock_config::{ApiKeys, Basic, ClaimPath, Extract, JwtProvider};
use serde_json::Value;

use super::told::{claim_value, header_value};
use super::{By, Edits, Identified, Identity, Sources};
use crate::basic::{Login, Users};
use crate::consumers::{ConsumerBook, KeyTable};
use crate::extract::{Places, Shown};
use crate::held::Held;
use crate::jwt::{Expected, Fault, KeySet, Token, claim};

const TWICE: &str = "the credential is there more than once";

/// What a request is looked at for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) query: Option<&'a str>,
    pub(super) now: SystemTime,
}

/// What a way finds out.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The request does not take it.
    NotShown,
    /// Who asks.
    Identified(Identified),
    /// What is shown is not valid.
    Invalid(&'static str),
    /// What is shown cannot be judged: keys or users were never had.
    Unavailable,
}

/// By a key.
#[derive(Debug)]
pub(super) struct ByKey {
    places: Places,
    keys: Keys,
    consumer_header: Option<HeaderName>,
    is_forwarded: bool,
}

/// Where keys are.
#[derive(Debug)]
enum Keys {
    Document(Arc<KeyTable>),
    File(Arc<Held<KeyTable>>),
}

/// By a name and a password.
#[derive(Debug)]
pub(super) struct ByPassword {
    places: Places,
    users: Arc<Held<Users>>,
    book: Arc<ConsumerBook>,
    user_header: Option<HeaderName>,
    is_forwarded: bool,
}

/// By a token of one of these.
#[derive(Debug)]
pub(super) struct ByToken {
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

impl ByKey {
    pub(super) fn new(keys: &ApiKeys, of_document: &Arc<KeyTable>, sources: &dyn Sources) -> Self {
        Self {
            places: Places::new(keys.extract_from.iter().cloned()),
            keys: match &keys.file {
                None => Keys::Document(Arc::clone(of_document)),
                Some(file) => Keys::File(sources.keys(file)),
            },
            consumer_header: keys.consumer_header.clone(),
            is_forwarded: keys.is_forwarded,
        }
    }

    pub(super) fn attempt(&self, request: Request<'_>) -> Attempt {
        let (text, place) = match self.places.find(request.headers, request.query) {
            Shown::Nothing => return Attempt::NotShown,
            Shown::Twice => return Attempt::Invalid(TWICE),
            Shown::Once { text, place } => (text, place),
        };
        let found = match &self.keys {
            Keys::Document(table) => table.get(&text).cloned(),
            Keys::File(held) => match held.get() {
                None => return Attempt::Unavailable,
                Some(table) => table.get(&text).cloned(),
            },
        };
        let Some(consumer) = found else { return Attempt::Invalid("the key is not known") };
        let set = told(self.consumer_header.as_ref(), &consumer.name);
        let identity = Identity { consumer, by: By::ApiKey, claims: None };
        Attempt::Identified(Identified { identity, edits: edits(place, self.is_forwarded, set) })
    }

    pub(super) fn set_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.consumer_header.iter()
    }
}

impl ByPassword {
    pub(super) fn new(basic: &Basic, book: &Arc<ConsumerBook>, sources: &dyn Sources) -> Self {
        Self {
            places: Places::new([Extract::Header { name: AUTHORIZATION, prefix: "Basic ".into() }]),
            users: sources.users(&basic.file),
            book: Arc::clone(book),
            user_header: basic.user_header.clone(),
            is_forwarded: basic.is_forwarded,
        }
    }

    pub(super) fn attempt(&self, request: Request<'_>) -> Attempt {
        let (text, place) = match self.places.find(request.headers, request.query) {
            Shown::Nothing => return Attempt::NotShown,
            Shown::Twice => return Attempt::Invalid(TWICE),
            Shown::Once { text, place } => (text, place),
        };
        let Some(users) = self.users.get() else { return Attempt::Unavailable };
        let Some(login) = Login::parse(&text) else { return Attempt::Invalid("the login is malformed") };
        if !users.verify(&login.name, &login.password) {
            return Attempt::Invalid("no user has that name and password");
        }
        let consumer = self.book.get(&login.name);
        let set = told(self.user_header.as_ref(), &consumer.name);
        let identity = Identity { consumer, by: By::Basic, claims: None };
        Attempt::Identified(Identified { identity, edits: edits(place, self.is_forwarded, set) })
    }

    pub(super) fn set_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.user_header.iter()
    }
}

impl ByToken {
    pub(super) fn new(providers: &[JwtProvider], book: &Arc<ConsumerBook>, sources: &dyn Sources) -> Self {
        let providers = providers.iter().map(|provider| Provider::new(provider, sources)).collect();
        Self { providers, book: Arc::clone(book) }
    }

    pub(super) fn attempt(&self, request: Request<'_>) -> Attempt {
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

    pub(super) fn set_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.providers.iter().flat_map(|provider| provider.claim_headers.iter().map(|(header, _)| header))
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
        let identity = Identity { consumer, by, claims: Some(Arc::clone(token.claims())) };
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
fn bearer(claim: &Value) -> Option<Cow<'_, str>> {
    match claim {
        Value::String(text) => (!text.is_empty() && !text.contains(char::is_control)).then(|| text.into()),
        Value::Number(number) => (!number.is_f64()).then(|| number.to_string().into()),
        _ => None,
    }
}

fn told(header: Option<&HeaderName>, name: &str) -> Vec<(HeaderName, HeaderValue)> {
    header.and_then(|header| Some((header.clone(), header_value(name)?))).into_iter().collect()
}

fn edits(place: &Arc<Extract>, is_forwarded: bool, set: Vec<(HeaderName, HeaderValue)>) -> Edits {
    Edits { remove: (!is_forwarded).then(|| Arc::clone(place)), set }
}
