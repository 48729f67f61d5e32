//! A snapshot with everything it takes to serve requests by it, and the one that is in force.

use std::collections::HashMap;
use std::ops::BitOr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use penstock_config::{
    BackendIndex, Cors, Encoding, Limits, Listener, ListenerIndex, ModelEntry, PolicyIndex, PolicySpec,
    PoolIndex, RouteRequest, Rule, Snapshot, StreamUsage, Target, Upstream as UpstreamAt,
};
use penstock_peek::{MemberEdits, Options};
use penstock_policies::limits::CountKind;
use rustc_hash::FxHashMap;

use crate::body::Forms;
use crate::budget::RetryBudget;
use crate::credential::Credential;
use crate::meter::{Meter, Quota, prices};
use crate::metrics::{LimitMetrics, Metrics, RouteMetrics};
use crate::policy::{Access, Chain, Extension, Wants};
use crate::upstreams::Upstream;

/// What is counted of each limit, by its policy and its name.
type Counted = FxHashMap<Arc<str>, Box<[(Arc<str>, LimitMetrics)]>>;

/// One configuration, ready to serve. Never changes; a reload makes another.
pub(crate) struct Runtime {
    snapshot: Arc<Snapshot>,
    /// Pools, then backends, each in the snapshot's order.
    upstreams: Vec<Upstream>,
    rules: Vec<CompiledRule>,
    /// What each listener asks of requests, in the snapshot's order.
    listeners: Vec<Chain>,
    /// Which web pages may ask at each listener, in the snapshot's order.
    listener_cors: Vec<Option<Arc<Cors>>>,
    /// Whether a rule says which web pages may ask.
    has_rule_cors: bool,
    /// Whether a rule answers something in place of what the gateway answers.
    has_overrides: bool,
    /// Whether limits differ at any listener.
    has_own_limits: bool,
    /// What is counted of each limit, by its policy and its name.
    limits: Counted,
    peek_options: Options,
    metrics: Arc<Metrics>,
    meter: Arc<Meter>,
}

/// What serving by a rule takes beside the rule itself.
pub(crate) struct CompiledRule {
    /// What is asked of requests and shown of responses.
    pub(crate) chain: Chain,
    /// Which web pages may ask, if the rule or its policies say so.
    cors: Option<Arc<Cors>>,
    /// What has to be seen of a request, for the chain, the picker, mirrors and renamed models.
    pub(crate) wants: Wants,
    /// Changes to bodies for each target of each tier; empty if no target changes any.
    body_edits: Vec<Vec<Option<MemberEdits>>>,
    /// A secret that its requests are sent with.
    pub(crate) credential: Option<Arc<Credential>>,
    /// How compressed requests are sent on.
    pub(crate) forms: Forms,
    /// How many retries there may be.
    pub(crate) retry_budget: RetryBudget,
    /// Whether streams have to report the tokens that they took: the rule says so, or a limit of it or of an upstream counts
    /// them.
    counts_usage: bool,
    /// What is counted of the rule's route.
    pub(crate) metrics: RouteMetrics,
}

/// The configuration in force: loaded once by each request.
pub(crate) type Live = ArcSwap<Runtime>;

