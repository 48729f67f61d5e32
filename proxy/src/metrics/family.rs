//! A metric's series by their label values, and the bound on those values.

use std::{collections::HashMap, fmt, sync::Arc};

use parking_lot::{Mutex, RwLock};
use prometheus::{
    Registry,
    core::{Collector, Desc},
    proto,
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::OTHER;

/// What a series holds.
pub(super) trait Value: Send + Sync + 'static {
    const KIND: proto::MetricType;

    /// The value as it is exposed, without labels. `None` leaves the series out.
    fn sample(&self) -> Option<proto::Metric>;
}

/// One metric with all its series. Cloning it shares them.
pub(super) struct Family<V>(Arc<Inner<V>>);

struct Inner<V> {
    desc: Desc,
    labels: &'static [&'static str],
    make: Box<dyn Fn() -> V + Send + Sync>,
    series: RwLock<FxHashMap<LabelValues, Arc<V>>>,
}

type LabelValues = Box<[Box<str>]>;

impl<V: Value> Family<V> {
    /// Registers a metric. `name` and `labels` must be valid and new.
    pub(super) fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        labels: &'static [&'static str],
        make: impl Fn() -> V + Send + Sync + 'static,
    ) -> Self {
        let label_names = labels.iter().map(ToString::to_string).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), label_names, HashMap::new());
        let desc = desc.expect("metric names are literals that a test registers");
        let family = Self(Arc::new(Inner { desc, labels, make: Box::new(make), series: RwLock::default() }));
        registry.register(Box::new(family.clone())).expect("metric names are literals that a test registers");
        family
    }

    /// The series with these label values, made if it is new. Takes a lock and hashes: keep the result.
    pub(super) fn get(&self, values: &[&str]) -> Arc<V> {
        debug_assert_eq!(values.len(), self.0.labels.len());
        let key: LabelValues = values.iter().map(|value| Box::from(*value)).collect();
        if let Some(series) = self.0.series.read().get(&key) {
            return Arc::clone(series);
        }
        Arc::clone(self.0.series.write().entry(key).or_insert_with(|| Arc::new((self.0.make)())))
    }

    /// A series that belongs to no metric.
    pub(super) fn detached(&self) -> Arc<V> {
        Arc::new((self.0.make)())
    }

    /// Drops the series of which a label's value is not kept.
    pub(super) fn retain(&self, is_kept: &dyn Fn(&str, &str) -> bool) {
        let labels = self.0.labels;
        self.0
            .series
            .write()
            .retain(|values, _| labels.iter().zip(values.iter()).all(|(label, value)| is_kept(label, value)));
    }
}

impl<V: Value> Family<V> {
    /// Makes `series` the ones there are.
    pub(super) fn replace<'a>(&self, series: impl IntoIterator<Item = (Vec<&'a str>, V)>) {
        let boxed = |values: Vec<&str>| values.into_iter().map(Box::from).collect::<LabelValues>();
        let series = series.into_iter().map(|(values, value)| (boxed(values), Arc::new(value))).collect();
        *self.0.series.write() = series;
    }
}

impl<V: Value> Collector for Family<V> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let series = self.0.series.read();
        let samples = series.iter().filter_map(|(values, series)| {
            let mut metric = series.sample()?;
            metric.set_label(self.0.labels.iter().zip(values.iter()).map(|(l, v)| pair(l, v)).collect());
            Some(metric)
        });
        let mut family = proto::MetricFamily::default();
        family.set_name(self.0.desc.fq_name.clone());
        family.set_help(self.0.desc.help.clone());
        family.set_field_type(V::KIND);
        family.set_metric(samples.collect());
        vec![family]
    }
}

impl<V> Clone for Family<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> fmt::Debug for Family<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Family").field(&self.0.desc.fq_name).finish()
    }
}

/// The values of one label that have series of their own.
#[derive(Debug)]
pub(super) struct Names {
    max: usize,
    known: Mutex<Vec<Arc<str>>>,
}

impl Names {
    pub(super) fn new(max: usize) -> Self {
        Self { max, known: Mutex::default() }
    }

    /// `name` itself as long as there is room, else [`OTHER`].
    pub(super) fn bounded(&self, name: &str) -> Arc<str> {
        let mut known = self.known.lock();
        match known.binary_search_by(|n| (**n).cmp(name)) {
            Ok(at) => Arc::clone(&known[at]),
            Err(_) if known.len() >= self.max => OTHER.into(),
            Err(at) => {
                known.insert(at, name.into());
                Arc::clone(&known[at])
            }
        }
    }

    /// Gives the room of all other names back.
    pub(super) fn retain(&self, kept: &FxHashSet<&str>) {
        self.known.lock().retain(|name| kept.contains(&**name));
    }
}

fn pair(label: &str, value: &str) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name(label.to_owned());
    pair.set_value(value.to_owned());
    pair
}
