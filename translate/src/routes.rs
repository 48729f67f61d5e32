//! All routes: what they attach to, what becomes of them in documents, and their statuses.

mod access;
mod closed;
mod limits;
mod statuses;
mod unsupported;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::api::{AiGatewayRoute, HttpRoute, ParentRef};
use crate::attach::{AttachedRoute, AttachingRoute, Attachment, attach, missing_parent};
use crate::check::Problem;
use crate::context::Context;
use crate::document::{self, Finished};
use crate::gateway::Gateway;
use crate::output::Severity;
use crate::policies::Policies;
use crate::pools::{PoolUsers, Pools};
use crate::rules::BuiltRoute;
use crate::unsupported::{InForce, Unsupported};
use crate::upstream::UpstreamKey;
use crate::upstreams::{MadeUpstreams, Upstreams};
use crate::world::{Key, Kind, Meta, Object, ObjectId};
use crate::{ai, ai_backend, http};

/// All routes that have to do with Gateways of ours.
pub(crate) struct Routing<'a, 'c> {
    /// By precedence: the oldest first, then by name.
    routes: Vec<Route<'a>>,
    /// What they lead to.
    pub(crate) upstreams: MadeUpstreams<'a, 'c>,
    /// What closes them.
    unsupported: &'c Unsupported<'a>,
    /// What policies ask of all requests at a listener, by Gateway and position of the listener.
    whole: BTreeMap<Key, BTreeMap<usize, InForce>>,
}

/// A route.
struct Route<'a> {
    object: RouteObject<'a>,
    /// Its references to Gateways of ours, in its order.
    attachments: Vec<Attachment>,
    built: BuiltRoute,
    /// What it refers to, usable or not.
    references: BTreeSet<UpstreamKey>,
}

