//! What somebody else reads or fetches: what was had last stays, and what was never had is told from what is empty.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

/// What a file says or an identity provider sent, as it was had last. Whoever reads or fetches it calls [`set`](Self::set),
/// and leaves it as it is when that fails.
pub struct Held<T> {
    current: ArcSwapOption<T>,
    is_asked_for: AtomicBool,
}

impl<T> Held<T> {
    /// Nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { current: ArcSwapOption::empty(), is_asked_for: AtomicBool::new(false) })
    }

    /// Puts `value` in force.
    pub fn set(&self, value: T) {
        self.current.store(Some(Arc::new(value)));
    }

    /// What is in force; `None` if it was never had.
    pub fn get(&self) -> Option<Arc<T>> {
        self.current.load_full()
    }

    /// Leaves a mark: somebody met what is not in it and may be in a newer one. Costs nothing to repeat, so that clients
    /// cannot make it expensive.
    pub fn ask_again(&self) {
        // Read first: a flood of these must not pass the cache line from core to core.
        if !self.is_asked_for.load(Ordering::Relaxed) {
            self.is_asked_for.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the mark was left since this was last called. Takes it away. How often that leads to a fetch is the caller's
    /// to bound: anybody who can send a request can leave it.
    pub fn asked_again(&self) -> bool {
        self.is_asked_for.swap(false, Ordering::Relaxed)
    }
}

/// Not what is held: digests of keys and passwords are in some.
impl<T> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("is_had", &self.current.load().is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_had_stays_and_what_was_never_had_is_no_empty_thing() {
        let held = Held::new();
        assert_eq!(held.get(), None::<Arc<String>>);
        held.set(String::new());
        assert_eq!(held.get().as_deref().map(String::as_str), Some(""));
        held.set("newer".to_owned());
        assert_eq!(held.get().as_deref().map(String::as_str), Some("newer"));
        assert_eq!(format!("{held:?}"), "Held { is_had: true, .. }");
    }

    #[test]
    fn the_mark_is_taken_once_however_often_it_was_left() {
        let held = Held::<()>::new();
        assert!(!held.asked_again());
        held.ask_again();
        held.ask_again();
        assert_eq!([held.asked_again(), held.asked_again()], [true, false]);
    }
}
