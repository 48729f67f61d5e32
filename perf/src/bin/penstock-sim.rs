//! Runs simulated model servers.

fn main() {}
