//! People who log in at an OpenID provider. What is asked and believed is decided in `penstock_policies`; here it meets the
//! request, and the provider is asked.
//!
//! A provider that is slow or gone keeps nobody waiting but those who log in, or whose sessions have run out. A session is
//! renewed once, however many requests show it at a time: many providers take a refresh token once only. That is done in a
//! task of its own, so that a client which goes away does not take with it what the next one needs.

mod renewals;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use penstock_credentials::{Documents, FetchError};
use penstock_picker::Failures;
use penstock_policies::{
    Door, Expecting, Identified, Led, Login, LoginFault, RANDOM_BYTES, Seen, Session, Visit,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use self::renewals::Renewals;
use super::{Reply, Subject, edits};
use crate::error::Error;
use crate::metrics::{LoginMetrics, LoginOutcome};

/// How many logins and renewals a policy asks its provider about at a time; others wait.
const MAX_ASKED: usize = 64;

/// How long they wait.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// How long is waited for the key of an ID token that the provider has only since its keys were fetched.
const MAX_KEY_WAIT: Duration = Duration::from_secs(3);

/// How often to look whether it is there.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The login of a policy. Listeners and rules that name the policy share it.
pub(crate) struct LogIn {
    policy: Arc<str>,
    login: Login,
    documents: Arc<Documents>,
    permits: Semaphore,
    renewals: Renewals,
    metrics: LoginMetrics,
    /// Why the provider could not be asked, of which the log tells.
    failures: Failures,
}

/// What browsers shall keep of sessions that were renewed while their requests were served.
#[derive(Debug, Clone, Default)]
pub(crate) struct SessionCookies(Vec<HeaderValue>);

/// Why there is no session.
#[derive(Debug, Clone)]
enum Failed {
    /// For this.
    Login(LoginFault),
    /// The provider could not be asked, or not understood.
    Provider(Arc<str>),
}

impl LogIn {
    /// The login of the policy of this name.
    pub(crate) fn new(
        policy: Arc<str>,
        login: Login,
        documents: Arc<Documents>,
        metrics: LoginMetrics,
    ) -> Arc<Self> {
        let permits = Semaphore::new(MAX_ASKED);
        let (renewals, failures) = (Renewals::default(), Failures::default());
        Arc::new(Self { policy, login, documents, permits, renewals, metrics, failures })
    }

    /// The headers that it may set.
    pub(super) fn set_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.login.set_headers()
    }

    /// The answer to a request for a path that is the login's own.
    ///
    /// # Errors
    /// Nobody is logged in.
    pub(super) async fn at_door(&self, request: &Subject<'_>) -> Result<Option<Reply>, Error> {
        match self.login.door(request.path_and_query.path()) {
            None => Ok(None),
            Some(Door::Callback) => self.come_back(request).await.map(Some),
            Some(Door::Logout) => {
                let led = self.login.leave(&visit(request)).map_err(|fault| self.failed(&fault.into()))?;
                self.metrics.count(LoginOutcome::LoggedOut);
                Ok(Some(reply(led)))
            }
        }
    }

    /// The session that a request shows and that holds. One that has run out is renewed if it can be.
    ///
    /// # Errors
    /// Nobody can tell.
    pub(super) async fn session(
        self: &Arc<Self>,
        request: &mut Subject<'_>,
    ) -> Result<Option<Box<Session>>, Error> {
        let old = match self.login.seen(&visit(request)) {
            Seen::Old(old) => old,
            seen => return self.held(seen),
        };
        match self.renew(old).await {
            Ok(session) => {
                let kept = self.login.kept(&session, &visit(request), &random()?);
                let kept = kept.map_err(|fault| self.failed(&fault.into()))?;
                request.extensions.get_or_insert_default::<SessionCookies>().0.extend(kept);
                Ok(Some(session))
            }
            Err(failed) if failed.is_unavailable() => Err(self.failed(&failed)),
            // Whoever it is logs in anew.
            Err(_) => Ok(None),
        }
    }

    /// The session that a request shows and that holds, without asking anybody.
    ///
    /// # Errors
    /// Nobody can tell.
    pub(super) fn session_now(&self, request: &Subject<'_>) -> Result<Option<Box<Session>>, Error> {
        self.held(self.login.seen(&visit(request)))
    }

    /// Takes out the cookies that have no business behind the gateway, and says whose the session is, if there is one.
    ///
    /// # Errors
    /// What is left of the request is none.
    pub(super) fn take(
        &self,
        session: Option<&Session>,
        request: &mut Subject<'_>,
    ) -> Result<Option<Identified>, Error> {
        let shown: Vec<_> =
            session.into_iter().flat_map(|session| self.login.shown_cookies(session)).collect();
        edits::replace_cookies(|name| self.login.is_own_cookie(name), &shown, request.head)?;
        let identified = session.map(|session| self.login.identify(session)).transpose();
        identified.map_err(|fault| self.failed(&fault.into()))
    }

    /// Leads somebody to the provider; `None` if they would not get there: the request is none that a browser follows.
    ///
    /// # Errors
    /// Nobody can log in here, or not now.
    pub(super) fn lead(&self, request: &Subject<'_>) -> Result<Option<Reply>, Error> {
        let head = &*request.head;
        let is_followed = matches!(head.method, Method::GET | Method::HEAD)
            && head.headers.get(&SEC_FETCH_MODE).is_none_or(|mode| mode == "navigate")
            && !self.login.is_denied_redirect(&head.headers);
        if !is_followed {
            return Ok(None);
        }
        let led =
            self.login.begin(&visit(request), &random()?).map_err(|fault| self.failed(&fault.into()))?;
        self.metrics.count(LoginOutcome::Led);
        Ok(Some(reply(led)))
    }

    fn held(&self, seen: Seen) -> Result<Option<Box<Session>>, Error> {
        match seen {
            Seen::Session(session) => Ok(Some(session)),
            Seen::Nothing | Seen::Old(_) => Ok(None),
            Seen::Several => {
                let (policy, why) = (self.policy.clone(), "the session's cookie is there more than once");
                Err(Error::LoginFailed { policy, why })
            }
            Seen::Unavailable => Err(Error::KeysUnavailable { policy: self.policy.clone() }),
        }
    }

    async fn come_back(&self, request: &Subject<'_>) -> Result<Reply, Error> {
        let failed = |failed: Failed| {
            let is_unavailable = failed.is_unavailable();
            self.metrics.count(if is_unavailable {
                LoginOutcome::Unavailable
            } else {
                LoginOutcome::Refused
            });
            self.failed(&failed)
        };
        if request.head.method != Method::GET {
            return Err(failed(LoginFault::Malformed.into()));
        }
        let visit = visit(request);
        let code = self.login.come_back(&visit).map_err(|fault| failed(fault.into()))?;
        let session = self.exchange(Expecting::Login(&code)).await.map_err(failed)?;
        let kept = self.login.kept(&session, &visit, &random()?).map_err(|fault| failed(fault.into()))?;
        self.metrics.count(LoginOutcome::LoggedIn);
        let led = Led { location: code.back.0, cookies: kept };
        Ok(if self.login.is_strict() { page(led) } else { reply(led) })
    }

    /// Renews a session, or waits for whoever does.
    async fn renew(self: &Arc<Self>, old: Box<Session>) -> Result<Box<Session>, Failed> {
        let Some(token) = old.refresh_token() else { return Err(LoginFault::Code.into()) };
        let (digest, now) = (Renewals::digest(token), Instant::now());
        let renewed = self.renewals.get(digest, now, || {
            let this = self.clone();
            async move {
                let renewed = this.exchange(Expecting::Renewal(&old)).await;
                this.metrics.count(match &renewed {
                    Ok(_) => LoginOutcome::Renewed,
                    Err(failed) if failed.is_unavailable() => LoginOutcome::Unavailable,
                    Err(_) => LoginOutcome::Refused,
                });
                renewed
            }
        });
        renewed.await.unwrap_or_else(|| Err(Failed::Provider("too many sessions are renewed at once".into())))
    }

    /// Asks the provider for tokens, and makes a session of its answer.
    async fn exchange(&self, expecting: Expecting<'_>) -> Result<Session, Failed> {
        let ask = self.login.ask(expecting)?;
        let permit = timeout(MAX_WAIT, self.permits.acquire()).await;
        let _permit = permit.map_err(|_elapsed| Failed::Provider("too many others log in".into()))?;
        let fields: Vec<(&str, &str)> = ask.fields.iter().map(|(name, value)| (*name, &**value)).collect();
        let client = ask.basic.as_ref().map(|(id, secret)| (&**id, &**secret));
        let answer = match self.documents.tokens(&ask.url, &fields, client).await {
            Ok(answer) => answer,
            Err(FetchError::Refused { code: Some(code), .. }) if is_refusal(&code, expecting) => {
                return Err(LoginFault::Code.into());
            }
            Err(error) => return Err(Failed::Provider(error.to_string().into())),
        };
        let began = Instant::now();
        loop {
            match self.login.accept(&answer, expecting, SystemTime::now()) {
                // It is being fetched again.
                Err(LoginFault::UnknownKey) if began.elapsed() < MAX_KEY_WAIT => {
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                accepted => return Ok(accepted?),
            }
        }
    }

    /// The answer to somebody who is not logged in.
    fn failed(&self, failed: &Failed) -> Error {
        let policy = self.policy.clone();
        match failed {
            Failed::Login(LoginFault::TooLarge) => Error::SessionTooLarge { policy },
            Failed::Login(LoginFault::Unavailable) => Error::LoginUnavailable { policy },
            Failed::Login(fault) => Error::LoginFailed { policy, why: fault.text() },
            Failed::Provider(cause) => {
                if let Some(cause) = self.failures.note("provider", cause) {
                    tracing::warn!(
                        %policy, %cause,
                        "nobody can log in; further failures like this are not told for a minute"
                    );
                }
                Error::LoginUnavailable { policy }
            }
        }
    }
}

impl Failed {
    fn is_unavailable(&self) -> bool {
        matches!(self, Self::Provider(_) | Self::Login(LoginFault::Unavailable))
    }
}

impl From<LoginFault> for Failed {
    fn from(fault: LoginFault) -> Self {
        Self::Login(fault)
    }
}

impl SessionCookies {
    /// Has a response tell the browser.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for cookie in &self.0 {
            headers.append(header::SET_COOKIE, cookie.clone());
        }
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &HeaderValue> {
        self.0.iter()
    }
}

