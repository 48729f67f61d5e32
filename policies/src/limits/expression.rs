//! Counts that an expression makes of a request's usage.
//!
//! The variables are those of Envoy AI Gateway's `llmRequestCosts`, so that its expressions mean what they meant:
//! `input_tokens`, `cached_input_tokens`, `cache_creation_input_tokens`, `output_tokens`, `reasoning_tokens` and
//! `total_tokens` (unsigned), `model`, `backend` and `route_name` (texts). The result is a number that is not negative;
//! fractions, which Envoy AI Gateway refuses, are rounded up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::{Context, Env, Program, Value};

use super::ask::Usage;

/// The functions of the language: made once, since they take longer than an expression.
static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// An expression.
#[derive(Debug)]
pub(crate) struct Expression {
    program: Program,
    /// The variables that it asks for.
    variables: Box<[Variable]>,
}

#[derive(Debug, Clone, Copy)]
enum Variable {
    Tokens(&'static str, fn(&Usage) -> u64),
    Name(&'static str, fn(&Names) -> &str),
}

/// All variables that there are.
const VARIABLES: [Variable; 9] = [
    Variable::Tokens("input_tokens", |usage| usage.input),
    Variable::Tokens("cached_input_tokens", |usage| usage.cached_input),
    Variable::Tokens("cache_creation_input_tokens", |usage| usage.cache_write),
    Variable::Tokens("output_tokens", |usage| usage.output),
    Variable::Tokens("reasoning_tokens", |usage| usage.reasoning),
    Variable::Tokens("total_tokens", Usage::total),
    Variable::Name("model", |names| &names.model),
    Variable::Name("backend", |names| &names.backend),
    Variable::Name("route_name", |names| &names.route),
];

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
        let program = Program::compile(text).ok()?;
        let references = program.references();
        let is_asked = |variable: &Variable| references.has_variable(variable.name());
        let variables = VARIABLES.into_iter().filter(is_asked).collect();
        Some(Self { variables, program })
    }

    /// What it makes of `usage`; `None` if it fails, or makes no number of it that is not negative.
    pub(crate) fn count(&self, usage: &Usage, names: &Names) -> Option<u64> {
        let mut context = Context::with_env(Arc::clone(&LANGUAGE));
        for variable in &self.variables {
            match variable {
                Variable::Tokens(name, of) => context.add_variable_from_value(*name, of(usage)),
                Variable::Name(name, of) => context.add_variable_from_value(*name, of(names)),
            }
        }
        // A fault of the library fails one expression, and not the request with what it holds.
        let result = catch_unwind(AssertUnwindSafe(|| self.program.execute(&context))).ok()?;
        match result.ok()? {
            Value::UInt(count) => Some(count),
            Value::Int(count) => u64::try_from(count).ok(),
            Value::Float(count) => rounded_up(count),
            _ => None,
        }
    }
}

impl Variable {
    fn name(&self) -> &'static str {
        match self {
            Self::Tokens(name, _) | Self::Name(name, _) => name,
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
