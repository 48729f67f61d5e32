//! The functions of expressions, and the values of theirs that no request has.

use std::any::Any;
use std::sync::{Arc, LazyLock};

use cel::common::types::{CelBool, CelString, STRING_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{Env, ExecutionError};
use regex::{Regex, RegexBuilder};

/// The standard functions, without optional values and times, and `matches`.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::default().with_optional_support(false).with_stdlib();
    // Both names are free: the library's own `matches`, which compiles its pattern each time, is not built in.
    let _ = env.add_member_overload(
        MATCHES,
        "string_matches_pattern",
        STRING_TYPE,
        vec![PATTERN.to_owned()],
        matches,
    );
    let _ = env.add_overload(MATCHES, "matches_pattern", vec![STRING_TYPE, PATTERN.to_owned()], matches);
    Arc::new(env)
});

/// The function whose patterns are compiled with the expression.
pub(super) const MATCHES: &str = "matches";

/// The functions that may be called by their names.
pub(super) const FUNCTIONS: [&str; 13] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    MATCHES,
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// Types, which `type` tells of a value.
pub(super) const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

static PATTERN: Type = Type::new_unspecified_type("pattern");

/// A pattern that was compiled with its expression. No request can bring one.
#[derive(Debug, Clone)]
pub(super) struct Part(Regex);

impl Part {
    /// Compiles a pattern, which may be found anywhere in a text.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        /// Enough for some thousand states, and compiled in a few milliseconds.
        const MAX_PROGRAM_BYTES: usize = 512 << 10;
        const MAX_NESTING: u32 = 32;
        let built = RegexBuilder::new(source).size_limit(MAX_PROGRAM_BYTES).nest_limit(MAX_NESTING).build();
        built.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default().replace("error: ", "");
                format!("the pattern is none: {last}")
            }
        })
    }
}

impl Val for Part {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Part {}

#[expect(clippy::needless_pass_by_value, reason = "functions of CEL own their arguments")]
fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [text, pattern] = args.as_slice() else { return Err(ExecutionError::missing_argument_or_target()) };
    let text = text.downcast_ref::<CelString<'_>>();
    match (text, pattern.downcast_ref::<Part>()) {
        (Some(text), Some(Part(pattern))) => Ok(CowVal::owned(CelBool::from(pattern.is_match(text.inner())))),
        _ => Err(ExecutionError::no_such_overload(MATCHES, Vec::new())),
    }
}
