//! Conditions on requests in CEL, the Common Expression Language.
//!
//! An expression is compiled once, with its document. What would make it wrong, slow or deep is a fault of the document:
//! unknown names, patterns that are not written out, loops within loops, nesting; and it is tried out on a sample, since
//! the interpreter finds out about types while it runs. Requests are looked up while it runs, so that one costs what is
//! asked of it and no more; what is common needs no interpreter (`plain.rs`).
//!
//! The grammar's generated parser was turned down: it recurses without a bound, and a hundred parentheses end the process
//! where the stack has 2 MiB. The hand-written one that the same crate has knows its depth. It is hidden from the crate's
//! documentation, so the version is pinned, and tests hold to what it does.

mod check;
mod environment;
mod plain;
mod sample;
mod value;
mod variables;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::ast::IdedExpr;
use cel::common::types::CelBool;
use cel::parser::PrattParser;
use cel::{Context, Value};

use environment::{ENVIRONMENT, Part};
use plain::Plain;
use variables::Variables;

pub use variables::{ExpressionIdentity, ExpressionRequest};

/// The longest expression.
pub const MAX_EXPRESSION_BYTES: usize = 4 << 10;

/// The most brackets, dots and question marks: what the parser takes more than linear time for.
const MAX_MARKS: usize = 512;

/// How deep brackets and branches may lie in each other.
const MAX_NESTING: u16 = 24;

/// A condition in CEL. Equal if written alike.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    program: Arc<Program>,
}

struct Program {
    tree: IdedExpr,
    parts: Box<[Part]>,
    uses: Uses,
    /// The same, where no interpreter is needed.
    plain: Option<Plain>,
}

/// What an expression looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Uses {
    body: bool,
    path: bool,
    address: bool,
}

impl Expression {
    /// Compiles an expression and tries it out.
    ///
    /// # Errors
    /// It does not parse, uses what is not there, would cost too much, or cannot come to a truth value. What is wrong, in
    /// one line.
    pub fn parse(source: &str) -> Result<Self, String> {
        if source.len() > MAX_EXPRESSION_BYTES {
            return Err(format!("has more than {MAX_EXPRESSION_BYTES} bytes"));
        }
        let is_mark = |byte: &u8| matches!(byte, b'(' | b'[' | b'{' | b'.' | b'?');
        if source.bytes().filter(|byte| is_mark(byte)).count() > MAX_MARKS {
            return Err(format!("has more than {MAX_MARKS} brackets, dots and question marks"));
        }
        let compiled = catch_unwind(|| compile(source));
        let program = compiled.unwrap_or_else(|_| Err("cannot be compiled".to_owned()))?;
        Ok(Self { source: source.into(), program: Arc::new(program) })
    }

    /// Whether a request meets it; `None` if that cannot be told: it asks for what the request does not have, or comes to
    /// something else than a truth value.
    pub fn is_met(&self, request: &ExpressionRequest<'_>) -> Option<bool> {
        let plain = self.program.plain.as_ref().and_then(|plain| plain.is_met(request));
        plain.or_else(|| self.is_met_by_interpreter(request))
    }

    fn is_met_by_interpreter(&self, request: &ExpressionRequest<'_>) -> Option<bool> {
        let variables = Variables::new(request, &self.program.parts);
        // Whatever a client sends: a fault of the interpreter is one more thing that cannot be told.
        catch_unwind(AssertUnwindSafe(|| truth(&self.program.tree, &variables))).ok().flatten()
    }

    /// Whether it goes by what the body says: by the model, or by how many tokens are asked for.
    pub fn uses_body(&self) -> bool {
        self.program.uses.body
    }

    /// Whether it goes by the path.
    pub fn uses_path(&self) -> bool {
        self.program.uses.path
    }

    /// Whether it goes by the client's address.
    pub fn uses_address(&self) -> bool {
        self.program.uses.address
    }
}

fn compile(source: &str) -> Result<Program, String> {
    let parser = PrattParser::new().max_recursion_depth(MAX_NESTING).error_reporting_limit(1);
    let mut tree = parser.parse(source).map_err(|errors| parse_error(&errors))?;
    check::size(&tree)?;
    let (uses, parts) = check::names(&mut tree)?;
    sample::try_out(&tree, &parts)?;
    let plain = Plain::of(&tree);
    Ok(Program { tree, parts, uses, plain })
}

/// The first line: those behind it draw the expression.
fn parse_error(errors: &cel::ParseErrors) -> String {
    let Some(error) = errors.errors.first() else { return "is no expression".to_owned() };
    let (line, column) = error.pos;
    let message = error.msg.trim_start_matches("Syntax error: ");
    let message: String = message.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line > 0 { format!("line {line}, column {column}: {message}") } else { message }
}

fn truth(tree: &IdedExpr, variables: &Variables<'_>) -> Option<bool> {
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.set_variable_resolver(variables);
    let value = Value::resolve_val(tree, &context).ok()?;
    value.downcast_ref::<CelBool>().map(|truth| *truth.inner())
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

#[cfg(test)]
mod tests;
