//! Kinds that nobody here acts on: what tells whom their objects concern, and nothing else.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::Deserialize;

use super::{Body, LabelRequirement, LabelSelector, ParentRef, TargetRef};

/// What a policy is for, as Envoy Gateway's policies say it; those of others have a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyTargets {
    /// One object. Out of use, and understood.
    pub target_ref: Option<TargetRef>,
    /// Objects of its namespace, by name.
    pub target_refs: Vec<TargetRef>,
    /// Objects by their labels.
    pub target_selectors: Vec<TargetSelector>,
    /// How it goes together with a less specific policy; if left out, it takes its place.
    pub merge_type: Option<String>,
}

/// Objects by their labels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetSelector {
    /// `gateway.networking.k8s.io` if left out.
    pub group: Option<String>,
    /// The kind.
    pub kind: String,
    /// Of which namespaces; the policy's if left out.
    pub namespaces: Option<TargetNamespaces>,
    /// Labels that an object must have.
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions.
    pub match_expressions: Vec<LabelRequirement>,
}

/// Namespaces of objects that are chosen by their labels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetNamespaces {
    /// `Same`, `All` or `Selector`.
    pub from: String,
    /// With `Selector`.
    pub selector: Option<LabelSelector>,
}

/// Routes of kinds that are not served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnsupportedRoute {
    /// What they want to attach to.
    pub parent_refs: Vec<ParentRef>,
}

impl PolicyTargets {
    /// All that it names.
    pub fn named(&self) -> impl Iterator<Item = &TargetRef> {
        self.target_ref.iter().chain(&self.target_refs)
    }
}

impl TargetSelector {
    /// Whether labels meet all conditions.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let has_labels = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        has_labels && self.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }
}

/// Declares kinds whose objects have the same body here: each has a type of its own.
macro_rules! kinds_of {
    ($body:ty: $($(#[doc = $doc:literal])* $name:ident,)*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $body);

        impl Body for $name {}

        impl Deref for $name {
            type Target = $body;

            fn deref(&self) -> &$body {
                &self.0
            }
        }
    )*};
}

kinds_of! { PolicyTargets:
    /// How clients connect.
    ClientTrafficPolicy,
    /// Programs that see requests and responses.
    EnvoyExtensionPolicy,
    /// Changes to Envoy's own configuration.
    EnvoyPatchPolicy,
    /// Budgets of retries, and sessions.
    XBackendTrafficPolicy,
}

kinds_of! { UnsupportedRoute:
    /// gRPC by service and method.
    GrpcRoute,
    /// TLS by the name that is asked for.
    TlsRoute,
    /// TCP.
    TcpRoute,
    /// UDP.
    UdpRoute,
    /// The Model Context Protocol.
    McpRoute,
}

/// Nothing: their metadata is all that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct MetadataOnly {}

kinds_of! { MetadataOnly:
    /// Filters that HTTPRoutes refer to.
    HttpRouteFilter,
    /// Listeners that somebody else adds to a gateway, before they were standard.
    XListenerSet,
    /// Pools, before they were standard.
    LegacyInferencePool,
    /// Models, before objectives took their place.
    LegacyInferenceModel,
    /// Pools of other clusters.
    InferencePoolImport,
    /// A mesh.
    XMesh,
}
