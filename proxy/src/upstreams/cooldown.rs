//! Upstreams that are left alone for a while, by every request of the process, because they said so (`Retry-After` and its
//! kin) or because they said that they are overloaded.
//!
//! Kept apart from ejection, which judges endpoints by what they do: who answers 429 with a time is well, and knows best
//! when it can serve again. A pool's endpoint speaks for itself, whatever the model. A hosted API has many addresses behind
//! one name, and its limits are the model's: all of it is left alone, for that model.
//!
//! Where nothing is left alone, which is nearly always, a request pays for one relaxed load.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::chosen::EndpointKey;

/// The longest time that anybody is left alone. A provider may ask for a day; whether its limit was raised meanwhile is
/// found out by asking.
const MAX_TIME: Duration = Duration::from_secs(10 * 60);

/// How many are remembered for one upstream. Models are named by clients, so there is a bound; the one that ends soonest
/// makes room.
const MAX_ENTRIES: usize = 256;

/// Who is left alone. What is `None` is all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The endpoint.
    pub(crate) endpoint: Option<EndpointKey>,
    /// The model, as it is called there.
    pub(crate) model: Option<Box<str>>,
}

/// Who is left alone at one pool or backend, and until when. Outlives configurations.
#[derive(Debug, Default)]
pub(crate) struct Cooldowns {
    is_any: AtomicBool,
    entries: Mutex<Vec<Entry>>,
}

/// What a request that asks for a model has to know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cooling {
    /// Whether nobody at the upstream is to be asked.
    pub(crate) is_whole: bool,
    /// Who is not, otherwise.
    pub(crate) endpoints: Vec<EndpointKey>,
    /// When the first of these may be asked again.
    pub(crate) until: Instant,
    /// Whether none of them asked for it: better to ask them than nobody.
    pub(crate) is_guess: bool,
}

#[derive(Debug)]
struct Entry {
    scope: Scope,
    until: Instant,
    is_guess: bool,
}

impl Cooldowns {
    /// Leaves `scope` alone for `time`, or for as long as anybody is. `is_guess` is whether it did not ask for it.
    pub(crate) fn add(&self, scope: Scope, time: Duration, is_guess: bool, now: Instant) {
        let until = now + time.min(MAX_TIME);
        let mut entries = self.entries.lock();
        entries.retain(|entry| entry.until > now);
        match entries.iter_mut().find(|entry| entry.scope == scope) {
            // What it says itself stands above what is guessed.
            Some(entry) if is_guess && !entry.is_guess => {}
            Some(entry) => (entry.until, entry.is_guess) = (until.max(entry.until), is_guess),
            None => {
                if entries.len() >= MAX_ENTRIES
                    && let Some(soonest) = (0..entries.len()).min_by_key(|at| entries[*at].until)
                {
                    entries.swap_remove(soonest);
                }
                entries.push(Entry { scope, until, is_guess });
            }
        }
        self.is_any.store(true, Relaxed);
    }

    /// Who is not to be asked for `model` now; `None` where that is nobody. Guesses do not count with `takes_guessed`.
    #[inline]
    pub(crate) fn of(&self, model: &str, takes_guessed: bool) -> Option<Cooling> {
        if self.is_any.load(Relaxed) { self.look_up(model, takes_guessed, Instant::now()) } else { None }
    }

    fn look_up(&self, model: &str, takes_guessed: bool, now: Instant) -> Option<Cooling> {
        let mut entries = self.entries.lock();
        entries.retain(|entry| entry.until > now);
        if entries.is_empty() {
            self.is_any.store(false, Relaxed);
            return None;
        }
        let is_meant = |entry: &&Entry| {
            !(entry.is_guess && takes_guessed) && entry.scope.model.as_deref().is_none_or(|of| of == model)
        };
        let mut found: Option<Cooling> = None;
        for entry in entries.iter().filter(is_meant) {
            let cooling = found.get_or_insert_with(|| Cooling {
                is_whole: false,
                endpoints: Vec::new(),
                until: entry.until,
                is_guess: true,
            });
            match entry.scope.endpoint {
                Some(endpoint) => {
                    cooling.endpoints.push(endpoint);
                    cooling.until = cooling.until.min(entry.until);
                }
                // It speaks for all of them.
                None => (cooling.is_whole, cooling.until) = (true, entry.until),
            }
            cooling.is_guess &= entry.is_guess;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn at(port: u16) -> Option<EndpointKey> {
        Some(EndpointKey::Backend(SocketAddr::from(([127, 0, 0, 1], port))))
    }

    fn scope(endpoint: Option<EndpointKey>, model: Option<&str>) -> Scope {
        Scope { endpoint, model: model.map(Box::from) }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_model_of_a_provider_is_left_alone_and_its_others_are_not() {
        let cooldowns = Cooldowns::default();
        assert_eq!(cooldowns.of("a", false), None);
        let now = Instant::now();
        cooldowns.add(scope(None, Some("a")), 7 * SECOND, false, now);
        let cooling = cooldowns.of("a", true).unwrap();
        assert!(cooling.is_whole && !cooling.is_guess);
        assert_eq!(cooling.until, now + 7 * SECOND);
        assert_eq!(cooldowns.of("b", false), None);
        tokio::time::advance(7 * SECOND).await;
        assert_eq!(cooldowns.of("a", false), None);
        assert!(!cooldowns.is_any.load(Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_is_left_alone_for_every_model_and_the_soonest_is_told() {
        let cooldowns = Cooldowns::default();
        let now = Instant::now();
        cooldowns.add(scope(at(1), None), 9 * SECOND, false, now);
        cooldowns.add(scope(at(2), None), 3 * SECOND, true, now);
        let cooling = cooldowns.of("any", false).unwrap();
        assert_eq!((cooling.endpoints.len(), cooling.is_whole, cooling.is_guess), (2, false, false));
        assert_eq!(cooling.until, now + 3 * SECOND);
        assert_eq!(cooldowns.of("any", true).unwrap().endpoints, [at(1).unwrap()]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_left_alone_for_longer_than_the_bound_nor_more_than_are_remembered() {
        let cooldowns = Cooldowns::default();
        let now = Instant::now();
        cooldowns.add(scope(None, Some("long")), 100 * MAX_TIME, false, now);
        assert_eq!(cooldowns.of("long", false).unwrap().until, now + MAX_TIME);
        for index in 0..2 * MAX_ENTRIES {
            cooldowns.add(scope(None, Some(&index.to_string())), SECOND, false, now);
        }
        assert_eq!(cooldowns.entries.lock().len(), MAX_ENTRIES);
        assert!(cooldowns.of("long", false).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_guessed_does_not_take_the_place_of_what_was_asked_for() {
        let cooldowns = Cooldowns::default();
        let now = Instant::now();
        cooldowns.add(scope(None, Some("a")), 9 * SECOND, false, now);
        cooldowns.add(scope(None, Some("a")), SECOND, true, now);
        let cooling = cooldowns.of("a", false).unwrap();
        assert_eq!((cooling.until, cooling.is_guess), (now + 9 * SECOND, false));
    }
}
