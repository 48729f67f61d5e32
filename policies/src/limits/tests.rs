mod local;
mod shared;
mod shared_examples;
mod shared_keys;
mod store;
