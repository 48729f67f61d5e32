//! Several gateways and a real Redis: what they admit together, and what faults do to it.

mod command;
mod exact;
mod faults;
mod gateway;
mod modes;
mod server;
mod wire;
