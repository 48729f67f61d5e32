//! The LoRA adapters of a server.

use http::Response;
use parking_lot::RwLock;
use serde::Deserialize;

use super::{error::ApiError, request::parse};
use crate::{body::SimBody, options::LoraModule};

/// Adapters by index. An index stays its name's for good, so that the engine can count by it.
#[derive(Debug)]
pub(crate) struct Loras {
    entries: RwLock<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    module: LoraModule,
    is_loaded: bool,
}

#[derive(Deserialize)]
struct LoadRequest {
    lora_name: String,
    #[serde(default)]
    lora_path: String,
}

#[derive(Deserialize)]
struct UnloadRequest {
    lora_name: String,
}

/// Names that can be loaded in a server's life, since no index is ever given up.
const MAX_NAMES: usize = 10_000;

impl Loras {
    pub(crate) fn new(modules: &[LoraModule]) -> Self {
        let entries =
            modules.iter().map(|module| Entry { module: module.clone(), is_loaded: true }).collect();
        Self { entries: RwLock::new(entries) }
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.entries.read().iter().position(|entry| entry.is_loaded && entry.module.name == name)
    }

    pub(super) fn modules(&self) -> Vec<LoraModule> {
        let entries = self.entries.read();
        entries.iter().filter(|entry| entry.is_loaded).map(|entry| entry.module.clone()).collect()
    }

    /// Names of `adapters`, comma-separated.
    pub(super) fn names(&self, adapters: &[usize]) -> String {
        let entries = self.entries.read();
        let names: Vec<_> =
            adapters.iter().filter_map(|at| entries.get(*at)).map(|entry| &*entry.module.name).collect();
        names.join(",")
    }

    pub(super) fn load(&self, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
        let LoadRequest { lora_name: name, lora_path: path } = parse(body)?;
        let mut entries = self.entries.write();
        let is_full = entries.len() == MAX_NAMES;
        match entries.iter_mut().find(|entry| entry.module.name == name) {
            Some(entry) if entry.is_loaded => {
                return Err(ApiError::bad_request(format!(
                    "The lora adapter '{name}' has already been loaded."
                )));
            }
            Some(entry) => {
                entry.is_loaded = true;
                entry.module.path = path;
            }
            None if is_full => {
                return Err(ApiError::bad_request(format!(
                    "No more than {MAX_NAMES} adapters can be loaded."
                )));
            }
            None => {
                let module = LoraModule { name: name.clone(), path, base_model_name: String::new() };
                entries.push(Entry { module, is_loaded: true });
            }
        }
        Ok(Response::new(SimBody::whole(format!("Success: LoRA adapter '{name}' added successfully."))))
    }

    pub(super) fn unload(&self, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
        let UnloadRequest { lora_name: name } = parse(body)?;
        let mut entries = self.entries.write();
        match entries.iter_mut().find(|entry| entry.is_loaded && entry.module.name == name) {
            Some(entry) => entry.is_loaded = false,
            None => return Err(ApiError::not_found(format!("The lora adapter '{name}' cannot be found."))),
        }
        Ok(Response::new(SimBody::whole(format!("Success: LoRA adapter '{name}' removed successfully."))))
    }
}
