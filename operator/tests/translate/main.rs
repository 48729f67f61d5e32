//! What translations say, over corpora of objects, whole and broken.

mod golden;
mod properties;
mod support;
