//! What measures and exercises a gateway: the model-server simulator.

pub mod sim;
