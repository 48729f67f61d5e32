//! Running a data plane for each Gateway: the manifests of everything that it takes beside its configuration.
//!
//! Each is written whole by server-side apply, so that a field that nobody here sets (an injected sidecar, a cloud's
//! annotation) stays. Two sources say how it runs: the chart's values for all ([`DataPlane`]), and over them what
//! EnvoyProxy and the Gateway say of this one ([`Provisioning`]).

mod access;
mod budget;
mod defaults;
mod network;
mod workload;

use penstock_translate::Provisioning;

use crate::manifest::{GATEWAY_NAME, Manifest, Owner};

pub use access::role;
pub use defaults::{DataPlane, DefaultsError};

/// The labels that a Gateway's data planes have and other Pods do not, and by which its Service finds them.
pub(crate) fn selector(owner: &Owner) -> [(&'static str, &str); 2] {
    [("app.kubernetes.io/name", APP_NAME), (GATEWAY_NAME, &owner.names.label)]
}

/// What data planes' Pods are called by the label `app.kubernetes.io/name`.
pub const APP_NAME: &str = "penstock";

/// How one Gateway's data plane runs, with nothing left open.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    /// Whose it is.
    pub owner: &'a Owner,
    /// What holds for all.
    pub data_plane: &'a DataPlane,
    /// What holds for this one.
    pub provisioning: &'a Provisioning,
}

impl Settings<'_> {
    /// How many Pods; where it starts, if an autoscaler decides.
    pub fn replicas(&self) -> u32 {
        self.provisioning.replicas.unwrap_or(self.data_plane.replicas)
    }

    /// The most Pods that there may be, by which the interval of scrapes is chosen.
    pub fn expected_replicas(&self) -> u32 {
        self.replicas().max(self.autoscaler_bounds().map_or(0, |(min, _)| min)).max(1)
    }

    /// The fewest and the most Pods of an autoscaler; `None` if there is none.
    pub fn autoscaler_bounds(&self) -> Option<(u32, u32)> {
        let defaults = &self.data_plane.autoscaling;
        match &self.provisioning.autoscaler {
            Some(hpa) => Some((hpa.min_replicas.unwrap_or(1), hpa.max_replicas)),
            None if self.provisioning.replicas.is_some() => None,
            None => defaults.enabled.then_some((defaults.min_replicas, defaults.max_replicas)),
        }
    }

    /// How long requests in flight may go on when a Pod ends.
    pub fn drain(&self) -> std::time::Duration {
        let own = self
            .provisioning
            .drain_timeout
            .as_deref()
            .and_then(|text| penstock_config::Span::parse(text).ok());
        own.map_or(std::time::Duration::from_secs(self.data_plane.drain_seconds), |span| span.0)
    }

    /// What has to be there before anything is published: who may read it.
    pub fn access(&self) -> Vec<Manifest> {
        access::manifests(self)
    }

    /// What runs the data plane. Nothing while its settings are not known.
    pub fn workload(&self) -> Vec<Manifest> {
        if self.provisioning.unresolved.is_some() || self.provisioning.ports.is_empty() {
            return Vec::new();
        }
        let mut manifests = vec![network::service(self), workload::deployment(self)];
        manifests.extend(budget::pod_disruption_budget(self));
        manifests.extend(budget::autoscaler(self));
        manifests.extend(network::policy(self));
        manifests
    }
}

#[cfg(test)]
mod tests;
