//! The parts of a Gateway's status that a translation cannot know: whether a data plane serves it, and where.

use std::collections::BTreeMap;

use penstock_translate::{Condition, ListenerStatus, Status, StatusUpdate};
use serde_json::Value;

/// What is known of a Gateway's data plane.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GatewayFacts {
    /// The generation that is wanted; `None` if nothing was published yet.
    pub generation: Option<u64>,
    /// Replicas that run it.
    pub programmed: usize,
    /// Replicas that there are.
    pub replicas: usize,
    /// Why publishing failed, if it did last.
    pub failure: Option<String>,
    /// Why it is not known how the data plane shall run.
    pub unresolved: Option<String>,
    /// `status.addresses`.
    pub addresses: Vec<Value>,
    /// Why a replica has no credential to show an upstream, by the upstream's name in the document.
    pub without_credential: BTreeMap<String, String>,
}

impl GatewayFacts {
    /// Whether a replica serves what was published last.
    pub fn is_programmed(&self) -> bool {
        self.generation.is_some() && self.programmed > 0 && self.failure.is_none()
    }

    /// The condition `Programmed`.
    fn condition(&self) -> Condition {
        let Self { programmed, replicas, .. } = self;
        if let Some(failure) = &self.failure {
            return Condition::no(
                "Programmed",
                "Pending",
                format!("publishing failed and is tried again: {failure}"),
            );
        }
        match (self.generation, &self.unresolved) {
            (Some(generation), _) if *programmed > 0 => {
                // Not how many: a status that is written for every Pod that comes or goes is no news.
                let all = if programmed >= replicas { "every replica runs" } else { "replicas run" };
                Condition::yes("Programmed", "Programmed", format!("{all} generation {generation}"))
            }
            (_, Some(reason)) => Condition::no("Programmed", "Invalid", reason.clone()),
            (Some(generation), None) if *replicas > 0 => {
                Condition::no("Programmed", "Pending", format!("no replica runs generation {generation} yet"))
            }
            (Some(_), None) => {
                Condition::no("Programmed", "NoResources", "the data plane has no replica yet")
            }
            (None, None) => Condition::no("Programmed", "Pending", "nothing was published yet"),
        }
    }
}

/// Adds to a Gateway's status whether it is programmed, unless it says already that it is not.
pub fn complete(update: &mut StatusUpdate, facts: &GatewayFacts) {
    let Status::Gateway { conditions, listeners } = &mut update.status else { return };
    let is_decided = |conditions: &[Condition]| {
        conditions.iter().any(|condition| condition.kind == "Programmed" && !condition.is_true())
    };
    if !is_decided(conditions) {
        conditions.retain(|condition| condition.kind != "Programmed");
        conditions.push(facts.condition());
    }
    for ListenerStatus { conditions, .. } in listeners {
        if !is_decided(conditions) {
            conditions.retain(|condition| condition.kind != "Programmed");
            let mut condition = facts.condition();
            if !condition.is_true() && condition.reason == "NoResources" {
                // Listeners know fewer reasons.
                condition.reason = "Pending";
            }
            conditions.push(condition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_translate::world::{Key, Kind, ObjectId};

    fn update(listener: Vec<Condition>) -> StatusUpdate {
        StatusUpdate {
            object: ObjectId { kind: Kind::Gateway, key: Key::new("default", "gw") },
            api_version: "gateway.networking.k8s.io/v1".to_owned(),
            generation: 1,
            status: Status::Gateway {
                conditions: vec![Condition::yes("Accepted", "Accepted", "")],
                listeners: vec![ListenerStatus {
                    name: "http".to_owned(),
                    supported_kinds: vec![],
                    attached_routes: 1,
                    conditions: listener,
                }],
            },
        }
    }

    fn programmed(update: &StatusUpdate) -> (Vec<&Condition>, Vec<&Condition>) {
        let Status::Gateway { conditions, listeners } = &update.status else { panic!("no Gateway's status") };
        let find = |conditions: &'_ [Condition]| -> Vec<usize> {
            (0..conditions.len()).filter(|at| conditions[*at].kind == "Programmed").collect()
        };
        (
            find(conditions).into_iter().map(|at| &conditions[at]).collect(),
            find(&listeners[0].conditions).into_iter().map(|at| &listeners[0].conditions[at]).collect(),
        )
    }

    #[test]
    fn a_gateway_is_programmed_when_a_replica_has_its_generation() {
        let mut facts = GatewayFacts { generation: Some(7), replicas: 2, ..GatewayFacts::default() };
        let mut waiting = update(vec![]);
        complete(&mut waiting, &facts);
        let (gateway, listener) = programmed(&waiting);
        assert_eq!(
            (gateway[0].is_true(), gateway[0].reason, listener[0].is_true()),
            (false, "Pending", false)
        );
        facts.programmed = 1;
        let mut served = update(vec![]);
        complete(&mut served, &facts);
        let (gateway, listener) = programmed(&served);
        assert!(gateway[0].is_true() && listener[0].is_true());
        assert_eq!(gateway[0].message, "replicas run generation 7");
        facts.failure = Some("ConfigMap x: quota".to_owned());
        let mut failed = update(vec![]);
        complete(&mut failed, &facts);
        assert!(!programmed(&failed).0[0].is_true(), "what runs is not what was asked for");
    }

    #[test]
    fn a_listener_that_cannot_be_programmed_stays_so() {
        let facts =
            GatewayFacts { generation: Some(7), programmed: 1, replicas: 1, ..GatewayFacts::default() };
        let mut invalid = update(vec![Condition::no("Programmed", "Invalid", "no certificate")]);
        complete(&mut invalid, &facts);
        let (gateway, listener) = programmed(&invalid);
        assert!(gateway[0].is_true());
        assert_eq!(listener.len(), 1);
        assert_eq!((listener[0].is_true(), listener[0].reason), (false, "Invalid"));
    }
}
