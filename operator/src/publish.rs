//! Publishing: what each Gateway's data plane needs, into the cluster, by server-side apply.
//!
//! A [`Plan`] is everything that shall be there for one Gateway. A worker for each Gateway writes what differs, in an
//! order in which nothing refers to what is not there yet, retries by itself, and removes what is no longer wanted. So a
//! namespace whose quota is used up, or an admission webhook that refuses, holds up its own Gateways and no others.

mod document;
mod plan;
mod shard;
mod worker;

pub use document::{Routing, RoutingError};
pub use plan::{Context, Pieces, Plan, PlanError};
pub use shard::{Shard, shards_for};
pub use worker::{Progress, Workers};

/// On a routing ConfigMap: in how many parts the document is.
pub const PARTS: &str = "penstock.dev/parts";

/// On a routing ConfigMap: the SHA-256 of the whole document, the same on every part.
pub const DOCUMENT_DIGEST: &str = "penstock.dev/digest";

/// On a routing ConfigMap: the document's generation.
pub const GENERATION: &str = "penstock.dev/generation";

/// On a routing ConfigMap: the hash of the document without its generation, which tells whether it needs a new one.
pub const CONTENT: &str = "penstock.dev/content";

/// The most bytes of a document in one ConfigMap. The API server's limit is 1 MiB for the whole object.
pub const MAX_PART_BYTES: usize = 900 << 10;
