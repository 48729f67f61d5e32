//! The kinds of objects that the operator writes.

use kube::discovery::ApiResource;

/// Declares the kinds that are written.
macro_rules! owned_kinds {
    ($($kind:ident: $group:literal $version:literal $plural:literal $drift:ident,)*) => {
        /// A kind of object that the operator writes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the names say it")]
        pub enum OwnedKind { $($kind,)* }

        impl OwnedKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// What an object's `kind` says.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind),)* }
            }

            /// As the client addresses it.
            pub fn resource(self) -> ApiResource {
                let (group, version, plural) = match self { $(Self::$kind => ($group, $version, $plural),)* };
                ApiResource {
                    group: group.to_owned(),
                    version: version.to_owned(),
                    api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
                    kind: self.name().to_owned(),
                    plural: plural.to_owned(),
                }
            }

            /// How it shows that somebody else wrote to one.
            pub(crate) const fn drift(self) -> Drift {
                match self { $(Self::$kind => Drift::$drift,)* }
            }
        }
    };
}

/// How it shows that somebody else wrote to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drift {
    /// By its resource version: nothing but its content changes.
    Version,
    /// By its generation: the cluster writes its status all the time.
    Generation,
    /// Not at all: its status changes all the time, and it has no generation.
    Hidden,
}

owned_kinds! {
    ConfigMap: "" "v1" "configmaps" Version,
    Secret: "" "v1" "secrets" Version,
    ServiceAccount: "" "v1" "serviceaccounts" Version,
    Role: "rbac.authorization.k8s.io" "v1" "roles" Version,
    RoleBinding: "rbac.authorization.k8s.io" "v1" "rolebindings" Version,
    Service: "" "v1" "services" Version,
    Deployment: "apps" "v1" "deployments" Generation,
    PodDisruptionBudget: "policy" "v1" "poddisruptionbudgets" Generation,
    HorizontalPodAutoscaler: "autoscaling" "v2" "horizontalpodautoscalers" Hidden,
    NetworkPolicy: "networking.k8s.io" "v1" "networkpolicies" Generation,
}

/// The name of an object that the operator writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnedKey {
    /// Its kind.
    pub kind: OwnedKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}