impl Runtime {
    /// Puts a snapshot together with its `upstreams`, pools, then backends, its `policies`, and what requests of its rules are
    /// sent with, each in the snapshot's order. `hash_seed` is chosen once a process, so that nobody can construct colliding prompts.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        upstreams: Vec<Upstream>,
        (policies, credentials): (&[Arc<Access>], &[Option<Arc<Credential>>]),
        extension: &dyn Extension,
        hash_seed: u64,
        metrics: &Arc<Metrics>,
        meter: &Arc<Meter>,
    ) -> Self {
        let limits = &snapshot.limits;
        let peek_options = Options {
            block_bytes: snapshot.peek.prefix_block_bytes,
            max_blocks: snapshot.peek.prefix_max_blocks as usize,
            seed: match snapshot.peek.hash_seed {
                0 => hash_seed,
                shared => u64::from(shared),
            },
            max_model_bytes: limits.model_bytes,
            max_depth: snapshot.peek.max_depth as usize,
            max_decoded_bytes: limits.decoded_body_bytes as u64,
            max_decoded_ratio: limits.decoded_body_ratio,
        };
        let at = |index| &upstreams[position(&snapshot, index)];
        let named = |indices: &[PolicyIndex]| {
            let named = indices.iter().map(|of| policies[of.0].clone());
            named.filter(|access| access.asks()).collect::<Vec<_>>()
        };
        let cors_of = |indices: &[PolicyIndex]| {
            indices.iter().rev().find_map(|of| snapshot.policies[of.0].cors.clone())
        };
        let is_priced = prices::are_named(&snapshot);
        let rules = snapshot.rules().iter().map(|rule| {
            let chain = Chain::new(named(&rule.policies), extension.rule_policies(rule));
            let cors = rule.cors.clone().or_else(|| cors_of(&rule.policies));
            let mut compiled = CompiledRule { cors, ..CompiledRule::new(rule, chain, at, metrics) };
            compiled.credential = credentials.get(rule.index).cloned().flatten();
            // What a request costs depends on its model.
            compiled.wants.peek |= is_priced && !rule.tiers().is_empty();
            compiled
        });
        let rules: Vec<CompiledRule> = rules.collect();
        let chain = |listener: &Listener| {
            Chain::new(named(&listener.policies), extension.listener_policies(listener))
        };
        let listeners = snapshot.listeners.iter().map(chain).collect();
        let listener_cors = snapshot.listeners.iter().map(|listener| cors_of(&listener.policies)).collect();
        let has_rule_cors = rules.iter().any(|rule| rule.cors.is_some());
        let has_overrides = snapshot.rules().iter().any(|rule| !rule.response_overrides.is_empty());
        let has_own_limits = snapshot.listeners.iter().any(|listener| listener.limits.is_some());
        let limits = limit_metrics(&snapshot, metrics);
        Self {
            rules,
            listeners,
            listener_cors,
            has_rule_cors,
            has_overrides,
            has_own_limits,
            snapshot,
            upstreams,
            limits,
            peek_options,
            metrics: metrics.clone(),
            meter: meter.clone(),
        }
    }

    /// The configuration.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Its limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.snapshot.limits
    }

    /// What holds of them at the listener of this name.
    pub(crate) fn limits_at(&self, listener: &str) -> &Limits {
        if !self.has_own_limits {
            return self.limits();
        }
        let index = self.listener_index(listener);
        index.map_or(self.limits(), |index| self.snapshot.limits_at(ListenerIndex(index)))
    }

    /// What a peek may spend.
    pub(crate) fn peek_options(&self) -> &Options {
        &self.peek_options
    }

    /// The process's metrics.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What counts requests and tokens.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// What is counted of a limit of a policy.
    pub(crate) fn limit_metrics(&self, policy: &str, limit: &str) -> Option<&LimitMetrics> {
        let of_policy = self.limits.get(policy)?;
        of_policy.iter().find(|(name, _)| **name == *limit).map(|(_, metrics)| metrics)
    }

    /// Whether the policies of a listener, or of a rule that takes a request there, have limits.
    #[inline]
    pub(crate) fn is_limited(&self, listener: usize, rule: Option<usize>) -> bool {
        !self.listeners[listener].quotas().is_empty()
            || rule.is_some_and(|rule| !self.rules[rule].chain.quotas().is_empty())
    }

    /// Whether what a request took that a rule took at a listener has to be known.
    pub(crate) fn counts_usage(&self, listener: usize, rule: &Rule) -> bool {
        self.rules[rule.index].counts_usage || counts_usage(self.listeners[listener].quotas())
    }

    /// In which forms a request that a rule took at a listener may have to be had, where it is compressed.
    pub(crate) fn forms(&self, listener: usize, rule: usize) -> Forms {
        let forms = self.rules[rule].forms;
        // What asks for the usage changes the body.
        let chain = &self.listeners[listener];
        Forms { plain: forms.plain || chain.wants().whole_body || counts_usage(chain.quotas()), ..forms }
    }

    /// What serving by a rule takes beside the rule itself.
    pub(crate) fn rule(&self, rule: usize) -> &CompiledRule {
        &self.rules[rule]
    }

    /// What a listener asks of requests.
    pub(crate) fn listener_chain(&self, listener: usize) -> &Chain {
        &self.listeners[listener]
    }

    /// Whether anything is said of web pages that ask at a listener.
    #[inline]
    pub(crate) fn uses_cors(&self, listener: usize) -> bool {
        self.has_rule_cors || self.listener_cors[listener].is_some()
    }

    /// Whether a rule answers something in place of what the gateway or an upstream answers.
    pub(crate) fn has_overrides(&self) -> bool {
        self.has_overrides
    }

    /// Which web pages may ask for what a rule serves at a listener.
    pub(crate) fn cors_of_rule(&self, listener: usize, rule: usize) -> Option<&Arc<Cors>> {
        self.rules[rule].cors.as_ref().or(self.listener_cors[listener].as_ref())
    }

    /// Which web pages may ask this, as far as that can be told before the body is read.
    pub(crate) fn cors_of(&self, listener: usize, request: &RouteRequest<'_>) -> Option<&Arc<Cors>> {
        match self.snapshot.route_of_some_model(ListenerIndex(listener), request) {
            Some(rule) => self.cors_of_rule(listener, rule.index),
            None => self.listener_cors[listener].as_ref(),
        }
    }

    /// A pool or backend.
    pub(crate) fn upstream(&self, index: UpstreamAt) -> &Upstream {
        &self.upstreams[position(&self.snapshot, index)]
    }

    /// All pools and backends.
    pub(crate) fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    /// The position of the listener with this name.
    pub(crate) fn listener_index(&self, name: &str) -> Option<usize> {
        self.snapshot.listeners.iter().position(|listener| *listener.name == *name)
    }

    /// The models that `host` can ask for at a listener.
    pub(crate) fn models(&self, listener: usize, host: &str) -> Vec<&ModelEntry> {
        self.snapshot.models(ListenerIndex(listener), host)
    }
}

