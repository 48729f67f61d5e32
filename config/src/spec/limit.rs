//! How much: limits, what tokens cost, and where counters are shared.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

use crate::cidr::Cidr;
use crate::consumer::{ClaimPath, ModelNames, OneOf};

/// A billionth of a US dollar: what costs are counted in.
pub type NanoDollars = u64;

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSpec {
    /// Its name, unique in its policy.
    pub name: Arc<str>,
    /// What is counted.
    pub count: Count,
    /// What each request counts beside that, before it is served.
    pub each: u64,
    /// The most: requests, tokens, nano-dollars, or requests at a time.
    pub amount: u64,
    /// Over what time.
    pub window: Window,
    /// What there is a counter for each value of; empty is one counter for all.
    pub per: Box<[Dimension]>,
    /// What becomes of a request that lacks a value of `per`.
    pub missing: Missing,
    /// Which requests it is for: all of it must hold. What is empty is no condition.
    pub when: LimitMatch,
    /// Whether it only counts.
    pub is_shadow: bool,
    /// Whether the gateways that serve the document share its counters.
    pub is_shared: bool,
    /// What its counters belong to, in whatever document; `None` is the policy.
    pub shared_as: Option<Arc<str>>,
    /// Whether a stream is cut that goes on beyond it.
    pub cuts_streams: bool,
}

/// What a limit counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Count {
    /// Nothing but what each request counts ([`LimitSpec::each`]).
    Requests,
    /// Tokens of prompts, those from a cache included.
    InputTokens,
    /// Tokens of prompts that came from a cache.
    CachedInputTokens,
    /// Tokens of prompts that were written to a cache.
    CacheWriteTokens,
    /// Tokens generated, reasoning included.
    OutputTokens,
    /// Tokens generated that are reasoning.
    ReasoningTokens,
    /// Input and output.
    TotalTokens,
    /// Money.
    Cost,
    /// What an expression of CEL makes of the usage; the text, which was found to compile.
    Expression(Arc<str>),
    /// Requests in flight, streams among them.
    Concurrency,
}

/// Over what time a limit counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// A bucket of [`LimitSpec::amount`] that is filled evenly, wholly in this time.
    TokenBucket(Duration),
    /// Any stretch of this length, to a sixtieth of it.
    Sliding(Duration),
    /// Stretches of this length, counted from 1970 in UTC.
    Fixed(Duration),
    /// By the calendar.
    Calendar {
        /// Which period.
        period: Period,
        /// The name of the time zone (IANA), which was found to exist.
        zone: Arc<str>,
    },
    /// At a time: with [`Count::Concurrency`] only.
    Now,
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// From one full hour to the next.
    Hour,
    /// From midnight.
    Day,
    /// From Monday, or Sunday.
    Week {
        /// Whether it begins on Sunday.
        from_sunday: bool,
    },
    /// From the first.
    Month,
    /// From the first of January.
    Year,
}

/// What there can be a counter for each value of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension {
    /// Who asks, by name.
    Consumer,
    /// A tag of who asks.
    Tag(Box<str>),
    /// A claim of a token.
    Claim(ClaimPath),
    /// The model that the client asks for.
    Model,
    /// The model that the upstream is asked for.
    TargetModel,
    /// The pool or backend that serves the request.
    Upstream,
    /// The route.
    Route,
    /// The rule, within its route.
    Rule,
    /// The listener.
    Listener,
    /// A header; several of a name count as their values joined by commas.
    Header(HeaderName),
    /// A parameter of the query, the first of its name.
    Query(Box<str>),
    /// The client's address, those with as many bits in common being one.
    Address {
        /// Of IPv4.
        v4_bits: u8,
        /// Of IPv6.
        v6_bits: u8,
    },
    /// The method.
    Method,
    /// The path.
    Path,
    /// The host.
    Host,
}

/// What becomes of a request that lacks a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// All such requests have one counter.
    #[default]
    Together,
    /// The limit is not for them.
    Unlimited,
    /// They are refused.
    Deny,
}

/// Which requests a limit is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitMatch {
    /// One of these.
    pub methods: Box<[Method]>,
    /// One of these: as clients call them, and in policies of pools and backends as upstreams do.
    pub models: Option<ModelNames>,
    /// By one of these.
    pub consumers: Box<[Box<str>]>,
    /// By somebody who has each of these, with one of the values.
    pub tags: Box<[(Box<str>, OneOf)]>,
    /// From one of these.
    pub addresses: Box<[Cidr]>,
    /// From none of these.
    pub other_addresses: Box<[Cidr]>,
    /// All of these.
    pub headers: Box<[TextMatch<HeaderName>]>,
    /// All of these.
    pub query: Box<[TextMatch<Box<str>>]>,
    /// All of these.
    pub paths: Box<[PathMatch]>,
    /// None of these.
    pub other_methods: Box<[Method]>,
}

