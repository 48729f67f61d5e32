//! Policies: what listeners and rules ask of a request beyond where it goes.
//!
//! A snapshot is compiled with a [`Chain`] for each listener and each rule. A listener's chain is asked in the identify
//! phase, before a byte of the body is read; a rule's in the admit phase, when route and model are known, and again for
//! the response. A policy that stands in the gateway itself is a variant of `Policy`, which costs a jump: those that the
//! document names (`Access`). One that an embedder brings is a [`Hook`] behind a pointer. What a chain needs to see of a
//! request is the union of what its members need ([`Wants`]), so that nobody pays for a body, or for a look at each piece
//! of a response, that no policy asks for. An empty chain costs one branch.

mod access;
pub(crate) mod edits;
mod login;
mod server;

use std::net::{IpAddr, SocketAddr};
use std::ops::BitOr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, HeaderName, StatusCode};
use penstock_config::{Listener, Rule};
use penstock_policies::Model;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::codec::Codec;
use crate::error::{Cause, Error};
use crate::meter::Quota;

pub(crate) use self::access::{Access, Caller, Consumers, port};
pub(crate) use self::login::{LogIn, SessionCookies};
pub(crate) use self::server::{Server, Servers};

pub use crate::metrics::UpstreamKind;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What has to be seen of a request and its response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants {
    /// What a peek finds in the body: model, token limit, blocks of the prompt.
    pub peek: bool,
    /// The whole body, before the request goes on.
    pub whole_body: bool,
    /// The head of the response, before the client gets it.
    pub response_head: bool,
    /// Each piece of the response's body, before the client gets it.
    pub response_body: bool,
}

impl Wants {
    /// Whether the body is read before the request goes on.
    pub fn body(self) -> bool {
        self.peek || self.whole_body
    }
}

impl BitOr for Wants {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            peek: self.peek || other.peek,
            whole_body: self.whole_body || other.whole_body,
            response_head: self.response_head || other.response_head,
            response_body: self.response_body || other.response_body,
        }
    }
}

/// A request as policies see it.
pub struct Subject<'a> {
    /// The head. What identify and admit change of it reaches upstreams, and what identify changes, routes too.
    pub head: &'a mut RequestHeader,
    /// The other end of the connection.
    pub peer: Option<SocketAddr>,
    /// The client's address: that of the other end, or whom that one speaks for if it is a trusted proxy.
    pub client: Option<IpAddr>,
    /// The id under which the request is reported.
    pub request_id: &'a str,
    /// The listener's name.
    pub listener: &'a str,
    /// The model that the client asks for, if its body was read and names one.
    pub model: Option<&'a str>,
    /// What was read of the body, decoded where it is compressed: all of it in the admit phase of a rule whose policies
    /// want it.
    pub body: &'a [Bytes],
    /// What policies remember from one phase to the next.
    pub extensions: &'a mut Extensions,
    /// The host that is asked for, in lower case.
    pub(crate) host: &'a str,
    /// How many tokens the answer may have, if the body was read.
    pub(crate) tokens: Option<u64>,
    /// Path and query as routes and upstreams see them.
    pub(crate) path_and_query: &'a mut PathAndQuery,
    /// Who asks, once a policy that the document names was asked.
    pub(crate) caller: &'a mut Option<Box<Caller>>,
    /// When the request arrived.
    pub(crate) now: SystemTime,
    /// Whether the listener has TLS.
    pub(crate) is_tls: bool,
    /// Whether the other end of the connection is a proxy that may speak for its clients.
    pub(crate) is_proxy_trusted: bool,
}

impl Subject<'_> {
    /// Whether the client came by `https`, to the gateway or to a trusted proxy before it.
    pub(crate) fn is_https(&self) -> bool {
        let told = self.head.headers.get(&X_FORWARDED_PROTO).filter(|_| self.is_proxy_trusted);
        told.map_or(self.is_tls, |told| told.as_bytes().eq_ignore_ascii_case(b"https"))
    }
}

/// What a policy decided.
#[derive(Debug)]
pub enum Verdict {
    /// The request goes on.
    Continue,
    /// The request is answered with this, and goes no further.
    Answer(Box<Reply>),
}

/// An answer that a policy gives in an upstream's place. Length and request id are added.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status of a final response.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why an embedder's policy failed: logged, and not shown to clients.
pub type HookError = Cause;

/// A policy that an embedder of the gateway brings. Each method is called only in its phase; what a hook has to
/// remember of a request from one to the next goes into its [`Extensions`].
#[async_trait]
pub trait Hook: Send + Sync {
    /// What it has to see.
    fn wants(&self) -> Wants {
        Wants::default()
    }

    /// Finds out who is asking. Of a listener's chain; called before the body is read.
    async fn identify(&self, _request: &mut Subject<'_>) -> Verdict {
        Verdict::Continue
    }

