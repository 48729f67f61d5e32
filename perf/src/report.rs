//! Results of a run of the load generator, and their forms: text, JSON, a page with plots.

mod block;
mod html;
pub mod plot;
pub mod schema;

pub(crate) use self::html::page;
pub use self::{block::block, html::html};