/// What is asked of a header or parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextMatch<N> {
    /// Its name.
    pub name: N,
    /// What its value is compared with. `None`: it is there.
    pub value: Option<Comparison>,
    /// Whether the contrary is asked. One that is not there has no value that anything matches.
    pub is_inverted: bool,
}

/// What is asked of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathMatch {
    /// What it is compared with.
    pub value: PathComparison,
    /// Whether the contrary is asked.
    pub is_inverted: bool,
}

/// How a text is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// It is this.
    Exact(Box<str>),
    /// All of it matches this.
    Regex(Pattern),
}

/// How a path is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathComparison {
    /// It is this.
    Exact(Box<str>),
    /// It is this or lies below it.
    Prefix(Box<str>),
    /// All of it matches this.
    Regex(Pattern),
}

/// What models cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// The models, by the names that upstreams know.
    pub models: ModelNames,
    /// The pool or backend whose they are; `None` is any that has no price of its own.
    pub upstream: Option<Box<str>>,
    /// What a request costs whatever it does.
    pub request: NanoDollars,
    /// What tokens cost, by the tokens of the prompt; the first is from none on, and each begins beyond the one before.
    pub tiers: Box<[PriceTier]>,
}

/// What tokens cost from so many tokens of the prompt on, in nano-dollars a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceTier {
    /// It is for prompts of more tokens than this.
    pub above_input_tokens: u64,
    /// Of the prompt, that came from no cache.
    pub input: NanoDollars,
    /// Of the prompt, that came from a cache.
    pub cached_input: NanoDollars,
    /// Of the prompt, that were written to a cache.
    pub cache_write: NanoDollars,
    /// Generated, without reasoning.
    pub output: NanoDollars,
    /// Generated, that are reasoning.
    pub reasoning: NanoDollars,
}

/// Where gateways share counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitStore {
    /// The servers.
    pub redis: RedisSpec,
    /// What becomes of shared limits while it cannot be reached.
    pub on_failure: OnStoreFailure,
}

/// A Redis or Valkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSpec {
    /// Its addresses, `HOST:PORT`; at least one.
    pub addresses: Box<[Box<str>]>,
    /// How they belong together.
    pub mode: RedisMode,
    /// The number of the database.
    pub database: u32,
    /// The user.
    pub username: Option<Box<str>>,
    /// The file with the password.
    pub password_file: Option<PathBuf>,
    /// Whether connections are encrypted.
    pub tls: Option<RedisTls>,
    /// How long a lease is waited for.
    pub deadline: Duration,
    /// What stands before each key.
    pub key_prefix: Box<str>,
    /// What stands behind that before the keys of counters that are this document's alone.
    pub scope: Option<Box<str>>,
}

/// Certificates of a Redis.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RedisTls {
    /// Who signs them; `None` is whom the system trusts.
    pub ca_file: Option<PathBuf>,
}

/// How servers of Redis belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisMode {
    /// One server.
    Single,
    /// A cluster; the addresses are some of its nodes.
    Cluster,
    /// The addresses are of sentinels, which know the primary by this name.
    Sentinel(Box<str>),
}

/// What becomes of shared limits while their store cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnStoreFailure {
    /// Each gateway counts by itself, to its share of the limit.
    #[default]
    LocalShare,
    /// Requests pass, and are counted where they can be.
    Open,
    /// Requests are refused with 503.
    Closed,
}

/// A regular expression that all of a text has to match.
#[derive(Debug, Clone)]
pub struct Pattern(regex::Regex);

impl Pattern {
    /// The expression `source`, for whole texts.
    ///
    /// # Errors
    /// It is none, or takes too much memory.
    pub fn new(source: &str) -> Result<Self, regex::Error> {
        const MAX_PROGRAM_BYTES: usize = 1 << 20;
        let whole = format!("^(?:{source})$");
        regex::RegexBuilder::new(&whole).size_limit(MAX_PROGRAM_BYTES).nest_limit(64).build().map(Self)
    }

    /// Whether all of `text` matches it.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}