    /// Decides whether the request may be served. Of a rule's chain; route and model are known.
    async fn admit(&self, _request: &mut Subject<'_>, _rule: &Rule) -> Verdict {
        Verdict::Continue
    }

    /// The head of the response, if [`Wants::response_head`] asks for it. Framing is not to be touched.
    ///
    /// # Errors
    /// The policy failed; the response is given up, and the client told so.
    fn response_head(&self, _head: &mut ResponseHeader, _memory: &mut Extensions) -> Result<(), HookError> {
        Ok(())
    }

    /// A piece of the response's body, if [`Wants::response_body`] asks for it; `None` in its place keeps it back. A
    /// response whose length was announced has to keep it.
    ///
    /// # Errors
    /// The policy failed; the response breaks off.
    fn response_body(
        &self,
        data: Bytes,
        _is_end: bool,
        _memory: &mut Extensions,
    ) -> Result<Option<Bytes>, HookError> {
        Ok(Some(data))
    }
}

/// What an embedder adds to each configuration as it is put in force.
pub trait Extension: Send + Sync {
    /// Policies of a listener, asked in this order behind the gateway's own.
    fn listener_policies(&self, _listener: &Listener) -> Vec<Arc<dyn Hook>> {
        Vec::new()
    }

    /// Policies of a rule, asked in this order behind the gateway's own.
    fn rule_policies(&self, _rule: &Rule) -> Vec<Arc<dyn Hook>> {
        Vec::new()
    }

    /// The dialect of a pool or backend, where it is not the clients'.
    fn codec(&self, _kind: UpstreamKind, _name: &str) -> Option<Arc<dyn Codec>> {
        None
    }
}

/// One policy of a chain.
enum Policy {
    /// One that the document names.
    Access(Arc<Access>),
    /// An embedder's.
    Hook(Arc<dyn Hook>),
}

/// Policies in the order in which they are asked.
#[derive(Default)]
pub struct Chain {
    policies: Box<[Policy]>,
    wants: Wants,
    /// Headers that its policies set, and clients may not send.
    reserved: Box<[HeaderName]>,
    /// Headers that only servers set which are shown the body: routes, which are found before, do not see the client's.
    withheld: Box<[HeaderName]>,
    /// The limits of its policies.
    quotas: Box<[Arc<Quota>]>,
    /// Whether a policy may have to wait for somebody: a server, a provider, or what an embedder's does.
    may_wait: bool,
}

impl Chain {
    /// The chain of these policies: those that the document names, then an embedder's.
    pub(crate) fn new(named: impl IntoIterator<Item = Arc<Access>>, hooks: Vec<Arc<dyn Hook>>) -> Self {
        let named: Vec<_> = named.into_iter().collect();
        let reserved = named.iter().flat_map(|access| access.set_headers()).cloned().collect();
        let withheld = named.iter().flat_map(|access| access.awaited_headers()).cloned().collect();
        let quotas = named.iter().filter_map(|access| access.quota().cloned()).collect();
        let named = named.into_iter().map(Policy::Access);
        let policies: Box<[Policy]> = named.chain(hooks.into_iter().map(Policy::Hook)).collect();
        let wants = policies.iter().map(Policy::wants).fold(Wants::default(), Wants::bitor);
        let may_wait = policies.iter().any(Policy::may_wait);
        Self { policies, wants, reserved, withheld, quotas, may_wait }
    }

    /// What its members have to see.
    pub(crate) fn wants(&self) -> Wants {
        self.wants
    }

    /// The limits of its policies.
    #[inline]
    pub(crate) fn quotas(&self) -> &[Arc<Quota>] {
        &self.quotas
    }

    /// Whether there is nobody to ask.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Whether a policy may have to wait for somebody. Where none has, [`Self::identify_named`] and [`Self::admit_named`] come
    /// to the same as asking all, and take no future.
    #[inline]
    pub(crate) fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// Asks who sends the request. The first policy that does not let it go on decides. From the first on whose server is
    /// asked when the body is there, who may is decided then: by what that server sets.
    ///
    /// # Errors
    /// A policy that the document names refuses the request, or a client sends what only policies may set.
    pub(crate) async fn identify(
        &self,
        servers: &dyn Servers,
        request: &mut Subject<'_>,
    ) -> Result<Verdict, Error> {
        edits::reserve(self.reserved.iter(), request.head)?;
        let mut is_put_off = false;
        for policy in &self.policies {
            let verdict = match policy {
                Policy::Access(access) => match access.ask(servers, request, false).await? {
                    Verdict::Continue => {
                        is_put_off |= access.waits_for_body();
                        access.authenticate(request)?;
                        if !is_put_off {
                            access.authorize_early(request)?;
                        }
                        Verdict::Continue
                    }
                    answer @ Verdict::Answer(_) => answer,
                },
                Policy::Hook(hook) => hook.identify(request).await,
            };
            if matches!(verdict, Verdict::Answer(_)) {
                return Ok(verdict);
            }
        }
        edits::withhold(&self.withheld, request);
        Ok(Verdict::Continue)
    }

