//! `EndpointPickerConfig` documents and the scheduling profile that they become.

/// Checks `EndpointPickerConfig` documents for the configuration crate.
#[derive(Debug, Clone, Copy, Default)]
pub struct EpcCheck;
