//! One limit, ready to use.

use std::fmt::Write as _;
use std::sync::Arc;

use penstock_config::{Consumer, Count, Dimension, LimitMatch, LimitSpec, Missing, Window};

use super::ask::{Ask, Now, Usage};
use super::counter::{Counter, Shared};
use super::counters::Counters;
use super::expression::{Expression, Names};
use super::key::{self, Key, LimitId};
use super::lease::{COMMON, LeaseWindow};
use super::matching::is_for;
use super::prices::PriceFor;
use super::standing::{CountKind, LimitName};
use super::window::Shape;

/// By how much tokens of a prompt may have been reckoned too high. Nobody is told that a request can never pass who might.
const MAX_ERROR: u64 = 4;

/// The most bytes of a policy's and of a limit's name that are part of a counter's key: gateways and store keep one for each
/// counter.
const MAX_NAME_BYTES: usize = 64;

/// A limit, ready to use.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) policy: Arc<str>,
    pub(crate) name: Arc<str>,
    /// Both.
    pub(crate) called: Arc<LimitName>,
    pub(crate) count: CountKind,
    pub(crate) is_shadow: bool,
    pub(crate) cuts_streams: bool,
    /// Whether it is about money by the calendar.
    pub(crate) is_budget: bool,
    amount: u64,
    each: u64,
    id: LimitId,
    expression: Option<Expression>,
    window: Window,
    shape: Arc<Shape>,
    per: Box<[Dimension]>,
    /// What `per` is called, in its order.
    names: Box<[Arc<str>]>,
    missing: Missing,
    when: LimitMatch,
    is_shared: bool,
    shared_as: Option<Arc<str>>,
    replicas: u32,
    has_share_alone: bool,
}

/// How much of a limit a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// What it holds.
    pub(crate) hold: u64,
    /// What it takes at least.
    pub(crate) least: u64,
}

/// What tells how much a request took: what an expression may ask beside the usage is there if one is to be asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took<'a> {
    pub(crate) usage: &'a Usage,
    pub(crate) price: Option<&'a PriceFor>,
    pub(crate) names: Option<&'a Names>,
}

impl Rule {
    pub(crate) fn new(policy: &Arc<str>, spec: &LimitSpec, replicas: u32, has_store: bool) -> Self {
        let is_shared = spec.is_shared && has_store;
        let expression = match &spec.count {
            Count::Expression(text) => Expression::new(text),
            _ => None,
        };
        let window = if spec.count == Count::Concurrency { Window::Now } else { spec.window.clone() };
        let is_by_calendar = matches!(window, Window::Calendar { .. });
        Self {
            policy: Arc::clone(policy),
            name: Arc::clone(&spec.name),
            called: Arc::new(LimitName { policy: Arc::clone(policy), limit: Arc::clone(&spec.name) }),
            count: CountKind::from(&spec.count),
            is_shadow: spec.is_shadow,
            cuts_streams: spec.cuts_streams,
            is_budget: spec.count == Count::Cost && is_by_calendar,
            amount: spec.amount,
            each: spec.each,
            id: key::limit_id(&identity(policy, spec, is_shared)),
            expression,
            shape: Arc::new(Shape::new(&window)),
            window,
            per: spec.per.clone(),
            names: spec.per.iter().map(|dimension| key::name(dimension).into()).collect(),
            missing: spec.missing,
            when: spec.when.clone(),
            is_shared,
            shared_as: spec.shared_as.clone(),
            replicas,
            has_share_alone: spec.is_shared && !has_store,
        }
    }

    pub(crate) fn is_for(&self, ask: &Ask<'_>) -> bool {
        is_for(&self.when, ask)
    }

    /// The key of the counter that a request has; `None` if the limit is not for it.
    ///
    /// # Errors
    /// The request is refused since it lacks what is called so.
    pub(crate) fn key(&self, ask: &Ask<'_>) -> Result<Option<Key>, Arc<str>> {
        match key::key_of(&self.id, &self.per, self.missing, ask) {
            Ok(key) => Ok(Some(key)),
            Err(_) if self.missing == Missing::Unlimited => Ok(None),
            Err(at) => Err(self.names.get(at).cloned().unwrap_or_default()),
        }
    }

    /// The counter with this key.
    pub(crate) fn counter(&self, key: &Key, counters: &Counters, now: Now) -> Arc<Counter> {
        counters.of(&self.id, key, now, |key, hash| {
            let shared = self.is_shared.then(|| {
                let queue = counters.leased().shared();
                Shared::new(self.lease_key(key), self.lease_window(), queue)
            });
            Counter::new(key, hash, &self.shape, shared, now)
        })
    }

