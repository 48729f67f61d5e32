//! Sums of what requests took, by whatever they are told apart by.

use std::collections::BTreeMap;

/// How many sums are kept.
pub(super) const MAX_ROWS: usize = 100_000;

/// What requests took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spending {
    /// How many.
    pub(super) requests: u64,
    /// Those whose model has no price, so that nobody knows what they cost.
    pub(super) without_price: u64,
    /// Tokens of prompts, those from a cache included.
    pub(super) input: u128,
    /// Those from a cache.
    pub(super) cached_input: u128,
    /// Tokens of answers.
    pub(super) output: u128,
    /// Billionths of a dollar.
    pub(super) nano: u128,
}

/// All sums, in the order of what they are for.
#[derive(Debug, Default)]
pub(super) struct Bill {
    rows: BTreeMap<Vec<Box<str>>, Spending>,
    total: Spending,
}

impl Spending {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.without_price += other.without_price;
        for (sum, more) in [
            (&mut self.input, other.input),
            (&mut self.cached_input, other.cached_input),
            (&mut self.output, other.output),
            (&mut self.nano, other.nano),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// Dollars, exactly: `0.0015`.
    pub(super) fn dollars(&self) -> String {
        const A_DOLLAR: u128 = 1_000_000_000;
        let (whole, rest) = (self.nano / A_DOLLAR, self.nano % A_DOLLAR);
        let text = format!("{whole}.{rest:09}");
        // Cents at least.
        let zeros = text.len() - text.trim_end_matches('0').len();
        text[..text.len() - zeros.min(7)].to_owned()
    }
}

impl Bill {
    /// Adds what a request took to its sum. False if that would be one too many.
    pub(super) fn add(&mut self, key: Vec<Box<str>>, spending: &Spending) -> bool {
        if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&key) {
            return false;
        }
        self.rows.entry(key).or_default().add(spending);
        self.total.add(spending);
        true
    }

    /// The sums, with the values of what they are for.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&[Box<str>], &Spending)> {
        self.rows.iter().map(|(key, spending)| (&**key, spending))
    }

    /// The sum of all.
    pub(super) fn total(&self) -> &Spending {
        &self.total
    }
}