    /// Of a listener: asks the servers that are shown the body, which is here now, and decides what waited for them.
    ///
    /// # Errors
    /// They do not let the request be served, or could not say.
    pub(crate) async fn check_body(
        &self,
        servers: &dyn Servers,
        request: &mut Subject<'_>,
    ) -> Result<Verdict, Error> {
        edits::give_back(request)?;
        let mut is_put_off = false;
        for access in self.named() {
            if let answer @ Verdict::Answer(_) = access.check(servers, request, true).await? {
                return Ok(answer);
            }
            is_put_off |= access.waits_for_body();
            if is_put_off {
                access.authorize_early(request)?;
            }
        }
        Ok(Verdict::Continue)
    }

    /// Asks whether the request, which asks for these models, may be served. The first policy that does not let it go on
    /// decides. `before` is the listener's chain: what that set stays.
    ///
    /// # Errors
    /// A policy that the document names refuses the request, or a client sends what only policies may set.
    pub(crate) async fn admit(
        &self,
        before: &Self,
        servers: &dyn Servers,
        request: &mut Subject<'_>,
        rule: &Rule,
        models: &[Model<'_>],
    ) -> Result<Verdict, Error> {
        let reserved = self.reserved.iter().filter(|name| !before.reserved.contains(name));
        edits::reserve(reserved, request.head)?;
        for policy in &self.policies {
            let verdict = match policy {
                Policy::Access(access) => match access.ask(servers, request, true).await? {
                    Verdict::Continue => {
                        access.admit(request, models)?;
                        Verdict::Continue
                    }
                    answer @ Verdict::Answer(_) => answer,
                },
                Policy::Hook(hook) => hook.admit(request, rule).await,
            };
            if matches!(verdict, Verdict::Answer(_)) {
                return Ok(verdict);
            }
        }
        Ok(Verdict::Continue)
    }

    /// As [`Self::identify`], of the policies that the document names alone, and without waiting: for an explanation, and where
    /// nobody has to be waited for.
    ///
    /// # Errors
    /// As [`Self::identify`].
    pub(crate) fn identify_named(&self, request: &mut Subject<'_>) -> Result<(), Error> {
        edits::reserve(self.reserved.iter(), request.head)?;
        self.named().try_for_each(|access| access.identify(request))?;
        edits::withhold(&self.withheld, request);
        Ok(())
    }

    /// As [`Self::admit`], of the policies that the document names alone, and without waiting.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub(crate) fn admit_named(
        &self,
        before: &Self,
        request: &mut Subject<'_>,
        models: &[Model<'_>],
    ) -> Result<(), Error> {
        let reserved = self.reserved.iter().filter(|name| !before.reserved.contains(name));
        edits::reserve(reserved, request.head)?;
        self.named().try_for_each(|access| access.admit(request, models))
    }

    /// The policies that the document names.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Access> {
        self.policies.iter().filter_map(|policy| match policy {
            Policy::Access(access) => Some(&**access),
            Policy::Hook(_) => None,
        })
    }

    /// Shows the response's head to the policies that want it, the last of the chain first: who changed the request last
    /// sees its response first.
    ///
    /// # Errors
    /// A policy gives the response up.
    pub(crate) fn response_head(
        &self,
        head: &mut ResponseHeader,
        memory: &mut Extensions,
    ) -> Result<(), Error> {
        for policy in self.policies.iter().rev().filter(|policy| policy.wants().response_head) {
            if let Policy::Hook(hook) = policy {
                hook.response_head(head, memory).map_err(Error::Policy)?;
            }
        }
        Ok(())
    }

    /// Shows a piece of the response's body to the policies that want it, the last of the chain first.
    ///
    /// # Errors
    /// A policy breaks the response off.
    pub(crate) fn response_body(
        &self,
        data: Bytes,
        is_end: bool,
        memory: &mut Extensions,
    ) -> Result<Bytes, Error> {
        let mut data = data;
        for policy in self.policies.iter().rev().filter(|policy| policy.wants().response_body) {
            if let Policy::Hook(hook) = policy {
                let shown = hook.response_body(data, is_end, memory).map_err(Error::Policy)?;
                data = shown.unwrap_or_default();
            }
        }
        Ok(data)
    }
}

impl Policy {
    fn may_wait(&self) -> bool {
        match self {
            Self::Access(access) => access.may_wait(),
            Self::Hook(_) => true,
        }
    }

    fn wants(&self) -> Wants {
        match self {
            Self::Access(access) => access.wants(),
            Self::Hook(hook) => hook.wants(),
        }
    }
}
