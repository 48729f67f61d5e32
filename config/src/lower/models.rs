//! Lowering what is known of models.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::text;
use crate::knob::Size;
use crate::raw::RawModel;
use crate::report::{FieldPath, Quoted, Report, Suggestion};
use crate::settings::Limits;
use crate::spec::ModelEntry;

/// The models that rules name exactly, each once, in document order.
#[derive(Default)]
pub(super) struct Models {
    entries: Vec<ModelEntry>,
    known: FxHashMap<Arc<str>, usize>,
}

impl Models {
    /// Adds a model, of which its route says when it came to be and who offers it.
    pub(super) fn add(&mut self, id: &str, created: u64, owned_by: &str) {
        if !self.known.contains_key(id) {
            let id: Arc<str> = id.into();
            self.known.insert(id.clone(), self.entries.len());
            let owned_by = owned_by.into();
            self.entries.push(ModelEntry {
                id,
                created,
                owned_by,
                max_model_len: None,
                root: None,
                parent: None,
            });
        }
    }

    /// Takes over what the document says of single models, which wins over what their routes say.
    pub(super) fn describe(&mut self, raw: &[RawModel], report: &mut Report, warnings: &mut Report) {
        let place = FieldPath::Root.field("models");
        let mut first: FxHashMap<&str, usize> = FxHashMap::default();
        for (index, raw) in raw.iter().enumerate() {
            let place = place.index(index);
            let name_place = place.field("name");
            let created = raw.created_at.as_deref().map(text::unix_time);
            if let Some(Err(message)) = &created {
                report.add(&place.field("createdAt"), || message.clone());
            }
            if let Some(other) = first.insert(&raw.name, index) {
                let message = || format!("{} is the name of models[{other}] already", Quoted(&raw.name));
                report.add(&name_place, message);
                continue;
            }
            let Some(&position) = self.known.get(&*raw.name) else {
                let suggestion = Suggestion::of(&raw.name, self.entries.iter().map(|entry| &*entry.id));
                warnings.add(&name_place, || {
                    format!("no rule names the model {}, so it is not listed{suggestion}", Quoted(&raw.name))
                });
                continue;
            };
            let entry = &mut self.entries[position];
            entry.created = created.and_then(Result::ok).unwrap_or(entry.created);
            if let Some(owner) = &raw.owned_by {
                entry.owned_by = owner.as_str().into();
            }
            entry.max_model_len = raw.max_model_len;
            entry.root = raw.root.as_deref().map(Into::into);
            entry.parent = raw.parent.as_deref().map(Into::into);
        }
    }

    /// The position of each model.
    pub(super) fn positions(&self) -> FxHashMap<&str, usize> {
        self.known.iter().map(|(id, position)| (&**id, *position)).collect()
    }

    /// All of them.
    pub(super) fn into_entries(self) -> Vec<ModelEntry> {
        self.entries
    }
}

/// Checks the name of a model that requests may have up to `limit` bytes of.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_name(name: &str, limit: Size) -> Result<(), String> {
    text::named_model(name)?;
    if name.len() as u64 > limit.0 {
        return Err(format!(
            "{} is longer than limits.modelBytes ({limit}) lets a request name",
            Quoted(name)
        ));
    }
    Ok(())
}

/// Checks a model's name as a document with the default limits does.
///
/// # Errors
/// What is wrong with it.
pub fn check_model_name(name: &str) -> Result<(), String> {
    check_name(name, Size(Limits::default().model_bytes as u64))
}
