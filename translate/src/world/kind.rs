//! The kinds of objects that are read.

/// Declares kinds: variant, group, kind, plural, versions (the preferred one first) and scope.
macro_rules! kinds {
    ($($kind:ident: $group:literal $name:literal $plural:literal [$($version:literal),+] $scope:ident,)*) => {
        /// A kind of object that is read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the names say it")]
        pub enum Kind { $($kind,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The API group; empty for the core's.
            pub const fn group(self) -> &'static str {
                match self { $(Self::$kind => $group,)* }
            }

            /// What an object's `kind` says.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The name in URLs and RBAC rules.
            pub const fn plural(self) -> &'static str {
                match self { $(Self::$kind => $plural,)* }
            }

            /// The versions that are understood, the one to ask for first. All have one shape for what is read here.
            pub const fn versions(self) -> &'static [&'static str] {
                match self { $(Self::$kind => &[$($version,)+],)* }
            }

            /// Whether its objects live in namespaces.
            pub const fn is_namespaced(self) -> bool {
                match self { $(Self::$kind => kinds!(@ $scope),)* }
            }
        }
    };
    (@ namespaced) => { true };
    (@ cluster) => { false };
}

kinds! {
    GatewayClass: "gateway.networking.k8s.io" "GatewayClass" "gatewayclasses" ["v1", "v1beta1"] cluster,
    Gateway: "gateway.networking.k8s.io" "Gateway" "gateways" ["v1", "v1beta1"] namespaced,
    ListenerSet: "gateway.networking.k8s.io" "ListenerSet" "listenersets" ["v1"] namespaced,
    HttpRoute: "gateway.networking.k8s.io" "HTTPRoute" "httproutes" ["v1", "v1beta1"] namespaced,
    ReferenceGrant: "gateway.networking.k8s.io" "ReferenceGrant" "referencegrants" ["v1", "v1beta1"] namespaced,
    BackendTlsPolicy: "gateway.networking.k8s.io" "BackendTLSPolicy" "backendtlspolicies" ["v1", "v1alpha3"] namespaced,
    InferencePool: "inference.networking.k8s.io" "InferencePool" "inferencepools" ["v1"] namespaced,
    InferenceObjective: "llm-d.ai" "InferenceObjective" "inferenceobjectives" ["v1alpha2"] namespaced,
    LegacyInferenceObjective:
        "inference.networking.x-k8s.io" "InferenceObjective" "inferenceobjectives" ["v1alpha2"] namespaced,
    InferenceModelRewrite: "llm-d.ai" "InferenceModelRewrite" "inferencemodelrewrites" ["v1alpha2"] namespaced,
    LegacyInferenceModelRewrite:
        "inference.networking.x-k8s.io" "InferenceModelRewrite" "inferencemodelrewrites" ["v1alpha2"] namespaced,
    AiGatewayRoute:
        "aigateway.envoyproxy.io" "AIGatewayRoute" "aigatewayroutes" ["v1beta1", "v1alpha1"] namespaced,
    AiServiceBackend:
        "aigateway.envoyproxy.io" "AIServiceBackend" "aiservicebackends" ["v1beta1", "v1alpha1"] namespaced,
    BackendSecurityPolicy:
        "aigateway.envoyproxy.io" "BackendSecurityPolicy" "backendsecuritypolicies" ["v1beta1", "v1alpha1"] namespaced,
    GatewayConfig: "aigateway.envoyproxy.io" "GatewayConfig" "gatewayconfigs" ["v1beta1", "v1alpha1"] namespaced,
    Backend: "gateway.envoyproxy.io" "Backend" "backends" ["v1alpha1"] namespaced,
    EnvoyProxy: "gateway.envoyproxy.io" "EnvoyProxy" "envoyproxies" ["v1alpha1"] namespaced,
    SecurityPolicy: "gateway.envoyproxy.io" "SecurityPolicy" "securitypolicies" ["v1alpha1"] namespaced,
    ClientTrafficPolicy:
        "gateway.envoyproxy.io" "ClientTrafficPolicy" "clienttrafficpolicies" ["v1alpha1"] namespaced,
    BackendTrafficPolicy:
        "gateway.envoyproxy.io" "BackendTrafficPolicy" "backendtrafficpolicies" ["v1alpha1"] namespaced,
    EnvoyExtensionPolicy:
        "gateway.envoyproxy.io" "EnvoyExtensionPolicy" "envoyextensionpolicies" ["v1alpha1"] namespaced,
    EnvoyPatchPolicy: "gateway.envoyproxy.io" "EnvoyPatchPolicy" "envoypatchpolicies" ["v1alpha1"] namespaced,
    QuotaPolicy: "aigateway.envoyproxy.io" "QuotaPolicy" "quotapolicies" ["v1beta1", "v1alpha1"] namespaced,
    XBackendTrafficPolicy:
        "gateway.networking.x-k8s.io" "XBackendTrafficPolicy" "xbackendtrafficpolicies" ["v1alpha1"] namespaced,
    GrpcRoute: "gateway.networking.k8s.io" "GRPCRoute" "grpcroutes" ["v1"] namespaced,
    TlsRoute:
        "gateway.networking.k8s.io" "TLSRoute" "tlsroutes" ["v1", "v1alpha3", "v1alpha2"] namespaced,
    TcpRoute: "gateway.networking.k8s.io" "TCPRoute" "tcproutes" ["v1", "v1alpha2"] namespaced,
    UdpRoute: "gateway.networking.k8s.io" "UDPRoute" "udproutes" ["v1", "v1alpha2"] namespaced,
    McpRoute: "aigateway.envoyproxy.io" "MCPRoute" "mcproutes" ["v1beta1", "v1alpha1"] namespaced,
    HttpRouteFilter: "gateway.envoyproxy.io" "HTTPRouteFilter" "httproutefilters" ["v1alpha1"] namespaced,
    XListenerSet: "gateway.networking.x-k8s.io" "XListenerSet" "xlistenersets" ["v1alpha1"] namespaced,
    LegacyInferencePool:
        "inference.networking.x-k8s.io" "InferencePool" "inferencepools" ["v1alpha2"] namespaced,
    LegacyInferenceModel:
        "inference.networking.x-k8s.io" "InferenceModel" "inferencemodels" ["v1alpha2"] namespaced,
    InferencePoolImport:
        "inference.networking.x-k8s.io" "InferencePoolImport" "inferencepoolimports" ["v1alpha1"] namespaced,
    XMesh: "gateway.networking.x-k8s.io" "XMesh" "xmeshes" ["v1alpha1"] cluster,
    Service: "" "Service" "services" ["v1"] namespaced,
    EndpointSlice: "discovery.k8s.io" "EndpointSlice" "endpointslices" ["v1"] namespaced,
    Pod: "" "Pod" "pods" ["v1"] namespaced,
    Secret: "" "Secret" "secrets" ["v1"] namespaced,
    ConfigMap: "" "ConfigMap" "configmaps" ["v1"] namespaced,
    Deployment: "apps" "Deployment" "deployments" ["v1"] namespaced,
    Namespace: "" "Namespace" "namespaces" ["v1"] cluster,
}

impl Kind {
    /// The kind that an object's `apiVersion` and `kind` name, whatever the version.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Self::in_group(group, kind)
    }

    /// The kind that a reference's `group` and `kind` name.
    pub fn in_group(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == kind && known.group() == group)
    }

    /// The `apiVersion` of the preferred version.
    pub fn api_version(self) -> String {
        match (self.group(), self.versions()[0]) {
            ("", version) => version.to_owned(),
            (group, version) => format!("{group}/{version}"),
        }
    }

    /// Whether its objects are configuration for a gateway, not the cluster's own things. Only their annotations and
    /// status are kept, and only their unread fields are told.
    pub fn is_configuration(self) -> bool {
        self < Self::Service
    }

    /// Whether nobody here acts on its objects, or on the least of what they can say. Of those no more is kept than that
    /// and what tells whom they concern.
    pub fn is_unsupported(self) -> bool {
        (Self::SecurityPolicy..=Self::XMesh).contains(&self)
    }

    /// Whether metadata tell all that is to be known of its objects.
    pub fn is_metadata_only(self) -> bool {
        (Self::XListenerSet..=Self::XMesh).contains(&self)
    }
}
