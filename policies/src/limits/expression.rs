//! Counts that an expression makes of a request's usage.
//!
//! The variables are those of Envoy AI Gateway's `llmRequestCosts`, so that its expressions mean what they meant:
//! `input_tokens`, `cached_input_tokens`, `cache_creation_input_tokens`, `output_tokens`, `reasoning_tokens` and
//! `total_tokens` (unsigned), `model`, `backend` and `route_name` (texts). The result is a number that is not negative;
//! fractions, which Envoy AI Gateway refuses, are rounded up.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::{Context, Program, Value};

use super::ask::Usage;

/// An expression.
#[derive(Debug)]
pub(crate) struct Expression(Program);

/// What an expression is told beside the usage.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) model: String,
    pub(crate) backend: String,
    pub(crate) route: String,
}

impl Names {
    /// Of what has none.
    pub(crate) const NONE: Self = Self { model: String::new(), backend: String::new(), route: String::new() };
}

impl Expression {
    /// Reads an expression; `None` if it is none.
    pub(crate) fn new(text: &str) -> Option<Self> {
        Program::compile(text).ok().map(Self)
    }

    /// What it makes of `usage`; `None` if it fails, or makes no number of it that is not negative.
    pub(crate) fn count(&self, usage: &Usage, names: &Names) -> Option<u64> {
        let mut context = Context::default();
        let numbers = [
            ("input_tokens", usage.input),
            ("cached_input_tokens", usage.cached_input),
            ("cache_creation_input_tokens", usage.cache_write),
            ("output_tokens", usage.output),
            ("reasoning_tokens", usage.reasoning),
            ("total_tokens", usage.total()),
        ];
        for (name, number) in numbers {
            context.add_variable_from_value(name, number);
        }
        for (name, text) in
            [("model", &names.model), ("backend", &names.backend), ("route_name", &names.route)]
        {
            context.add_variable_from_value(name, text.clone());
        }
        // A fault of the library fails one expression, and not the request with what it holds.
        let result = catch_unwind(AssertUnwindSafe(|| self.0.execute(&context))).ok()?;
        match result.ok()? {
            Value::UInt(count) => Some(count),
            Value::Int(count) => u64::try_from(count).ok(),
            Value::Float(count) => rounded_up(count),
            _ => None,
        }
    }
}

fn rounded_up(count: f64) -> Option<u64> {
    /// Beyond it a number has no place for units.
    const MOST: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is within what both hold"
    )]
    (0.0..=MOST).contains(&count).then(|| count.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Usage = Usage { input: 100, cached_input: 40, cache_write: 7, output: 30, reasoning: 10 };

    fn count(text: &str) -> Option<u64> {
        let names = Names { model: "gpt-4o".into(), backend: "openai".into(), route: "chat".into() };
        Expression::new(text).unwrap().count(&USAGE, &names)
    }

    #[test]
    fn an_expression_makes_a_number_of_the_usage() {
        for (text, expected) in [
            ("input_tokens - cached_input_tokens + 2u * output_tokens", 120),
            ("total_tokens + reasoning_tokens + cache_creation_input_tokens", 147),
            ("uint(double(cached_input_tokens) * 0.1)", 4),
            ("double(output_tokens) * 0.01", 1),
            ("model == 'gpt-4o' && backend == 'openai' && route_name == 'chat' ? 5 : 6", 5),
            ("model.startsWith('gpt-') ? 2u * total_tokens : total_tokens", 260),
            ("0", 0),
        ] {
            assert_eq!(count(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_makes_no_number_that_is_not_negative_fails() {
        for text in [
            "-1",
            "cached_input_tokens - input_tokens",
            "input_tokens * 0.5",
            "unknown",
            "'5'",
            "1 / 0",
            "0.0 / 0.0",
            "1e300",
            "input_tokens > 5u",
            "[1]",
        ] {
            assert_eq!(count(text), None, "{text}");
        }
        assert!(Expression::new("input_tokens +").is_none());
    }
}
