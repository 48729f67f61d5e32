//! What a translation depends on beside the objects.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use penstock_config::raw::RawLimitStore;
use penstock_config::{GenAiConvention, NoProfileCheck, ProfileCheck};

use crate::world::Key;

/// The controller name of GatewayClasses that are ours.
pub const DEFAULT_CONTROLLER: &str = "penstock.dev/gateway-controller";

/// The controller name of Envoy Gateway's GatewayClasses, which are taken over if the operator is told so.
pub const ENVOY_GATEWAY_CONTROLLER: &str = "gateway.envoyproxy.io/gatewayclass-controller";

/// The port of a data plane's admin listener, which clients cannot have.
pub const ADMIN_PORT: u16 = 9901;

/// Whether GatewayClasses of Envoy Gateway are taken over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Adoption {
    /// They are left alone.
    #[default]
    None,
    /// They are ours, unless Envoy Gateway's own controller runs.
    EnvoyGateway,
}

/// What a translation depends on beside the objects.
#[derive(Clone)]
pub struct Options {
    /// The controller name of our GatewayClasses.
    pub controller_name: String,
    /// Whether Envoy Gateway's classes are taken over.
    pub adoption: Adoption,
    /// The only Gateway that is translated; all if `None`.
    pub gateway: Option<Key>,
    /// The version of the Gateway API whose definitions are installed (`gateway.networking.k8s.io/bundle-version`), if
    /// known.
    pub gateway_api_version: Option<String>,
    /// Kinds that the cluster has of the projects whose kinds are read, and that nobody here knows, as `plural.group`.
    pub unknown_kinds: BTreeSet<String>,
    /// The domain of the cluster's Services.
    pub cluster_domain: String,
    /// Whether a Service that has no EndpointSlices is reached by its DNS name, as offline, where nobody makes slices.
    pub use_dns_without_slices: bool,
    /// Whether Backends may name the data plane's own host (`localhost`, `127.0.0.1`), as on a laptop. In a cluster
    /// that would let whoever writes Backends reach the admin listener.
    pub allow_loopback: bool,
    /// The address of the admin listener in documents; the format's default if `None`.
    pub admin: Option<SocketAddr>,
    /// Where data planes share the counters of limits; each counts for itself if `None`.
    pub limit_store: Option<RawLimitStore>,
    /// By whose names data planes have metrics of generative AI; if `None`, by OpenTelemetry's, and by Envoy AI Gateway's too
    /// where its classes are taken over.
    pub gen_ai_metrics: Option<Vec<GenAiConvention>>,
    /// Judges `EndpointPickerConfig` documents.
    pub profiles: Arc<dyn ProfileCheck + Send + Sync>,
}

impl Options {
    /// Whether GatewayClasses with this controller name are ours.
    pub fn owns(&self, controller_name: &str) -> bool {
        controller_name == self.controller_name
            || self.adoption == Adoption::EnvoyGateway && controller_name == ENVOY_GATEWAY_CONTROLLER
    }

    /// The controller names that are ours: entries of theirs in shared statuses are ours to take back.
    pub fn controllers(&self) -> Vec<String> {
        let adopted = (self.adoption == Adoption::EnvoyGateway).then(|| ENVOY_GATEWAY_CONTROLLER.to_owned());
        std::iter::once(self.controller_name.clone()).chain(adopted).collect()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controller_name: DEFAULT_CONTROLLER.to_owned(),
            adoption: Adoption::None,
            gateway: None,
            gateway_api_version: None,
            unknown_kinds: BTreeSet::new(),
            cluster_domain: "cluster.local".to_owned(),
            use_dns_without_slices: false,
            allow_loopback: false,
            admin: Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, ADMIN_PORT))),
            limit_store: None,
            gen_ai_metrics: None,
            profiles: Arc::new(NoProfileCheck),
        }
    }
}

/// Names that metrics of generative AI have, as [`gen_ai_metrics`] reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenAiMetrics(pub Vec<GenAiConvention>);

/// Reads `OpenTelemetry`, `EnvoyAIGateway`, both with a comma between them, or `None`.
///
/// # Errors
/// It is none of these.
pub fn gen_ai_metrics(text: &str) -> Result<GenAiMetrics, String> {
    if text == "None" {
        return Ok(GenAiMetrics(Vec::new()));
    }
    let named = text.split(',').map(|name| match name {
        "OpenTelemetry" => Ok(GenAiConvention::OpenTelemetry),
        "EnvoyAIGateway" => Ok(GenAiConvention::EnvoyAIGateway),
        other => Err(format!(
            "{other:?} is no convention: write OpenTelemetry, EnvoyAIGateway, both with a comma between them, or None"
        )),
    });
    named.collect::<Result<_, _>>().map(GenAiMetrics)
}

impl Options {
    /// By whose names data planes have metrics of generative AI.
    pub(crate) fn gen_ai_metrics(&self) -> Vec<GenAiConvention> {
        let theirs = (self.adoption == Adoption::EnvoyGateway).then_some(GenAiConvention::EnvoyAIGateway);
        let default = || [GenAiConvention::OpenTelemetry].into_iter().chain(theirs).collect();
        self.gen_ai_metrics.clone().unwrap_or_else(default)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("controller_name", &self.controller_name)
            .field("adoption", &self.adoption)
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}
