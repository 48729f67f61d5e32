mod local;
mod shared;
mod shared_examples;
mod store;
