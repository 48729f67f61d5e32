//! The routing document of one Gateway, put together from what attaches to it.

use std::collections::{BTreeMap, BTreeSet};

use penstock_config::raw::{Document, RawRoute, RawRule};
use penstock_config::{Address, StreamUsage};

use crate::access;
use crate::attach::AttachedRoute;
use crate::check::{self, Origin, Problem};
use crate::compile;
use crate::context::{Context, RefError, Referrer, Secrets};
use crate::gateway::Gateway;
use crate::guards::Guards;
use crate::limiters::{self, Limiters};
use crate::names;
use crate::output::EndpointSource;
use crate::rules::{self, Offer};
use crate::shadows::{self, Shadow};
use crate::traffic::{Backing, Traffic, wants_port};
use crate::unsupported::{InForce, Limiting, Unsupported};
use crate::upstream::{RawUpstream, Upstream};
use crate::upstreams::MadeUpstreams;
use crate::variants::Variants;
use crate::world::{Key, Kind, ObjectId};

/// Who offers models of routes that say nothing about it.
const DEFAULT_OWNER: &str = "penstock";

/// The field of upstreams that what is wrong with a credential begins with.
pub(crate) const CREDENTIAL: &str = "credential";

/// A finished document.
pub(crate) struct Finished {
    /// The document; `None` if no listener can be served.
    pub(crate) document: Option<Document>,
    /// Where the endpoints of its upstreams come from.
    pub(crate) endpoints: BTreeMap<String, EndpointSource>,
    /// What it names as `secret:KEY`.
    pub(crate) secrets: Secrets,
    /// The policies whose credentials its upstreams are shown, by the upstreams' names.
    pub(crate) policies: BTreeMap<String, Key>,
    /// What each of its policies comes from.
    pub(crate) guards: BTreeMap<String, InForce>,
    /// What is asked of requests and has no room in it.
    pub(crate) without_room: BTreeSet<InForce>,
    /// What limits requests and has no room in it.
    pub(crate) limits_without_room: BTreeSet<Limiting>,
    /// What its check took out.
    pub(crate) problems: Vec<Problem>,
    /// Rules that never see a request.
    pub(crate) shadows: Vec<Shadow>,
}

/// What policies ask of requests in a document.
pub(crate) struct Policies<'p, 'a> {
    /// Those that ask who may ask for what.
    pub(crate) guards: Guards,
    /// What is asked of all requests at listeners, by their positions.
    pub(crate) whole: &'p BTreeMap<usize, InForce>,
    /// All that there are, with their limits.
    pub(crate) unsupported: &'p Unsupported<'a>,
}

