//! From Kubernetes objects to routing documents: a pure function of a [`World`].
//!
//! [`translate`] reads everything and says, for each Gateway of ours, what its data plane shall serve, what it needs
//! beside that, and how it shall run; and for each object, what its status shall say. Nothing here talks to a cluster.
//! Endpoints are apart ([`Endpoints`]), because they change a thousand times as often as routes.

mod endpoints;
mod options;
mod output;
mod status;

use crate::world::World;

pub use endpoints::{Endpoints, endpoints};
pub use options::{Adoption, DEFAULT_CONTROLLER, ENVOY_GATEWAY_CONTROLLER, Options};
pub use output::{
    DataSource, EndpointSource, Event, GatewayOutput, HostSource, PortMapping, Provisioning, Severity,
    Translation,
};
pub use status::{
    Condition, ConditionStatus, Entries, FIELDS_NOT_ACTED_ON, ListenerStatus, ParentStatus, Status,
    StatusUpdate, merge,
};

/// What a cluster's objects mean.
pub fn translate(world: &World, options: &Options) -> Translation {
    let _ = (world, options);
    Translation::default()
}
