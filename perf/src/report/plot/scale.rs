//! From a value to a place on an axis, and which values to name there.

use super::tidy;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps, from zero.
    Linear,
    /// Equal factors.
    Log,
    /// Percentiles, so that each nine has as much room as the one before.
    Nines,
}

impl Scale {
    /// Whether a value has a place at all.
    pub(super) fn holds(self, value: f64) -> bool {
        self != Self::Log || value > 0.0
    }

    /// The place of a value, before it is fitted to an axis.
    pub(super) fn place(self, value: f64) -> f64 {
        /// Beyond this many nines there are no requests to tell apart.
        const MAX_NINES: f64 = 5.0;
        match self {
            Self::Linear => value,
            Self::Log => value.max(1e-6).log10(),
            Self::Nines => (-(1.0 - (value / 100.0).clamp(0.0, 1.0)).log10()).min(MAX_NINES),
        }
    }

    /// The values to name between two values, with their names.
    pub(super) fn ticks(self, from: f64, to: f64) -> Vec<(f64, String)> {
        match self {
            Self::Linear => linear(from, to),
            Self::Log => log(from, to),
            Self::Nines => [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999]
                .into_iter()
                .filter(|value| *value <= to)
                .map(|value| (value, format!("{value}")))
                .collect(),
        }
    }

    /// The ends of an axis that holds these values.
    pub(super) fn span(self, values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let greatest = values.fold(f64::NEG_INFINITY, f64::max);
        if !least.is_finite() || !greatest.is_finite() {
            return (1.0, 10.0);
        }
        match self {
            Self::Linear => (least.min(0.0), if greatest > 0.0 { greatest * 1.05 } else { 1.0 }),
            Self::Log => {
                /// Factors of ten that a plot has room for; what is less lies on the axis.
                const DECADES: f64 = 1e5;
                let greatest = greatest.max(1e-6);
                let least = least.max(greatest / DECADES);
                if greatest / least < 1.5 {
                    (least / 2.0, greatest * 2.0)
                } else {
                    (least * 0.9, greatest * 1.1)
                }
            }
            Self::Nines => (0.0, greatest),
        }
    }
}

fn linear(from: f64, to: f64) -> Vec<(f64, String)> {
    /// About so many ticks are readable.
    const WANTED: f64 = 5.0;
    let rough = (to - from).max(f64::MIN_POSITIVE) / WANTED;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let first = (from / step).ceil() as i64;
    let last = (to / step).floor() as i64;
    (first..=last).map(|index| index as f64 * step).map(|value| (value, tidy(value))).collect()
}

fn log(from: f64, to: f64) -> Vec<(f64, String)> {
    let decades = (from.log10().floor() as i32)..=(to.log10().ceil() as i32);
    let factors: &[f64] = match (to / from).log10() {
        wide if wide > 3.0 => &[1.0],
        middle if middle > 1.0 => &[1.0, 2.0, 5.0],
        _ => &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
    };
    decades
        .flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)))
        .filter(|value| *value >= from && *value <= to)
        .map(|value| (value, tidy(value)))
        .collect()
}