/// Puts a Gateway's document together. `routes` are in the order of precedence, `upstreams` are all there are.
pub(crate) fn build(
    context: &Context<'_>,
    gateway: &Gateway<'_>,
    routes: &[AttachedRoute<'_>],
    upstreams: &MadeUpstreams<'_, '_>,
    Policies { mut guards, whole, unsupported }: Policies<'_, '_>,
) -> Finished {
    let mut document = empty(context, gateway);
    guard_listeners(&mut document, gateway, &guards, whole);
    let mut limiters = Limiters::new(unsupported, &guards);
    let counts_requests = !gateway.request_costs.is_empty();
    let mut origins = Vec::new();
    let mut names = BTreeSet::new();
    let is_taken = |name: &str| upstreams.by_name.contains_key(name);
    let mut variants = Variants::new(&is_taken);
    for attached in routes {
        let asked = (&mut guards, &mut limiters, &mut variants);
        for (mut route, origin) in raw_routes(gateway, attached, asked, &mut names) {
            if counts_requests && attached.id.kind == Kind::AiGatewayRoute {
                route.rules.iter_mut().for_each(|rule| rule.usage = StreamUsage::Required);
            }
            document.routes.push(route);
            origins.push(origin);
        }
    }
    document.policies = guards.policies;
    let servers: Vec<Upstream> = guards.servers;
    let mut finished = Finished {
        document: None,
        endpoints: BTreeMap::new(),
        secrets: guards.secrets,
        policies: BTreeMap::new(),
        guards: guards.origins,
        without_room: guards.without_room,
        limits_without_room: BTreeSet::new(),
        problems: Vec::new(),
        shadows: shadows::find(routes),
    };
    let mut refused = Vec::new();
    for name in used(&document) {
        let variant = variants.of(&name);
        let own = variant.map_or(name.as_str(), |(own, _)| own);
        let Some((key, upstream)) = upstreams.by_name.get(own) else { continue };
        if let Err(error) = may_be_itself(context, gateway, upstream) {
            check::disconnect(&mut document, &name);
            refused.push(match upstream.raw {
                RawUpstream::Pool(_) => Problem::Pool { name, message: error.message },
                RawUpstream::Backend(_) => Problem::Backend { name, message: error.message },
            });
            continue;
        }
        // Documents want to know where endpoints come from; whoever publishes puts the real names in.
        let from: Vec<String> = upstream.source.iter().map(|_| name.clone()).collect();
        let policies: Vec<String> = limiters.of_upstream(key.object()).into_iter().collect();
        match &upstream.raw {
            RawUpstream::Pool(raw) => {
                let mut raw = (**raw).clone();
                raw.endpoints_from = from;
                raw.policies = policies;
                document.pools.push(raw);
            }
            RawUpstream::Backend(raw) => {
                let mut raw = (**raw).clone();
                raw.name.clone_from(&name);
                raw.endpoints_from = from;
                raw.policies = policies;
                variant.iter().for_each(|(_, backing)| backing.apply(&mut raw));
                document.backends.push(raw);
            }
        }
        finished.policies.extend(upstream.grant.iter().map(|grant| (name.clone(), grant.policy.clone())));
        finished.endpoints.extend(upstream.source.clone().map(|source| (name, source)));
        finished.secrets.extend(upstream.secrets.clone());
    }
    for rule in routes.iter().flat_map(|route| &route.built.rules) {
        finished.secrets.extend(rule.secrets.clone());
    }
    for server in servers {
        document.backends.extend(access::backend(&server));
        finished.endpoints.extend(server.source.map(|source| (server.name, source)));
        finished.secrets.extend(server.secrets);
    }
    document.policies.extend(limiters.policies);
    finished.limits_without_room = limiters.without_room;
    for listener in gateway.listeners.iter().filter(|listener| listener.raw.is_some()) {
        finished.secrets.extend(listener.secrets.clone());
    }
    if !finished.secrets.is_empty() {
        document.secrets_from = Some(compile::SECRETS.to_owned());
    }
    finished.problems = check::mend(&mut document, &mut origins, &*context.options.profiles);
    finished.problems.extend(refused);
    for problem in &mut finished.problems {
        if let Problem::Backend { name, .. } = problem
            && let Some((own, _)) = variants.of(name)
        {
            name.clone_from(own);
        }
    }
    tidy(&mut document);
    if !document.listeners.is_empty() {
        finished.document = Some(document);
    }
    finished
}

/// Whether a Gateway's data planes may show an upstream who they are, if that is what they would show. Whoever may write
/// policies in some namespace would otherwise have any data plane's identity, for any host of theirs.
///
/// # Errors
/// The policy that wants it is in another namespace than the Gateway, which has no ReferenceGrant for it.
fn may_be_itself(context: &Context<'_>, gateway: &Gateway<'_>, upstream: &Upstream) -> Result<(), RefError> {
    let Some(grant) = upstream.grant.as_ref().filter(|grant| grant.is_own_identity) else { return Ok(()) };
    let from = Referrer::of(Kind::BackendSecurityPolicy, &grant.policy.namespace);
    context.allowed(from, Kind::Gateway, gateway.key()).map_err(|error| {
        let why = "without one in its policy, the data plane's own identity is meant";
        RefError::new(error.reason, format!("{CREDENTIAL}: {why}: {}", error.message))
    })
}

/// A document with listeners and nothing else.
fn empty(context: &Context<'_>, gateway: &Gateway<'_>) -> Document {
    let name = crate::world::shorten(&gateway.key().to_string(), 200);
    let mut document = compile::blank(Some(name));
    document.limit_store =
        context.options.limit_store.clone().map(|store| limiters::own(store, gateway.key()));
    document.telemetry.gen_ai_metrics = context.options.gen_ai_metrics();
    document.listeners = gateway.listeners.iter().filter_map(|listener| listener.raw.clone()).collect();
    if let Some(address) = context.options.admin {
        document.admin.address = Address(address);
    }
    document
}

/// A route as documents have it. Usually one; more where its rules have different owners of models, which documents say
/// once a route, or where listeners differ: a redirect has to name their ports, or rules are closed at some of them.
fn raw_routes(
    gateway: &Gateway<'_>,
    attached: &AttachedRoute<'_>,
    (guards, limiters, variants): (&mut Guards, &mut Limiters<'_, '_>, &mut Variants<'_>),
    names: &mut BTreeSet<String>,
) -> Vec<(RawRoute, Origin)> {
    let mut routes = Vec::new();
    for (Outcome { port, closed, traffic, access, limiting }, listeners) in by_outcome(gateway, attached) {
        let mut current: Option<&Option<Offer>> = None;
        for rule in &attached.built.rules {
            if current != Some(&rule.offer) {
                current = Some(&rule.offer);
                let route = RawRoute {
                    name: unique_name(&attached.id, names),
                    listeners: listeners.clone(),
                    hostnames: attached.hostnames.clone(),
                    models_owned_by: rule
                        .offer
                        .as_ref()
                        .map_or_else(|| DEFAULT_OWNER.to_owned(), |offer| offer.owner.clone()),
                    models_created_at: rule.offer.as_ref().and_then(|offer| offer.since.clone()),
                    rules: Vec::new(),
                };
                routes.push((route, Origin { route: attached.route, rules: Vec::new() }));
            }
            if let Some((route, origin)) = routes.last_mut() {
                let asked = access.and_then(|access| access.get(&rule.position));
                // None where something is asked that cannot be enforced.
                let policies = asked.map_or(Some(&[][..]), |in_force| guards.names(*in_force));
                let is_closed = closed.is_some_and(|closed| closed.contains(&rule.position));
                let policies = policies.filter(|_| !is_closed).map(<[String]>::to_vec);
                let policies = policies.and_then(|mut policies| {
                    if let Some(external) = &rule.external {
                        let rule = names::in_document([&*route.name, &rule.position.to_string()]);
                        policies.push(guards.add_server(&rule, external)?);
                    }
                    Some(policies)
                });
                let limiting =
                    limiting.and_then(|limiting| limiting.get(&rule.position)).filter(|_| !is_closed);
                let limits = limiting.map(|limiting| limiters.of_requests(*limiting, &attached.costs));
                let raw = match (policies, limits.unwrap_or_else(|| Some(Vec::new()))) {
                    (None, _) | (_, None) => rules::close(&rule.raw),
                    (Some(policies), Some(limits)) => {
                        let mut raw = rule.raw.clone();
                        match traffic.and_then(|traffic| traffic.get(&rule.position)) {
                            Some(traffic) => {
                                traffic.apply(&rules::default_timeouts(attached.id.kind), &mut raw);
                                variants.lead(&mut raw, traffic.backing());
                            }
                            None => variants.lead(&mut raw, &Backing::default()),
                        }
                        put_port(&mut raw, port);
                        raw.policies = policies.into_iter().chain(limits).collect();
                        raw
                    }
                };
                route.rules.push(raw);
                origin.rules.push(rule.position);
            }
        }
    }
    routes
}

/// Names at listeners what is asked of all requests there. One whose policies cannot be named is not opened.
fn guard_listeners(
    document: &mut Document,
    gateway: &Gateway<'_>,
    guards: &Guards,
    whole: &BTreeMap<usize, InForce>,
) {
    for (index, in_force) in whole {
        let name = gateway.listeners.get(*index).map(|listener| &listener.spec.name);
        let Some(at) = document.listeners.iter().position(|it| Some(&it.name) == name) else { continue };
        match guards.names(*in_force) {
            Some(names) => document.listeners[at].policies = names.to_vec(),
            None => drop(document.listeners.remove(at)),
        }
    }
}

/// What makes a difference between listeners.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Outcome<'r> {
    /// The port, if a rule's redirect needs it.
    port: Option<u16>,
    /// The rules that are closed there.
    closed: Option<&'r BTreeSet<usize>>,
    /// What policies change of the others.
    traffic: Option<&'r BTreeMap<usize, Traffic>>,
    /// What policies ask of their requests.
    access: Option<&'r BTreeMap<usize, InForce>>,
    /// What policies limit of them.
    limiting: Option<&'r BTreeMap<usize, Limiting>>,
}

/// The names of the listeners that a route attaches to, by what becomes of it there.
fn by_outcome<'r>(
    gateway: &Gateway<'_>,
    attached: &'r AttachedRoute<'_>,
) -> BTreeMap<Outcome<'r>, Vec<String>> {
    let redirects = attached.built.rules.iter().filter_map(|rule| rule.raw.redirect.as_ref());
    let mut traffic = attached.traffic.values().flat_map(BTreeMap::values);
    let needs_port = redirects.into_iter().any(wants_port) || traffic.any(Traffic::wants_port);
    let mut groups: BTreeMap<Outcome<'r>, Vec<String>> = BTreeMap::new();
    for index in &attached.listeners {
        let Some(listener) = gateway.listeners.get(*index) else { continue };
        let outcome = Outcome {
            port: needs_port.then_some(listener.spec.port),
            closed: attached.closed.get(index),
            traffic: attached.traffic.get(index),
            access: attached.access.get(index),
            limiting: attached.limiting.get(index),
        };
        groups.entry(outcome).or_default().push(listener.spec.name.clone());
    }
    groups
}