impl CompiledRule {
    fn new<'a>(
        rule: &Rule,
        chain: Chain,
        upstream: impl Fn(UpstreamAt) -> &'a Upstream,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let mirrors = Wants { whole_body: !rule.mirrors.is_empty(), ..Wants::default() };
        let targets = rule.tiers().iter().flat_map(|tier| &tier.targets);
        let counts = rule.usage == StreamUsage::Required
            || counts_usage(chain.quotas())
            || targets
                .clone()
                .any(|target| target.upstream().is_some_and(|at| counts_usage(&upstream(at).quotas)));
        let forms = forms(rule, &upstream, chain.wants(), counts);
        let targets = targets.map(|target| Wants {
            // A picker looks for the prompt, and a model that is renamed has to be found.
            peek: matches!(target.upstream(), Some(UpstreamAt::Pool(_)))
                || target.model_override.is_some()
                || target.upstream().is_some_and(|at| upstream(at).counts_bodies()),
            whole_body: counts
                || !target.body.is_empty()
                || target.upstream().is_some_and(|index| upstream(index).takes_whole_bodies()),
            ..Wants::default()
        });
        let wants = targets.fold(mirrors | chain.wants(), Wants::bitor);
        let retry_budget = RetryBudget::new(rule.retry.budget_percent, rule.retry.min_retries_per_second);
        let body_edits = body_edits(rule);
        Self {
            chain,
            cors: None,
            credential: None,
            wants,
            body_edits,
            forms,
            retry_budget,
            counts_usage: counts,
            metrics: metrics.route(&rule.route),
        }
    }

    /// What a target changes in bodies.
    pub(crate) fn body_edits(&self, (tier, target): (usize, usize)) -> Option<&MemberEdits> {
        self.body_edits.get(tier)?.get(target)?.as_ref()
    }
}

/// What each target of each tier changes in bodies; empty if no target changes any.
fn body_edits(rule: &Rule) -> Vec<Vec<Option<MemberEdits>>> {
    let of_target = |target: &Target| {
        let mut edits = MemberEdits::default();
        target.body.remove.iter().for_each(|name| edits.remove(name));
        target.body.set.iter().for_each(|(name, value)| edits.set(name, value));
        (!edits.is_empty()).then_some(edits)
    };
    let all: Vec<Vec<_>> =
        rule.tiers().iter().map(|tier| tier.targets.iter().map(of_target).collect()).collect();
    if all.iter().flatten().any(Option::is_some) { all } else { Vec::new() }
}

/// In which forms a rule's targets, mirrors and policies may have to have a body that is compressed.
fn forms<'a>(
    rule: &Rule,
    upstream: &impl Fn(UpstreamAt) -> &'a Upstream,
    policies: Wants,
    counts: bool,
) -> Forms {
    let mut forms = Forms { plain: policies.whole_body, encoded: false };
    let targets = rule.tiers().iter().flat_map(|tier| &tier.targets);
    let targets = targets.filter_map(|target| {
        let changes_body = counts || !target.body.is_empty();
        Some((target.upstream()?, target.model_override.is_some(), changes_body))
    });
    let mirrors = rule.mirrors.iter().map(|mirror| (mirror.upstream, false, false));
    for (at, is_renamed, changes_body) in targets.chain(mirrors) {
        let upstream = upstream(at);
        let takes_any =
            upstream.request_encoding == Encoding::Any && upstream.codec.is_none() && !changes_body;
        forms.plain |= !takes_any || is_renamed || upstream.renames();
        forms.encoded |= takes_any;
    }
    forms
}

/// Whether limits count tokens, or what they cost.
fn counts_usage(quotas: &[Arc<Quota>]) -> bool {
    quotas.iter().any(|quota| quota.wants().tokens || quota.wants().cost)
}

/// What is counted of each limit of a document.
fn limit_metrics(snapshot: &Snapshot, metrics: &Metrics) -> Counted {
    let limited = snapshot.policies.iter().filter(|policy| !policy.limits.is_empty());
    let of_policy = |policy: &Arc<PolicySpec>| {
        let limits = policy.limits.iter().map(|limit| {
            let count = CountKind::from(&limit.count);
            (limit.name.clone(), metrics.limits.limit(&policy.name, &limit.name, count))
        });
        (policy.name.clone(), limits.collect())
    };
    limited.map(of_policy).collect()
}

/// The models that rules send to each upstream: metrics have series for these and lump the others together.
pub(crate) fn models_by_upstream(snapshot: &Snapshot) -> HashMap<UpstreamAt, Vec<&str>> {
    let mut models: HashMap<UpstreamAt, Vec<&str>> = HashMap::new();
    for rule in snapshot.rules() {
        for target in rule.tiers().iter().flat_map(|tier| &tier.targets) {
            let Some(upstream) = target.upstream() else { continue };
            let known = models.entry(upstream).or_default();
            known.extend(rule.models.iter().map(|model| &**model));
        }
    }
    models
}

fn position(snapshot: &Snapshot, index: UpstreamAt) -> usize {
    match index {
        UpstreamAt::Pool(PoolIndex(at)) => at,
        UpstreamAt::Backend(BackendIndex(at)) => snapshot.pools.len() + at,
    }
}
