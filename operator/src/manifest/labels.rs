//! The labels and annotations by which what the operator wrote is known again.

/// Who writes, for server-side apply.
pub const FIELD_MANAGER: &str = "penstock-operator";

/// The label that everything written here has, and nothing else in the cluster should.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "penstock-operator");

/// The label that names the Gateway.
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// The annotation with the hash of what was written.
pub const DIGEST: &str = "penstock.dev/applied";
