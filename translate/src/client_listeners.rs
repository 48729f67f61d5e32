//! Putting policies of clients on the listeners that they are for.

use std::collections::{BTreeMap, BTreeSet};

use penstock_config::raw::RawListener;

use crate::clients::Clients;
use crate::context::Secrets;
use crate::gateway::Gateway;
use crate::unsupported::Unsupported;
use crate::world::Key;

/// Puts what policies say on all listeners. Where those of one port would differ in what holds for whole connections, none
/// is changed, and those that a policy is for are noted to be closed.
pub(crate) fn apply(unsupported: &Unsupported<'_>, gateways: &mut BTreeMap<Key, Gateway<'_>>) {
    for gateway in gateways.values_mut() {
        let found: Vec<Option<(usize, &Clients)>> = gateway
            .listeners
            .iter()
            .map(|listener| unsupported.clients(gateway, &listener.spec.name))
            .collect();
        if found.iter().all(Option::is_none) {
            continue;
        }
        let changed = |(index, found): (usize, &Option<(usize, &Clients)>)| {
            let listener = &gateway.listeners[index];
            let (mut raw, mut secrets) = (listener.raw.clone()?, listener.secrets.clone());
            if let Some((_, clients)) = found {
                clients.apply(&mut raw, &mut secrets);
            }
            Some((raw, secrets))
        };
        let changed: Vec<Option<(RawListener, Secrets)>> = found.iter().enumerate().map(changed).collect();
        let at_odds = at_odds(changed.iter().flatten().map(|(raw, _)| raw));
        for ((listener, changed), found) in gateway.listeners.iter_mut().zip(changed).zip(found) {
            let (Some((raw, secrets)), Some((policy, clients))) = (changed, found) else { continue };
            if clients.contradicts(listener.raw.as_ref()) {
                let why = "tls.clientValidation: the Gateway's spec.tls.frontend asks something else of clients: keep one \
                           of the two";
                listener.client_fault = Some((policy, why.to_owned()));
                continue;
            }
            if at_odds.contains(&raw.address.0.port()) {
                let why = format!(
                    "other listeners of port {} have other settings that hold for whole connections: target the Gateway, or \
                     use another port",
                    listener.spec.port
                );
                listener.client_fault = Some((policy, why));
                continue;
            }
            (listener.raw, listener.secrets) = (Some(raw), secrets);
        }
    }
}

/// The ports whose listeners differ in what holds for whole connections.
fn at_odds<'r>(listeners: impl Iterator<Item = &'r RawListener>) -> BTreeSet<u16> {
    let mut first: BTreeMap<u16, &RawListener> = BTreeMap::new();
    let mut at_odds = BTreeSet::new();
    for listener in listeners {
        let port = listener.address.0.port();
        let first = first.entry(port).or_insert(listener);
        if first.differences(listener).next().is_some() {
            at_odds.insert(port);
        }
    }
    at_odds
}
