//! Whether a pool can take a request: the utilization detector.
//!
//! An endpoint's utilization is the larger of its queue and its KV cache, each as a share of a threshold. Of several
//! engines behind one address, each has a queue: the threshold holds for their mean. A pool is
//! *saturated* when its endpoints' mean reaches 1: then requests of a priority below zero are shed. It is *full* when
//! every endpoint is, which is what makes other requests wait or fail; see `docs/design/saturation.md` for the two
//! meanings of a full endpoint. An endpoint whose load is unknown is neither.

use penstock_config::SaturationAction;

use crate::load::Load;

/// Multiple of the queue threshold at which an endpoint is full whatever its KV cache says: 1,000 requests by
/// default, as many as fit the queue of a server that bounds it.
const HOPELESS_QUEUE: f64 = 200.0;

/// Thresholds of the utilization detector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Detector {
    /// Requests waiting at an engine.
    pub(crate) queue_depth: f64,
    /// Share of the KV cache, above 0 and at most 1.
    pub(crate) kv_usage: f64,
    /// By how much, as a share, the filter lets an endpoint exceed the thresholds.
    pub(crate) headroom: f64,
}

/// Adds endpoints up to a pool's saturation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gauge {
    sum: f64,
    known: u32,
    endpoints: u32,
    full: u32,
}

impl Default for Detector {
    fn default() -> Self {
        Self { queue_depth: 5.0, kv_usage: 0.8, headroom: 0.0 }
    }
}

impl Detector {
    /// How much of its thresholds an endpoint uses; `None` where its load is unknown.
    pub(crate) fn utilization(&self, load: &Load) -> Option<f64> {
        let kv_usage = load.kv_usage?;
        let (queue, cache) = (queue(load, load.waiting) / self.queue_depth, kv_usage / self.kv_usage);
        // Neither can be NaN, which `max` would look for.
        Some(if queue > cache { queue } else { cache })
    }

    /// Whether the endpoint exceeds no threshold by more than the headroom.
    pub(crate) fn has_room(&self, load: &Load) -> bool {
        let allowed = 1.0 + self.headroom;
        let kv_limit = (self.kv_usage * allowed).min(1.0);
        load.kv_usage.is_none_or(|kv_usage| {
            queue(load, load.waiting) <= self.queue_depth * allowed && kv_usage <= kv_limit
        })
    }

    /// Whether the endpoint is full. A request that can wait here is held back as soon as one threshold is reached;
    /// one that would be refused only when the endpoint has both a queue and no memory left for it, and said so
    /// itself: the correction for what was sent since is an estimate, which may spread requests but fails nobody.
    fn is_full(&self, load: &Load, action: SaturationAction) -> bool {
        let Some(kv_usage) = load.kv_usage else { return false };
        let waiting = queue(load, load.waiting);
        match action {
            SaturationAction::Queue => waiting >= self.queue_depth || kv_usage >= self.kv_usage,
            SaturationAction::Reject => {
                self.is_hopeless(waiting, kv_usage)
                    && self.is_hopeless(queue(load, load.reported.waiting), load.reported.kv_usage)
            }
        }
    }

    fn is_hopeless(&self, waiting: f64, kv_usage: f64) -> bool {
        waiting >= self.queue_depth
            && (kv_usage >= self.kv_usage || waiting >= self.queue_depth * HOPELESS_QUEUE)
    }
}

/// Requests that wait at each engine of an endpoint, on average.
fn queue(load: &Load, waiting: u32) -> f64 {
    load.engines.share(f64::from(waiting))
}

impl Gauge {
    /// Adds an endpoint that may be sent requests.
    pub(crate) fn add(&mut self, detector: &Detector, load: &Load, action: SaturationAction) {
        self.endpoints += 1;
        if let Some(utilization) = detector.utilization(load) {
            self.sum += utilization;
            self.known += 1;
            self.full += u32::from(detector.is_full(load, action));
        }
    }

    /// Mean utilization of the endpoints whose load is known; 0 without any.
    pub(crate) fn saturation(&self) -> f64 {
        if self.known == 0 { 0.0 } else { self.sum / f64::from(self.known) }
    }

    /// Whether the mean has reached the thresholds.
    pub(crate) fn is_saturated(&self) -> bool {
        self.saturation() >= 1.0
    }

    /// Whether every endpoint is full.
    pub(crate) fn is_full(&self) -> bool {
        self.endpoints > 0 && self.full == self.endpoints
    }
}

#[cfg(test)]
mod tests {
    use penstock_config::SaturationAction::{Queue, Reject};