    /// The most, for who asks: the first of them that has an amount of its own.
    /// Without a store, what gateways should share is each one's share.
    pub(crate) fn amount(&self, ask: &Ask<'_>) -> u64 {
        let own = |consumer: &Consumer| consumer.limits.get(&*self.name).copied();
        // A counter that others use too has one amount for all.
        let is_own = self.per.contains(&Dimension::Consumer);
        let amount = ask.consumers().filter(|_| is_own).find_map(own).unwrap_or(self.amount);
        if self.has_share_alone {
            (amount / u64::from(self.replicas.max(1))).max(amount.min(1))
        } else {
            amount
        }
    }

    pub(crate) fn replicas(&self) -> u32 {
        self.replicas
    }

    /// How much of `amount` a request is about. A hold is no more than half of it, so that a request that may take much and
    /// does not leaves room for others; unless it is known to take more.
    pub(crate) fn part(&self, expected: Took<'_>, amount: u64, counters: &Counters) -> Part {
        let least = match self.count {
            CountKind::Concurrency => 1,
            CountKind::InputTokens => self.each.saturating_add(expected.usage.input / MAX_ERROR),
            _ => self.each,
        };
        let expected = self.took(expected, counters);
        let hold = if self.count == CountKind::Concurrency { 1 } else { expected.min(least.max(amount / 2)) };
        Part { hold, least }
    }

    /// What a request counts that took this.
    pub(crate) fn took(&self, took: Took<'_>, counters: &Counters) -> u64 {
        self.each.saturating_add(self.used(took, counters))
    }

    /// What each request counts.
    pub(crate) fn each(&self) -> u64 {
        self.each
    }

    /// Whether an expression has to be told more than the usage.
    pub(crate) fn wants_names(&self) -> bool {
        self.count == CountKind::Expression
    }

    /// Whether it counts tokens, or by them.
    pub(crate) fn wants_tokens(&self) -> bool {
        !matches!(self.count, CountKind::Requests | CountKind::Concurrency)
    }

    /// Whether it asks for the model of the client.
    pub(crate) fn wants_model(&self) -> bool {
        self.when.models.is_some()
            || self.per.contains(&Dimension::Model)
            || self.when.headers.iter().any(|header| header.name == penstock_config::MODEL_HEADER)
    }

    /// Whether each token generated counts once, or not at all.
    pub(crate) fn is_by_token(&self) -> bool {
        !matches!(self.count, CountKind::Cost | CountKind::Expression)
    }

    fn used(&self, took: Took<'_>, counters: &Counters) -> u64 {
        let usage = took.usage;
        match self.count {
            CountKind::Requests | CountKind::Concurrency => 0,
            CountKind::InputTokens => usage.input,
            CountKind::CachedInputTokens => usage.cached_input,
            CountKind::CacheWriteTokens => usage.cache_write,
            CountKind::OutputTokens => usage.output,
            CountKind::ReasoningTokens => usage.reasoning,
            CountKind::TotalTokens => usage.total(),
            CountKind::Cost => took.price.map_or(0, |price| price.cost(usage)),
            CountKind::Expression => {
                let names = took.names.unwrap_or(const { &Names::NONE });
                let count = self.expression.as_ref().and_then(|expression| expression.count(usage, names));
                count.unwrap_or_else(|| {
                    counters.note_failed_expression();
                    usage.total()
                })
            }
        }
    }

    fn lease_key(&self, key: &Key) -> Arc<str> {
        let digest = key::digest(key);
        let mut text = match &self.shared_as {
            Some(owner) => format!("{COMMON}{}/{}/", head(owner), head(&self.name)),
            None => format!("{}/{}/", head(&self.policy), head(&self.name)),
        };
        // Writing to a text cannot fail.
        let _ = digest.iter().try_for_each(|byte| write!(text, "{byte:02x}"));
        text.into()
    }

    fn lease_window(&self) -> LeaseWindow {
        match self.window {
            Window::Now => LeaseWindow::Concurrency,
            _ => LeaseWindow::Window(self.window.clone()),
        }
    }
}

/// What makes a limit another one, which begins anew; the same in all gateways. Not its amount.
fn identity(policy: &str, spec: &LimitSpec, is_shared: bool) -> String {
    let per: Vec<_> = spec.per.iter().map(key::name).collect();
    let (name, count, window) = (&spec.name, &spec.count, &spec.window);
    let owner = spec.shared_as.as_ref().map_or_else(|| policy.to_owned(), |owner| format!("{COMMON}{owner}"));
    format!("{owner}\0{name}\0{count:?}\0{window:?}\0{}\0{is_shared}", per.join("\0"))
}

/// What people read of a name in a counter's key; what tells keys apart is the number behind it.
fn head(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME_BYTES)]
}
