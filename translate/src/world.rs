//! What is known of the cluster: all objects that a translation reads, by kind and name.
//!
//! Objects come as JSON and are decoded once, when they arrive, not with each translation. What a translation does not
//! read is dropped at the door: ten thousand Pods take a few megabytes. A copy of a [`World`] shares its tables, so that
//! one task can translate while another takes in changes.

pub mod fates;
mod id;
mod kind;
mod object;
mod table;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::api;

pub use id::{Key, ObjectId};
pub use kind::Kind;
pub use object::{IGNORE_ANNOTATION, Meta, Object, ObjectError, Resource};
pub use table::Table;
pub use text::shorten;

/// The label of an EndpointSlice that names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// What became of an object that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Which object it is.
    pub id: ObjectId,
    /// Whether something changed that a translation reads. A new status or heartbeat is no such thing.
    pub is_changed: bool,
}

/// Declares the tables of a [`World`] and everything that is done to each of them.
macro_rules! world {
    ($($(#[doc = $doc:literal])* $table:ident: $kind:ident($type:ty),)*) => {
        /// All objects that a translation reads.
        #[derive(Debug, Clone, Default)]
        pub struct World {
            $($(#[doc = $doc])* pub $table: Table<$type>,)*
        }

        impl World {
            /// Takes in an object: JSON as the API server has it, with `apiVersion`, `kind` and `metadata`.
            ///
            /// A `spec` that cannot be read is kept as such, for the status to say so.
            ///
            /// # Errors
            /// It is no object of a kind that is read, or has no name.
            pub fn apply(&mut self, object: Value) -> Result<Applied, ObjectError> {
                match object::kind_of(&object)? {
                    $(Kind::$kind => self.$table.insert(Object::read(Kind::$kind, object)?),)*
                }
            }

            /// Forgets an object. Tells whether it was known.
            pub fn remove(&mut self, id: &ObjectId) -> bool {
                match id.kind {
                    $(Kind::$kind => self.$table.remove(&id.key),)*
                }
            }

            /// Forgets the objects of a kind for which `keep` is false, as after a new listing. Tells whether there
            /// were any.
            pub fn retain(&mut self, kind: Kind, keep: impl FnMut(&Key) -> bool) -> bool {
                match kind {
                    $(Kind::$kind => self.$table.retain(keep),)*
                }
            }

            /// The objects whose bodies cannot be read, and why.
            pub fn unreadable(&self) -> Vec<(ObjectId, &str)> {
                let mut found = Vec::new();
                $(for (key, object) in self.$table.iter() {
                    if let Err(error) = &object.spec {
                        found.push((ObjectId { kind: Kind::$kind, key: key.clone() }, error.as_str()));
                    }
                })*
                found
            }

            /// An object's metadata and its status as last seen.
            pub fn meta(&self, id: &ObjectId) -> Option<(&Meta, &Value)> {
                match id.kind {
                    $(Kind::$kind => self.$table.get(&id.key).map(|object| (&object.meta, &object.status)),)*
                }
            }
        }

        $(impl Resource for $type {
            const KIND: Kind = Kind::$kind;
        })*
    };
}

world! {
    /// Gateway API.
    gateway_classes: GatewayClass(api::GatewayClass),
    /// Gateway API.
    gateways: Gateway(api::Gateway),
    /// Gateway API.
    listener_sets: ListenerSet(api::ListenerSet),
    /// Gateway API.
    http_routes: HttpRoute(api::HttpRoute),
    /// Gateway API.
    reference_grants: ReferenceGrant(api::ReferenceGrant),
    /// Gateway API.
    backend_tls_policies: BackendTlsPolicy(api::BackendTlsPolicy),
    /// Gateway API Inference Extension.
    pools: InferencePool(api::InferencePool),
    /// Of the group `llm-d.ai`.
    objectives: InferenceObjective(api::InferenceObjective),
    /// Of the group `inference.networking.x-k8s.io`.
    legacy_objectives: LegacyInferenceObjective(api::LegacyInferenceObjective),
    /// Of the group `llm-d.ai`.
    rewrites: InferenceModelRewrite(api::InferenceModelRewrite),
    /// Of the group `inference.networking.x-k8s.io`.
    legacy_rewrites: LegacyInferenceModelRewrite(api::LegacyInferenceModelRewrite),
    /// Envoy AI Gateway.
    ai_routes: AiGatewayRoute(api::AiGatewayRoute),
    /// Envoy AI Gateway.
    ai_backends: AiServiceBackend(api::AiServiceBackend),
    /// Envoy AI Gateway.
    security_policies: BackendSecurityPolicy(api::BackendSecurityPolicy),
    /// Envoy AI Gateway.
    gateway_configs: GatewayConfig(api::GatewayConfig),
    /// Envoy Gateway.
    backends: Backend(api::Backend),
    /// Envoy Gateway.
    envoy_proxies: EnvoyProxy(api::EnvoyProxy),
    /// Envoy Gateway. Of this and the next ones little is acted on, or nothing: see [`Kind::is_unsupported`].
    access_policies: SecurityPolicy(api::SecurityPolicy),
    /// Envoy Gateway.
    client_policies: ClientTrafficPolicy(api::ClientTrafficPolicy),
    /// Envoy Gateway.
    traffic_policies: BackendTrafficPolicy(api::BackendTrafficPolicy),
    /// Envoy Gateway.
    extension_policies: EnvoyExtensionPolicy(api::EnvoyExtensionPolicy),
    /// Envoy Gateway.
    patch_policies: EnvoyPatchPolicy(api::EnvoyPatchPolicy),
    /// Envoy AI Gateway.
    quota_policies: QuotaPolicy(api::QuotaPolicy),
    /// Gateway API.
    x_traffic_policies: XBackendTrafficPolicy(api::XBackendTrafficPolicy),
    /// Gateway API.
    grpc_routes: GrpcRoute(api::GrpcRoute),
    /// Gateway API.
    tls_routes: TlsRoute(api::TlsRoute),
    /// Gateway API.
    tcp_routes: TcpRoute(api::TcpRoute),
    /// Gateway API.
    udp_routes: UdpRoute(api::UdpRoute),
    /// Envoy AI Gateway.
    mcp_routes: McpRoute(api::McpRoute),
    /// Envoy Gateway.
    route_filters: HttpRouteFilter(api::HttpRouteFilter),
    /// Gateway API.
    x_listener_sets: XListenerSet(api::XListenerSet),
    /// Gateway API Inference Extension.
    legacy_pools: LegacyInferencePool(api::LegacyInferencePool),
    /// Gateway API Inference Extension.
    legacy_models: LegacyInferenceModel(api::LegacyInferenceModel),
    /// Gateway API Inference Extension.
    pool_imports: InferencePoolImport(api::InferencePoolImport),
    /// Gateway API.
    x_meshes: XMesh(api::XMesh),
    /// Kubernetes.
    services: Service(api::Service),
    /// Kubernetes.
    endpoint_slices: EndpointSlice(api::EndpointSlice),
    /// Kubernetes.
    pods: Pod(api::Pod),
    /// Kubernetes. Only those that [`Translation::wanted`](crate::Translation::wanted) names are needed.
    secrets: Secret(api::Secret),
    /// Kubernetes. Only those that [`Translation::wanted`](crate::Translation::wanted) names are needed.
    config_maps: ConfigMap(api::ConfigMap),
    /// Kubernetes.
    deployments: Deployment(api::Deployment),
    /// Kubernetes.
    namespaces: Namespace(api::Namespace),
}

impl World {
    /// The labels of a namespace, with that of its name, which every one has.
    pub(crate) fn namespace_labels(&self, name: &str) -> BTreeMap<String, String> {
        const NAME_LABEL: &str = "kubernetes.io/metadata.name";
        let namespace = self.namespaces.get(&Key::cluster(name));
        let mut labels = namespace.map(|it| it.meta.labels.clone()).unwrap_or_default();
        labels.entry(NAME_LABEL.to_owned()).or_insert_with(|| name.to_owned());
        labels
    }

    /// The slices of a Service.
    pub fn slices_of<'a>(
        &'a self,
        service: &'a Key,
    ) -> impl Iterator<Item = &'a Arc<Object<api::EndpointSlice>>> {
        let of_service = |slice: &&Arc<Object<api::EndpointSlice>>| {
            slice.meta.labels.get(SERVICE_LABEL) == Some(&service.name)
        };
        self.endpoint_slices.in_namespace(&service.namespace).map(|(_, slice)| slice).filter(of_service)
    }
}

#[cfg(test)]
mod tests;
