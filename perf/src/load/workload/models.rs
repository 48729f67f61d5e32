//! Which models are asked for, and how often: a mix of a base model and its LoRA adapters, or thousands of names.

use std::{str::FromStr, sync::Arc};

use thiserror::Error;

/// Names that one pattern may stand for.
const MAX_NAMES: u32 = 1_000_000;

/// Models with weights. `NAME`, `NAME=WEIGHT`, or `name-{1..2000}` for many names of equal weight, separated by
/// commas.
#[derive(Clone, Debug, PartialEq)]
pub struct Models {
    names: Arc<[Arc<str>]>,
    /// The sum of the weights up to and with each name.
    sums: Arc<[f64]>,
}

/// Why a list of models cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModelsError {
    /// A name is empty.
    #[error("a model without a name in `{0}`")]
    NoName(String),
    /// The weight is not a number above zero.
    #[error("`{0}` is not a weight above zero")]
    Weight(String),
    /// The range in braces cannot be used.
    #[error("`{{{0}}}` is not a range such as {{1..2000}} (of a million names at most)")]
    Range(String),
}

impl Models {
    /// The model for a random number.
    pub(crate) fn pick(&self, random: u64) -> Arc<str> {
        let total = self.sums.last().copied().unwrap_or(0.0);
        // 53 bits are what a double holds.
        let at = (random >> 11) as f64 / (1_u64 << 53) as f64 * total;
        let index = self.sums.partition_point(|sum| *sum <= at);
        self.names[index.min(self.names.len() - 1)].clone()
    }

    /// All names.
    pub(crate) fn names(&self) -> &[Arc<str>] {
        &self.names
    }
}

impl FromStr for Models {
    type Err = ModelsError;

    fn from_str(text: &str) -> Result<Self, ModelsError> {
        let mut names = Vec::new();
        let mut sums = Vec::new();
        let mut sum = 0.0;
        for item in text.split(',') {
            let (pattern, weight) = match item.split_once('=') {
                None => (item, 1.0),
                Some((pattern, weight)) => {
                    let parsed =
                        weight.trim().parse().ok().filter(|weight: &f64| *weight > 0.0 && weight.is_finite());
                    (pattern, parsed.ok_or_else(|| ModelsError::Weight(weight.to_owned()))?)
                }
            };
            let pattern = pattern.trim();
            if pattern.is_empty() {
                return Err(ModelsError::NoName(text.to_owned()));
            }
            let expanded = expand(pattern)?;
            let share = weight / expanded.len() as f64;
            for name in expanded {
                sum += share;
                sums.push(sum);
                names.push(Arc::from(name));
            }
        }
        Ok(Self { names: names.into(), sums: sums.into() })
    }
}

fn expand(pattern: &str) -> Result<Vec<String>, ModelsError> {
    let Some((before, (range, after))) =
        pattern.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    else {
        return Ok(vec![pattern.to_owned()]);
    };
    let bad = || ModelsError::Range(range.to_owned());
    let (first, last) = range.split_once("..").ok_or_else(bad)?;
    let (first, last): (u32, u32) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    if last < first || last - first >= MAX_NAMES {
        return Err(bad());
    }
    Ok((first..=last).map(|number| format!("{before}{number}{after}")).collect())
}
