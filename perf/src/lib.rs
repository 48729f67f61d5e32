//! What measures and exercises a gateway: the model-server simulator, the load generator, comparisons, simulation.

pub mod compare;
pub mod load;
pub mod sim;
pub mod simulate;
