//! References from one object to another, and the grants that allow them across namespaces.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Body;

/// A route's reference to what it attaches to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentRef {
    /// `gateway.networking.k8s.io` if left out.
    #[schemars(extend("x-default" = "gateway.networking.k8s.io"))]
    pub group: Option<String>,
    /// `Gateway` if left out.
    #[schemars(extend("x-default" = "Gateway"))]
    pub kind: Option<String>,
    /// The referring object's if left out.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// One listener's name.
    pub section_name: Option<String>,
    /// One port.
    pub port: Option<u16>,
}

/// A reference to an object of any kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// The group; the default depends on where the reference stands.
    pub group: Option<String>,
    /// The kind; the default depends on where the reference stands.
    pub kind: Option<String>,
    /// The referring object's if left out.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// A reference to an object of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalRef {
    /// The group; the core's if left out.
    pub group: Option<String>,
    /// The kind.
    pub kind: Option<String>,
    /// The name.
    pub name: String,
}

/// A policy's reference to what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRef {
    /// The group; the core's if left out.
    pub group: Option<String>,
    /// The kind.
    pub kind: Option<String>,
    /// The name.
    pub name: String,
    /// A port: of a Service by its name, of a Backend by its number.
    pub section_name: Option<String>,
}

/// A reference to a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretRef {
    /// Empty if left out.
    pub group: Option<String>,
    /// `Secret` if left out.
    pub kind: Option<String>,
    /// The referring object's if left out.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// `ReferenceGrant`: who may refer to objects of the namespace it stands in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReferenceGrant {
    /// Who may refer.
    pub from: Vec<ReferenceGrantFrom>,
    /// To what.
    pub to: Vec<ReferenceGrantTo>,
}

/// Objects that may refer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReferenceGrantFrom {
    /// Their group.
    pub group: String,
    /// Their kind.
    pub kind: String,
    /// Their namespace.
    pub namespace: String,
}

/// Objects that may be referred to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReferenceGrantTo {
    /// Their group.
    pub group: String,
    /// Their kind.
    pub kind: String,
    /// One of them; all if left out.
    pub name: Option<String>,
}

impl Body for ReferenceGrant {}

/// A port of a Service, or a Backend.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalAuthBackendRef {
    /// The group; the core's if left out.
    pub group: Option<String>,
    /// `Service` if left out.
    pub kind: Option<String>,
    /// That of who refers to it if left out.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// Of a Service: the port.
    pub port: Option<u16>,
}
