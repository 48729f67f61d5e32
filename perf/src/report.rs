//! What a run of the load generator found, and the forms in which it is told.

mod block;
mod html;
pub mod plot;
pub mod schema;

pub(crate) use self::html::page;
pub use self::{block::block, html::html};
