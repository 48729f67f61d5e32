//! Which SecurityPolicies are in force for a rule, and whether they can be enforced.

use std::rc::Rc;

use super::{Policy, Target, Unsupported};
use crate::access::{Access, Asked};
use crate::context::Context;
use crate::gateway::Gateway;
use crate::names;
use crate::policies::Policies;
use crate::world::{Key, Kind};

/// The SecurityPolicies that are in force for a rule: the most specific one, and a less specific one beside which that
/// says that it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InForce {
    own: usize,
    over: Option<usize>,
}

impl InForce {
    /// The position of the most specific one. What is wrong where it is in force is told by it alone: a less specific one is
    /// another's, who cannot help what is said beside it.
    pub(crate) fn own(self) -> usize {
        self.own
    }
}

impl<'a> Unsupported<'a> {
    /// Reads what SecurityPolicies ask for that are for something.
    pub(super) fn read_access(&mut self, context: &Context<'_>, policies: &Policies<'_>) {
        // Of those that close what they are for, the rest does not matter.
        let is_of_interest = |policy: &&mut Policy<'_>| {
            policy.kind == Kind::SecurityPolicy
                && !policy.in_force.is_empty()
                && !policy.is_ignored
                && policy.closing.is_none()
        };
        for policy in self.policies.iter_mut().filter(is_of_interest) {
            let key = &policy.meta.key;
            let spec = context.world.access_policies.get(key).and_then(|object| object.spec.as_ref().ok());
            policy.access = spec.and_then(|spec| Access::read(context, policies, key, &spec.settings));
            let asked = policy.access.as_ref().map(Access::asked).transpose();
            policy.asked = asked.map(|asked| asked.map(Rc::new));
            self.has_access |= policy.access.is_some();
            let is_vague = policy.in_force.iter().any(|target| matches!(target, Target::AnyRule(..)));
            if policy.access.is_some() && is_vague {
                policy.vague = Some(format!("{} (for a rule that its route does not have)", policy.name));
            }
        }
    }

    /// Whether any policy asks something of requests.
    pub(crate) fn has_access(&self) -> bool {
        self.has_access
    }

    /// What is in force for a rule at a listener.
    pub(crate) fn access(
        &self,
        gateway: &Gateway<'_>,
        listener: &str,
        route: &Key,
        rule: Option<&str>,
    ) -> Option<InForce> {
        let attached = self.in_force.get(&Kind::SecurityPolicy)?;
        let of_rule = rule.and_then(|rule| attached.get(&Target::Rule(route.clone(), rule.to_owned())));
        let own = of_rule.or_else(|| attached.get(&Target::Route(route.clone()))).copied();
        let parent = match own {
            Some(own) if !self.policies[own].merges() => None,
            _ => self.access_of_listener(gateway, listener).map(|parent| parent.own),
        };
        // What asks for nothing, or is enforced by something else, keeps its place all the same.
        let own = own.filter(|own| self.policies[*own].access.is_some());
        match (own, parent) {
            (Some(own), over) => Some(InForce { own, over }),
            (None, parent) => parent.map(|own| InForce { own, over: None }),
        }
    }

    /// What is in force for what no route at a listener has a policy of its own for.
    pub(crate) fn access_of_listener(&self, gateway: &Gateway<'_>, listener: &str) -> Option<InForce> {
        let own = self.of_listener(Kind::SecurityPolicy, gateway, listener)?;
        self.policies[own].access.is_some().then_some(InForce { own, over: None })
    }

    /// What is asked of requests.
    ///
    /// # Errors
    /// Something in it cannot be: what, by its field.
    pub(crate) fn asked(&self, in_force: InForce) -> Result<Rc<Asked>, String> {
        let own = &self.policies[in_force.own];
        let Some(parent) = in_force.over else { return own.asked.clone().map(Option::unwrap_or_default) };
        let (Some(own), Some(parent)) = (&own.access, &self.policies[parent].access) else {
            return Ok(Rc::default());
        };
        let mut merged = self.merged.borrow_mut();
        merged.entry(in_force).or_insert_with(|| own.over(parent).asked().map(Rc::new)).clone()
    }

    /// Why what is in force cannot be enforced at a listener, by the policy and its field. `is_whole` says that it is in
    /// force for all requests there.
    pub(crate) fn access_fault(&self, in_force: InForce, is_whole: bool) -> Option<String> {
        let name = &self.policies[in_force.own].name;
        let fault = match self.asked(in_force) {
            Err(fault) => format!("spec.{fault}"),
            Ok(asked) if asked.recomputes_route && !is_whole => {
                "spec.jwt.providers[].recomputeRoute or spec.extAuth.recomputeRoute: the route is found before a token \
                 is read or a server asked, unless all rules of the listener have this policy"
                    .to_owned()
            }
            Ok(_) => return None,
        };
        Some(format!("{name} ({fault})"))
    }

    /// What documents call it.
    pub(crate) fn access_name(&self, in_force: InForce) -> String {
        let key = |index: usize| &self.policies[index].meta.key;
        let own = key(in_force.own);
        match in_force.over.map(key) {
            None => names::of_parts(&[&own.namespace, &own.name]),
            Some(over) => names::of_parts(&[&own.namespace, &own.name, "over", &over.namespace, &over.name]),
        }
    }

    /// The policies of a kind that another takes the place of for a rule at a listener, by their positions.
    pub(crate) fn overridden(
        &self,
        kind: Kind,
        gateway: &Gateway<'_>,
        listener: &str,
        (route, rule): (&Key, Option<&str>),
    ) -> Vec<usize> {
        let Some(attached) = self.in_force.get(&kind) else { return Vec::new() };
        let of_rule = rule.and_then(|rule| attached.get(&Target::Rule(route.clone(), rule.to_owned())));
        let of_route = attached.get(&Target::Route(route.clone()));
        let parent = self.of_listener(kind, gateway, listener);
        let is_alone = |index: &&usize| !self.policies[**index].merges();
        match (of_rule, of_route) {
            (Some(own), of_route) => {
                let parent = parent.filter(|_| is_alone(&own));
                of_route.copied().into_iter().chain(parent).collect()
            }
            (None, own) => own.filter(is_alone).and(parent).into_iter().collect(),
        }
    }

    /// The policy of a kind for a listener, or for its Gateway.
    pub(super) fn of_listener(&self, kind: Kind, gateway: &Gateway<'_>, listener: &str) -> Option<usize> {
        let (attached, key) = (self.in_force.get(&kind)?, gateway.key());
        let of_listener = attached.get(&Target::Listener(key.clone(), listener.to_owned()));
        of_listener.or_else(|| attached.get(&Target::Gateway(key.clone()))).copied()
    }
}
