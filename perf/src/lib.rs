//! Measurements of a gateway: the load generator, comparisons, simulation.

pub mod compare;
pub mod load;
mod process;
pub mod report;
pub mod simulate;
pub mod upstream;