/// Whether a provider that refuses with this code does not take what it was shown (RFC 6749, 5.2). What is left is wrong with
/// the client or the provider, and nobody's who logs in.
fn is_refusal(code: &str, expecting: Expecting<'_>) -> bool {
    match expecting {
        Expecting::Login(_) => code == "invalid_grant",
        // Dex says so of a refresh token that it does not know.
        Expecting::Renewal(_) => matches!(code, "invalid_grant" | "invalid_request"),
    }
}

fn visit<'a>(request: &'a Subject<'_>) -> Visit<'a> {
    Visit {
        headers: &request.head.headers,
        is_https: request.is_https(),
        authority: request.host,
        path: request.path_and_query.path(),
        query: request.path_and_query.query(),
        now: request.now,
    }
}

fn random() -> Result<[u8; RANDOM_BYTES], Error> {
    let mut bytes = [0; RANDOM_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::internal("the system has no random numbers"))?;
    Ok(bytes)
}

fn reply(Led { location, cookies }: Led) -> Reply {
    let mut headers = HeaderMap::with_capacity(4 + cookies.len());
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    SessionCookies(cookies).apply(&mut headers);
    Reply { status: StatusCode::FOUND, headers, body: Bytes::new() }
}

/// A page of the gateway's own that leads on. Where the provider leads to by a redirect, a browser does not show cookies that
/// are for the same site alone.
fn page(Led { location, cookies }: Led) -> Reply {
    let mut headers = HeaderMap::with_capacity(4 + cookies.len());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    // The code is in this page's address.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    SessionCookies(cookies).apply(&mut headers);
    let to = escaped(&String::from_utf8_lossy(location.as_bytes()));
    let body = format!(
        "<!doctype html><meta http-equiv=\"refresh\" content=\"0;url={to}\"><title>Logged in</title>\
         <p><a href=\"{to}\">Go on</a>\n"
    );
    Reply { status: StatusCode::OK, headers, body: body.into() }
}

/// A text within quotes of HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_leads_where_it_says_and_says_nothing_else() {
        let location = HeaderValue::from_static("https://h/a?b=\"><script>&c='");
        let Reply { body, .. } = page(Led { location, cookies: Vec::new() });
        let body = std::str::from_utf8(&body).unwrap();
        assert!(!body.contains("<script>"), "{body}");
        assert!(body.contains("href=\"https://h/a?b=&quot;&gt;&lt;script&gt;&amp;c=&#39;\""), "{body}");
    }
}