/// A route's object.
#[derive(Clone, Copy)]
enum RouteObject<'a> {
    Http(&'a Object<HttpRoute>),
    Ai(&'a Object<AiGatewayRoute>),
}

/// What the documents of all Gateways became.
pub(crate) type Documents = BTreeMap<Key, Finished>;

impl<'a, 'c> Routing<'a, 'c> {
    /// Attaches all routes and builds their rules.
    pub(crate) fn of(
        context: &'c Context<'a>,
        gateways: &BTreeMap<Key, Gateway<'a>>,
        policies: &'c Policies<'a>,
        unsupported: &'c Unsupported<'a>,
        pools: &Pools<'a>,
    ) -> Self {
        let world = context.world;
        let http = world.http_routes.iter().map(|(_, object)| RouteObject::Http(object));
        let ai = world.ai_routes.iter().map(|(_, object)| RouteObject::Ai(object));
        let mut objects: Vec<RouteObject<'a>> =
            http.chain(ai).filter(|object| object.is_meant(context)).collect();
        objects.sort_by_key(|object| (&object.meta().created, &object.meta().key, object.id().kind));

        let mut routes: Vec<Route<'a>> =
            objects.into_iter().map(|object| Route::attach(context, gateways, object)).collect();
        let mut upstreams = Upstreams::new(context, policies, unsupported, pools);
        // Those that are served come first, so that others do not change the names that documents have. Of the others, too,
        // the status names references that lead nowhere.
        let (served, others): (Vec<_>, Vec<_>) = routes.iter_mut().partition(|route| route.is_served());
        for route in served.into_iter().chain(others).filter(|route| !route.attachments.is_empty()) {
            route.built = route.object.build(context, &mut upstreams);
            route.references = upstreams.take_references();
        }
        let mut routing = Self { routes, upstreams: upstreams.finish(), unsupported, whole: BTreeMap::new() };
        routing.whole = routing.find_whole(gateways);
        routing
    }

    /// The documents of all Gateways. What their check takes out is noted where it belongs.
    pub(crate) fn documents(
        &self,
        context: &Context<'_>,
        gateways: &mut BTreeMap<Key, Gateway<'_>>,
        pools: &mut Pools<'_>,
    ) -> Documents {
        let (mut documents, nothing) = (Documents::new(), BTreeMap::new());
        for (key, gateway) in gateways {
            let routes = self.attached_to(gateway);
            let guards = self.guards(gateway, &routes);
            let whole = self.whole.get(key).unwrap_or(&nothing);
            let policies = document::Policies { guards, whole, unsupported: self.unsupported };
            let finished = document::build(context, gateway, &routes, &self.upstreams, policies);
            for problem in &finished.problems {
                self.note(context, gateway, pools, problem);
            }
            documents.insert(key.clone(), finished);
        }
        documents
    }

    /// The Gateways that lead to each pool.
    pub(crate) fn pool_users(&self, documents: &Documents) -> PoolUsers {
        let mut users = PoolUsers::new();
        for (key, gateway, controller) in self.references(documents) {
            if let UpstreamKey::Pool(pool) = key {
                users.entry(pool.clone()).or_default().insert((gateway.clone(), controller.to_owned()));
            }
        }
        users
    }

    /// The objects that Gateways of ours lead to. Only their statuses are ours to write: others may be another
    /// controller's, and two that write one status never rest.
    pub(crate) fn used(&self, context: &Context<'_>, documents: &Documents) -> BTreeSet<ObjectId> {
        let mut used = BTreeSet::new();
        for (key, ..) in self.references(documents) {
            let id = key.object();
            if id.kind == Kind::AiServiceBackend
                && let Some(key) = ai_backend::named_backend(context.world, &id.key)
            {
                used.insert(ObjectId { kind: Kind::Backend, key });
            }
            used.insert(id);
        }
        used
    }

    /// What the check of documents found wrong with backends.
    pub(crate) fn backend_problems(&self, documents: &Documents) -> BTreeMap<UpstreamKey, String> {
        let problems = documents.values().flat_map(|finished| &finished.problems);
        let of_backend = |problem: &Problem| match problem {
            Problem::Backend { name, message } => {
                self.upstreams.by_name.get(name).map(|(key, _)| (key.clone(), message.clone()))
            }
            _ => None,
        };
        problems.filter_map(of_backend).collect()
    }

    /// What documents refused of upstreams' credentials.
    pub(crate) fn credential_faults(&self, documents: &Documents) -> BTreeMap<ObjectId, String> {
        let problems = documents.values().flat_map(|finished| &finished.problems);
        let of_credential = |problem: &Problem| match problem {
            Problem::Backend { name, message } | Problem::Pool { name, message }
                if message.starts_with(document::CREDENTIAL) =>
            {
                let (kind, key) = match &self.upstreams.by_name.get(name)?.0 {
                    UpstreamKey::Pool(key) => (Kind::InferencePool, key),
                    UpstreamKey::AiBackend(key) => (Kind::AiServiceBackend, key),
                    UpstreamKey::Backend(_) | UpstreamKey::Service(..) => return None,
                };
                Some((ObjectId { kind, key: key.clone() }, message.clone()))
            }
            _ => None,
        };
        problems.filter_map(of_credential).collect()
    }

    /// What routes lead to, usable or not, with the Gateways that they attach to and the controller names of these.
    fn references<'r>(
        &'r self,
        documents: &'r Documents,
    ) -> impl Iterator<Item = (&'r UpstreamKey, &'r Key, &'r str)> {
        self.routes.iter().flat_map(move |route| {
            let attachments = route.attachments.iter();
            let served =
                attachments.filter(|it| !it.served.is_empty() && documents.contains_key(&it.gateway));
            served.flat_map(move |it| {
                route.references.iter().map(move |key| (key, &it.gateway, it.controller.as_str()))
            })
        })
    }

    /// What attaches to a Gateway.
    fn attached_to<'r>(&'r self, gateway: &'r Gateway<'_>) -> Vec<AttachedRoute<'r>> {
        let mut attached_routes = Vec::new();
        for (index, route) in self.routes.iter().enumerate() {
            let mut listeners = BTreeSet::new();
            let mut hostnames: Vec<String> = Vec::new();
            for attachment in
                route.attachments.iter().filter(|attachment| attachment.gateway == *gateway.key())
            {
                listeners.extend(attachment.served.iter().copied());
                for host in &attachment.hostnames {
                    if !hostnames.contains(host) {
                        hostnames.push(host.clone());
                    }
                }
            }
            if !listeners.is_empty() && !route.built.rules.is_empty() {
                let (id, built) = (route.object.id(), &route.built);
                let closed = self.closed(route, gateway, &listeners);
                let traffic = self.traffic(route, gateway, &listeners);
                let access = self.access(route, gateway, &listeners);
                let limiting = self.limiting(route, gateway, &listeners);
                let costs = route.costs(gateway);
                let route = index;
                attached_routes.push(AttachedRoute {
                    route,
                    id,
                    built,
                    listeners,
                    hostnames,
                    traffic,
                    access,
                    limiting,
                    costs,
                    closed,
                });
            }
        }
        attached_routes
    }

    fn note(
        &self,
        context: &Context<'_>,
        gateway: &mut Gateway<'_>,
        pools: &mut Pools<'_>,
        problem: &Problem,
    ) {
        let warn = |id: ObjectId, message: &str| {
            context.event(id, Severity::Warning, "PartRefused", message);
        };
        match problem {
            Problem::Route { route, message }
            | Problem::Rule { route, message, .. }
            | Problem::Matches { route, message, .. } => {
                warn(self.routes[*route].object.id(), message);
            }
            Problem::Pool { name, message } => {
                if let Some((UpstreamKey::Pool(key), _)) = self.upstreams.by_name.get(name) {
                    pools.fault(key, message.clone());
                    warn(ObjectId { kind: Kind::InferencePool, key: key.clone() }, message);
                }
            }
            Problem::Backend { name, message } => {
                let id = match self.upstreams.by_name.get(name) {
                    Some((UpstreamKey::Backend(key), _)) => (Kind::Backend, key),
                    Some((UpstreamKey::AiBackend(key), _)) => (Kind::AiServiceBackend, key),
                    Some((UpstreamKey::Service(key, _), _)) => (Kind::Service, key),
                    _ => return,
                };
                warn(ObjectId { kind: id.0, key: id.1.clone() }, message);
            }
            // Its status and an event tell it.
            Problem::Policy { .. } => {}
            Problem::Listener { name, message } => {
                let listeners = gateway.listeners.iter_mut();
                for listener in listeners.filter(|listener| listener.spec.name == *name) {
                    listener.refuse(message.clone());
                }
                warn(gateway.object.id(), message);
            }
        }
    }
}