/// Tells the redirects of a rule the port that clients come to.
fn put_port(rule: &mut RawRule, port: Option<u16>) {
    let overrides = rule.response_overrides.iter_mut().filter_map(|it| it.redirect.as_mut());
    for redirect in rule.redirect.iter_mut().chain(overrides).filter(|redirect| wants_port(redirect)) {
        redirect.port = port;
    }
}

/// A name for a route that no other in the document has.
fn unique_name(id: &ObjectId, names: &mut BTreeSet<String>) -> String {
    let base = names::in_document([id.key.namespace.as_str(), &id.key.name]);
    let second = if id.kind == Kind::HttpRoute { "http" } else { "ai" };
    let numbered = (2_u32..).map(|number| names::in_document([base.as_str(), second, &number.to_string()]));
    let candidates = [base.clone(), names::in_document([base.as_str(), second])].into_iter().chain(numbered);
    let name = candidates.into_iter().find(|name| !names.contains(name)).unwrap_or(base);
    names.insert(name.clone());
    name
}

/// The upstreams that a document's rules lead to.
fn used(document: &Document) -> BTreeSet<String> {
    let rules = document.routes.iter().flat_map(|route| &route.rules);
    let mut used = BTreeSet::new();
    for rule in rules {
        used.extend(rule.targets.iter().filter_map(|it| it.pool.as_ref().or(it.backend.as_ref())).cloned());
        used.extend(rule.mirrors.iter().filter_map(|it| it.pool.as_ref().or(it.backend.as_ref())).cloned());
    }
    used
}

/// Takes out what goes without saying: names of rules that are their positions; and policies that nothing names any more.
fn tidy(document: &mut Document) {
    let rules = document.routes.iter().flat_map(|route| &route.rules);
    let named = document.listeners.iter().flat_map(|listener| &listener.policies);
    let of_pools = document.pools.iter().flat_map(|pool| &pool.policies);
    let of_upstreams = of_pools.chain(document.backends.iter().flat_map(|backend| &backend.policies));
    let named = named.chain(rules.flat_map(|rule| &rule.policies)).chain(of_upstreams);
    let named: BTreeSet<String> = named.cloned().collect();
    document.policies.retain(|policy| named.contains(&policy.name));
    for route in &mut document.routes {
        for (index, rule) in route.rules.iter_mut().enumerate() {
            if rule.name.as_ref().is_some_and(|name| *name == index.to_string()) {
                rule.name = None;
            }
        }
    }
}