    use super::{Detector, Gauge};
    use crate::load::{EngineCount, Load, ReportedLoad};

    /// As the server said it itself.
    fn load(waiting: u32, kv_usage: f64) -> Load {
        Load { reported: ReportedLoad { waiting, kv_usage }, ..estimate(waiting, kv_usage) }
    }

    /// By what was sent to a server that was at rest.
    fn estimate(waiting: u32, kv_usage: f64) -> Load {
        Load { waiting, kv_usage: Some(kv_usage), ..Load::default() }
    }

    #[test]
    fn utilization_is_the_tighter_of_queue_and_cache() {
        let detector = Detector::default();
        assert_eq!(detector.utilization(&load(5, 0.0)), Some(1.0));
        assert_eq!(detector.utilization(&load(0, 0.8)), Some(1.0));
        assert_eq!(detector.utilization(&load(10, 0.4)), Some(2.0));
        assert_eq!(detector.utilization(&Load::default()), None);
    }

    #[test]
    fn saturation_is_the_mean_of_what_is_known() {
        let mut gauge = Gauge::default();
        assert!(!gauge.is_saturated());
        gauge.add(&Detector::default(), &load(10, 0.0), Reject);
        gauge.add(&Detector::default(), &Load { waiting: 99, ..Load::default() }, Reject);
        assert_eq!(gauge.saturation(), 2.0);
        gauge.add(&Detector::default(), &load(0, 0.0), Reject);
        assert!(gauge.is_saturated());
        gauge.add(&Detector::default(), &load(0, 0.0), Reject);
        assert!(!gauge.is_saturated());
    }

    #[test]
    fn an_endpoint_of_unknown_load_keeps_a_pool_from_being_full() {
        let mut gauge = Gauge::default();
        gauge.add(&Detector::default(), &load(100, 1.0), Reject);
        assert!(gauge.is_full());
        gauge.add(&Detector::default(), &Load { waiting: 9999, ..Load::default() }, Reject);
        assert!(!gauge.is_full());
    }

    #[test]
    fn a_queue_is_held_back_earlier_than_a_request_is_refused() {
        let relieved = Load { reported: ReportedLoad { waiting: 9, kv_usage: 0.9 }, ..estimate(4, 0.9) };
        for (load, waits, is_refused) in [
            (load(4, 0.79), false, false),
            (load(5, 0.1), true, false),
            (load(0, 0.8), true, false),
            (load(5, 0.8), true, true),
            (load(1000, 0.0), true, true),
            // What no server has said holds back and refuses nobody, nor does what it said and is over.
            (estimate(5, 0.8), true, false),
            (estimate(1000, 0.0), true, false),
            (relieved, true, false),
        ] {
            let is_full = |action| {
                let mut gauge = Gauge::default();
                gauge.add(&Detector::default(), &load, action);
                gauge.is_full()
            };
            assert_eq!((is_full(Queue), is_full(Reject)), (waits, is_refused), "{load:?}");
        }
    }

    #[test]
    fn the_queue_threshold_holds_for_each_of_several_engines() {
        let detector = Detector::default();
        let of_8 = |load| Load { engines: EngineCount::new(8), ..load };
        assert_eq!(detector.utilization(&of_8(load(8, 0.4))), Some(0.5), "one at each is the lesser share");
        assert_eq!(detector.utilization(&of_8(load(40, 0.4))), Some(1.0));
        assert!(detector.has_room(&of_8(load(40, 0.8))));
        assert!(!detector.has_room(&of_8(load(41, 0.8))));
        for (load, waits, is_refused) in [
            (load(39, 0.79), false, false),
            (load(40, 0.1), true, false),
            (load(39, 0.85), true, false),
            (load(40, 0.85), true, true),
            (load(7999, 0.0), true, false),
            (load(8000, 0.0), true, true),
        ] {
            let load = of_8(load);
            assert_eq!(
                (detector.is_full(&load, Queue), detector.is_full(&load, Reject)),
                (waits, is_refused),
                "{load:?}"
            );
        }
    }

    #[test]
    fn headroom_lets_the_filter_exceed_the_thresholds() {
        let strict = Detector::default();
        assert!(strict.has_room(&load(5, 0.8)));
        assert!(!strict.has_room(&load(6, 0.0)));
        assert!(!strict.has_room(&load(0, 0.81)));
        let lenient = Detector { headroom: 0.2, ..strict };
        assert!(lenient.has_room(&load(6, 0.96)));
        assert!(
            strict.has_room(&Load { waiting: 50, ..Load::default() }),
            "unknown load is not held against it"
        );
    }
}