impl<'a> Route<'a> {
    /// A route whose rules are not built yet.
    fn attach(context: &Context<'a>, gateways: &BTreeMap<Key, Gateway<'a>>, object: RouteObject<'a>) -> Self {
        let Meta { key, .. } = object.meta();
        let attaching = AttachingRoute { kind: object.id().kind, key, hostnames: object.hostnames() };
        for message in object.parents().iter().filter_map(|it| missing_parent(context.world, key, it)) {
            context.event(object.id(), Severity::Warning, "ParentNotFound", message);
        }
        let attach = |parent| attach(context, gateways, attaching, parent);
        let attachments = object.parents().iter().filter_map(attach).collect();
        Self { object, attachments, built: BuiltRoute::default(), references: BTreeSet::new() }
    }

    /// Whether a listener that is served takes it.
    fn is_served(&self) -> bool {
        self.attachments.iter().any(|attachment| !attachment.served.is_empty())
    }
}

impl<'a> RouteObject<'a> {
    /// Whether it counts. An HTTPRoute that Envoy AI Gateway made of an AIGatewayRoute does not, as long as that is
    /// there to be read itself.
    fn is_meant(self, context: &Context<'_>) -> bool {
        let Meta { key, is_deleting, owner_kinds, .. } = self.meta();
        let is_generated = matches!(self, Self::Http(_))
            && owner_kinds.iter().any(|kind| kind == Kind::AiGatewayRoute.name())
            && context.world.ai_routes.get(key).is_some();
        !is_deleting && !is_generated
    }

    fn meta(self) -> &'a Meta {
        match self {
            Self::Http(object) => &object.meta,
            Self::Ai(object) => &object.meta,
        }
    }

    fn id(self) -> ObjectId {
        match self {
            Self::Http(object) => object.id(),
            Self::Ai(object) => object.id(),
        }
    }

    fn parents(self) -> &'a [ParentRef] {
        match self {
            Self::Http(object) => object.spec.as_ref().map_or(&object.parents, |spec| &spec.parent_refs),
            Self::Ai(object) => object.spec.as_ref().map_or(&object.parents, |spec| &spec.parent_refs),
        }
    }

    fn hostnames(self) -> &'a [String] {
        match self {
            Self::Http(object) => object.spec.as_ref().map_or(&[], |spec| &spec.hostnames),
            Self::Ai(object) => object.spec.as_ref().map_or(&[], |spec| &spec.hostnames),
        }
    }

    /// Why its body cannot be read, if so.
    fn error(self) -> Option<&'a str> {
        match self {
            Self::Http(object) => object.spec.as_ref().err().map(String::as_str),
            Self::Ai(object) => object.spec.as_ref().err().map(String::as_str),
        }
    }

    /// What a rule is called by the object.
    fn rule_name(self, position: usize) -> Option<&'a str> {
        match self {
            Self::Http(object) => object.spec.as_ref().ok()?.rules.get(position)?.name.as_deref(),
            Self::Ai(object) => object.spec.as_ref().ok()?.rules.get(position)?.name.as_deref(),
        }
    }

    fn unread(self) -> &'a [String] {
        match self {
            Self::Http(object) => &object.unread,
            Self::Ai(object) => &object.unread,
        }
    }

    /// Its status as last seen.
    fn status(self) -> &'a Value {
        match self {
            Self::Http(object) => &object.status,
            Self::Ai(object) => &object.status,
        }
    }

    fn build(self, context: &Context<'a>, upstreams: &mut Upstreams<'a, '_, '_>) -> BuiltRoute {
        match self {
            Self::Http(object) => match &object.spec {
                Ok(route) => http::build(context, object, route, upstreams),
                Err(_) => BuiltRoute::default(),
            },
            Self::Ai(object) => match &object.spec {
                Ok(route) => ai::build(context, object, route, upstreams),
                Err(_) => BuiltRoute::default(),
            },
        }
    }
}

/// What there is for a route's rules, by listener and by the position of the rule; only listeners with any.
fn by_listener_and_rule<'l, T>(
    route: &Route<'_>,
    listeners: impl IntoIterator<Item = &'l usize>,
    of: impl Fn(usize, usize) -> Option<T>,
) -> BTreeMap<usize, BTreeMap<usize, T>> {
    let of_listener = |index: &usize| {
        let rules = route.built.positions().into_iter();
        let found = rules.filter_map(|position| Some((position, of(*index, position)?)));
        (*index, found.collect::<BTreeMap<usize, T>>())
    };
    listeners.into_iter().map(of_listener).filter(|(_, found)| !found.is_empty()).collect()
}
