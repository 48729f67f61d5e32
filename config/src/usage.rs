//! Checking expressions of CEL that say what usage counts.
//!
//! Here, and not by whoever evaluates them: an expression that does not compile is a fault of the document, and a snapshot
//! is proof that its document has none. The grammar's generated parser was turned down, because it recurses without a bound.

use std::sync::Arc;

use cel::common::ast::IdedExpr;
use cel::parser::PrattParser;
use cel::{Context, Value};

/// What an expression of a limit can speak of: texts first, then numbers (`uint`).
pub const USAGE_VARIABLES: [&str; 9] = [
    "model",
    "backend",
    "route_name",
    "input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
    "total_tokens",
    "reasoning_tokens",
];

/// How many of [`USAGE_VARIABLES`] are texts.
const TEXTS: usize = 3;

/// The longest expression.
pub(crate) const MAX_EXPRESSION_BYTES: usize = 1024;

/// The most operators, brackets and dots: each may be a level of what the interpreter recurses into.
const MAX_MARKS: usize = 96;

/// How deep brackets and branches may lie in each other.
const MAX_NESTING: u16 = 24;

/// Checks that an expression compiles, and makes a whole number of usage.
///
/// # Errors
/// What is wrong with it.
pub fn check_expression(source: &str) -> Result<(), String> {
    if source.len() > MAX_EXPRESSION_BYTES {
        return Err(format!("has {} bytes; the most is {MAX_EXPRESSION_BYTES}", source.len()));
    }
    // There is nothing to go through but what an expression lists itself, and lists in lists take exponential time.
    if source.contains(['[', '{']) {
        return Err("has a list or an object: it can only reckon with numbers and texts".to_owned());
    }
    let is_mark = |byte: &u8| b"+-*/%?!&|=<>.(".contains(byte);
    if source.bytes().filter(is_mark).count() > MAX_MARKS {
        return Err(format!("has more than {MAX_MARKS} operators, brackets and dots"));
    }
    let parser = PrattParser::new().max_recursion_depth(MAX_NESTING).error_reporting_limit(1);
    let tree = parser.parse(source).map_err(|errors| {
        let message = errors.errors.first().map_or("is no expression", |error| error.msg.as_str());
        first_line(message.trim_start_matches("Syntax error: "))
    })?;
    let references = tree.references();
    if let Some(unknown) = references.variables().into_iter().find(|name| !USAGE_VARIABLES.contains(name)) {
        return Err(format!("there is no variable {unknown}; there are {}", USAGE_VARIABLES.join(", ")));
    }
    // Types are only known when it is evaluated: with little usage, and with much.
    [1_u64, 1_000].into_iter().try_for_each(|tokens| evaluate(&tree, tokens))
}

fn evaluate(tree: &IdedExpr, tokens: u64) -> Result<(), String> {
    let mut context = Context::default();
    for (index, name) in USAGE_VARIABLES.into_iter().enumerate() {
        let value = if index < TEXTS { Value::String(Arc::new("a".to_owned())) } else { Value::UInt(tokens) };
        context.add_variable_from_value(name, value);
    }
    match Value::resolve(tree, &context) {
        // A difference may be negative for some usage; it counts as nothing then.
        Ok(Value::Int(_) | Value::UInt(_)) => Ok(()),
        Ok(other) => Err(format!(
            "makes {} of usage, not a whole number: put it into uint(…)",
            other.type_of().to_string().to_lowercase()
        )),
        Err(error) => Err(format!(
            "cannot be evaluated ({}): tokens are uint, so write numbers with a `u`, or convert with double(…) and uint(…)",
            first_line(&error.to_string())
        )),
    }
}

/// A message of the parser without the excerpt that follows.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_make_whole_numbers_are_sound() {
        for source in [
            "input_tokens + output_tokens * 2u",
            "uint(double(cached_input_tokens) * 0.1)",
            "model == 'gpt-4o' ? total_tokens * 10u : total_tokens",
            "backend.startsWith('openai') ? 1 : 0",
            "route_name == 'a' && reasoning_tokens > 5u ? cache_creation_input_tokens : 0u",
            "7",
        ] {
            assert_eq!(check_expression(source), Ok(()), "{source}");
        }
    }

    #[test]
    fn others_are_told_what_is_wrong_with_them() {
        for (source, part) in [
            ("", ""),
            ("input_tokens +", ""),
            ("tokens", "there is no variable tokens; there are model, backend"),
            ("model", "makes string of usage"),
            ("double(input_tokens) * 0.5", "not a whole number: put it into uint("),
            ("input_tokens * 0.5", "write numbers with a `u`"),
            ("input_tokens * 2", "write numbers with a `u`"),
            ("[1, 2].map(x, x)", "has a list"),
            ("nothing(input_tokens)", "cannot be evaluated"),
        ] {
            let message = check_expression(source).expect_err(source);
            assert!(message.contains(part), "{source}: {message}");
        }
        assert!(check_expression(&"1 + ".repeat(1000)).is_err());
    }

    #[test]
    fn deep_ones_are_refused_and_take_no_stack() {
        for source in [
            "(".repeat(1000),
            "-".repeat(1000),
            format!("{}1{}", "(".repeat(500), ")".repeat(500)),
            "1?".repeat(500),
        ] {
            assert!(check_expression(&source).is_err(), "{}", &source[..8]);
        }
    }
}
