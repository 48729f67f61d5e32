//! What measures and exercises a gateway: the model-server simulator, the load generator, comparisons, simulation.

pub mod compare;
pub mod load;
mod process;
pub mod report;
pub mod sim;
pub mod simulate;
pub mod upstream;
