//! Files of prices, which the routing document names with `pricesFile`.

use crate::fault::Faults;
use crate::raw::PricesDocument;
use crate::report::FieldPath;
use crate::spec::Price;
use crate::{lower, parse};

/// Reads the text of a file of prices, in YAML or JSON: an object that has `prices`, as the routing document does. Names of
/// upstreams are not looked up: a price for one that there is not is for nothing.
///
/// # Errors
/// All that is wrong with it, each fault with its path.
pub fn parse(text: &str) -> Result<Vec<Price>, Faults> {
    let (document, mut report) = parse::document::<PricesDocument>(text)?;
    let prices = lower::prices(&document.prices, &FieldPath::Root.field("prices"), &mut report, |_, _, _| ());
    report.into_faults().map_or(Ok(prices), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_prices_as_the_document_has_them() {
        let text = "prices:\n- {models: [gpt-4o], upstream: openai, input: '2.50', output: 10}\n\
                    - {models: [m*], per: Token, input: '0.000000075'}\n";
        let prices = parse(text).unwrap();
        let first = &prices[0];
        assert_eq!(first.upstream.as_deref(), Some("openai"));
        assert_eq!((first.tiers[0].input, first.tiers[0].output), (2_500_000_000, 10_000_000_000));
        assert_eq!(prices[1].tiers[0].input, 75_000_000);
        assert!(prices[1].models.contains("mistral"));
    }

    #[test]
    fn what_is_wrong_with_one_is_said_at_its_place() {
        for (text, place) in [
            ("", ""),
            ("prices: {}", "prices"),
            ("prices: [{models: []}]", "prices[0].models"),
            ("prices: [{models: [a], input: -1}]", "prices[0].input"),
            ("prices: [{models: [a], inputs: 1}]", "prices[0].inputs"),
            ("prices: [{models: [a]}, {models: [b, a]}]", "prices[1].models[1]"),
            ("other: 1\nprices: []", "other"),
        ] {
            let faults = parse(text).expect_err(text);
            assert_eq!(
                faults.iter().next().map(|fault| fault.path.as_str()),
                Some(place),
                "{text}: {faults}"
            );
        }
    }
}
