//! The objects of one kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Applied, Key, Object, ObjectId, Resource};

/// The objects of one kind, by name. Copies share their contents until one of them changes.
#[derive(Debug, Clone)]
pub struct Table<T>(Arc<BTreeMap<Key, Arc<Object<T>>>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Table<T> {
    /// The object with this name.
    pub fn get(&self, key: &Key) -> Option<&Arc<Object<T>>> {
        self.0.get(key)
    }

    /// All objects, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Object<T>>)> {
        self.0.iter()
    }

    /// The objects of a namespace, by name.
    pub fn in_namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Object<T>>)> {
        self.0.range(Key::new(namespace, "")..).take_while(move |(key, _)| key.namespace == namespace)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn remove(&mut self, key: &Key) -> bool {
        self.0.contains_key(key) && Arc::make_mut(&mut self.0).remove(key).is_some()
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Key) -> bool) -> bool {
        let gone: Vec<Key> = self.0.keys().filter(|key| !keep(key)).cloned().collect();
        for key in &gone {
            Arc::make_mut(&mut self.0).remove(key);
        }
        !gone.is_empty()
    }
}

impl<T: Resource> Table<T> {
    #[expect(clippy::unnecessary_wraps, reason = "the end of a chain of results")]
    pub(super) fn insert(&mut self, object: Object<T>) -> Result<Applied, super::ObjectError> {
        let key = object.meta.key.clone();
        let is_changed = self.0.get(&key).is_none_or(|old| !old.reads_like(&object));
        Arc::make_mut(&mut self.0).insert(key.clone(), Arc::new(object));
        Ok(Applied { id: ObjectId { kind: T::KIND, key }, is_changed })
    }
}
