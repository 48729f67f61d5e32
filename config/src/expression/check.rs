//! What an expression is not to be: deep, costly, or about what is not there.

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::Uses;
use super::environment::{FUNCTIONS, MATCHES, Part, TYPES};
use super::variables::{MEMBERS, PART, VARIABLES};
use crate::report::{Quoted, Suggestion};

/// The most parts that an expression may have, and how many may lie in each other. The interpreter recurses into them.
const MAX_NODES: usize = 1_024;
const MAX_DEPTH: usize = 48;

/// The most loops (`all`, `exists`, `exists_one`, `filter`).
const MAX_LOOPS: usize = 8;

/// The most patterns of an expression.
const MAX_PATTERNS: usize = 16;

/// The operators, and what loops are made of.
const OPERATORS: [&str; 18] = [
    operators::ADD,
    operators::CONDITIONAL,
    operators::DIVIDE,
    operators::EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::IN,
    operators::INDEX,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::LOGICAL_AND,
    operators::LOGICAL_NOT,
    operators::LOGICAL_OR,
    operators::MODULO,
    operators::MULTIPLY,
    operators::NEGATE,
    operators::NOT_EQUALS,
    operators::SUBSTRACT,
];

/// Whether an expression is small enough to be walked and run. Does not recurse.
///
/// # Errors
/// It is not.
pub(super) fn size(tree: &IdedExpr) -> Result<(), String> {
    let mut open = vec![(tree, 1)];
    let mut nodes = 0;
    while let Some((node, depth)) = open.pop() {
        nodes += 1;
        if depth > MAX_DEPTH {
            return Err("is nested too deeply".to_owned());
        }
        if nodes > MAX_NODES {
            return Err(format!("has more than {MAX_NODES} parts"));
        }
        let mut inner = Vec::new();
        children(&node.expr, &mut inner);
        open.extend(inner.into_iter().map(|child| (child, depth + 1)));
    }
    Ok(())
}

/// Checks all names of an expression, and puts compiled patterns in the place of written ones.
///
/// # Errors
/// Something in it is not there, or could cost too much.
pub(super) fn names(tree: &mut IdedExpr) -> Result<(Uses, Box<[Part]>), String> {
    let mut check = Check::default();
    check.walk(tree)?;
    Ok((check.uses, check.parts.into()))
}

#[derive(Default)]
struct Check {
    uses: Uses,
    parts: Vec<Part>,
    /// Variables of the loops around.
    bound: Vec<String>,
    is_in_loop: bool,
    loops: usize,
}

impl Check {
    fn walk(&mut self, node: &mut IdedExpr) -> Result<(), String> {
        match &mut node.expr {
            Expr::Unspecified => Err("is empty".to_owned()),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(of) if self.is_grouped(of) => {
                    if select.test {
                        return Err(format!("{of}.{} is always there: leave out `has`", select.field));
                    }
                    self.member(of, &select.field)
                }
                _ => self.walk(&mut select.operand),
            },
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(loops) => self.comprehension(loops),
            Expr::List(list) => list.elements.iter_mut().try_for_each(|item| self.walk(item)),
            Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.walk(&mut entry.key)?;
                    self.walk(&mut entry.value)
                }
                EntryExpr::StructField(field) => self.walk(&mut field.value),
            }),
            Expr::Struct(of) => Err(format!("there is no type {}", Quoted(&of.type_name))),
        }
    }

    fn is_bound(&self, name: &str) -> bool {
        self.bound.iter().any(|bound| bound == name)
    }

    fn is_grouped(&self, name: &str) -> bool {
        !self.is_bound(name) && MEMBERS.iter().any(|(of, _)| *of == name)
    }

    fn variable(&mut self, name: &str) -> Result<(), String> {
        if self.is_bound(name) || TYPES.contains(&name) {
            return Ok(());
        }
        if let Some((of, members)) = MEMBERS.iter().find(|(of, _)| *of == name) {
            return Err(format!("{of} stands before one of its members: {}", members.join(", ")));
        }
        if !VARIABLES.contains(&name) {
            let known = VARIABLES.into_iter().chain(MEMBERS.iter().map(|(of, _)| *of));
            let suggestion = Suggestion::of(name, known);
            return Err(format!("there is no variable {}{suggestion}", Quoted(name)));
        }
        self.uses.body |= matches!(name, "model" | "tokens");
        self.uses.path |= name == "path";
        self.uses.address |= name == "address";
        Ok(())
    }

    fn member(&mut self, of: &str, member: &str) -> Result<(), String> {
        let members = MEMBERS.iter().find(|(name, _)| *name == of).map_or(&[][..], |(_, members)| *members);
        if !members.contains(&member) {
            let suggestion = Suggestion::of(member, members.iter().copied());
            return Err(format!("{of} has no {}{suggestion}", Quoted(member)));
        }
        self.uses.path |= matches!((of, member), ("request", "path" | "url_path"));
        self.uses.address |= of == "source";
        Ok(())
    }

    fn call(&mut self, call: &mut CallExpr) -> Result<(), String> {
        let name = call.func_name.as_str();
        let is_of_loops = self.is_in_loop && name == operators::NOT_STRICTLY_FALSE;
        if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) && !is_of_loops {
            let suggestion = Suggestion::of(name, FUNCTIONS.into_iter());
            return Err(format!("there is no function {}{suggestion}", Quoted(name)));
        }
        let has_pattern = name == MATCHES;
        if has_pattern {
            self.pattern(call)?;
        }
        if let Some(target) = &mut call.target {
            self.walk(target)?;
        }
        let own = call.args.len().saturating_sub(usize::from(has_pattern));
        call.args.iter_mut().take(own).try_for_each(|argument| self.walk(argument))
    }

    /// Compiles the pattern of a call, its last argument.
    fn pattern(&mut self, call: &mut CallExpr) -> Result<(), String> {
        let expected = if call.target.is_some() { 1 } else { 2 };
        let Some(last) = call.args.last_mut() else {
            return Err("matches lacks its pattern".to_owned());
        };
        let Expr::Literal(LiteralValue::String(source)) = &last.expr else {
            return Err("the pattern of matches has to be written out".to_owned());
        };
        if self.parts.len() >= MAX_PATTERNS {
            return Err(format!("has more than {MAX_PATTERNS} patterns"));
        }
        let part = Part::new(source.inner())?;
        last.expr = Expr::Ident(format!("{PART}{}", self.parts.len()));
        self.parts.push(part);
        if call.args.len() == expected {
            Ok(())
        } else {
            Err("matches takes a text and a pattern".to_owned())
        }
    }

    fn comprehension(&mut self, loops: &mut ComprehensionExpr) -> Result<(), String> {
        self.loops += 1;
        if self.is_in_loop {
            return Err("has a loop (all, exists, exists_one, filter) within another".to_owned());
        }
        if self.loops > MAX_LOOPS {
            return Err(format!("has more than {MAX_LOOPS} loops (all, exists, exists_one, filter)"));
        }
        if loops.iter_var2.is_some() {
            return Err("has a loop with two variables".to_owned());
        }
        if is_map(loops) {
            return Err("there is no map: use all, exists, exists_one or filter".to_owned());
        }
        let name = loops.iter_var.as_str();
        if VARIABLES.contains(&name) || MEMBERS.iter().any(|(of, _)| *of == name) {
            return Err(format!("{} is a variable already: call that of the loop otherwise", Quoted(name)));
        }
        self.walk(&mut loops.iter_range)?;
        self.walk(&mut loops.accu_init)?;
        self.bound.extend([loops.iter_var.clone(), loops.accu_var.clone()]);
        self.is_in_loop = true;
        self.walk(&mut loops.loop_cond)?;
        self.walk(&mut loops.loop_step)?;
        self.is_in_loop = false;
        self.walk(&mut loops.result)?;
        self.bound.truncate(self.bound.len().saturating_sub(2));
        Ok(())
    }
}

/// Whether a loop makes a list of anything else than the items themselves, which could be as large as one likes.
fn is_map(loops: &ComprehensionExpr) -> bool {
    let Expr::List(_) = &loops.accu_init.expr else { return false };
    let step = match &loops.loop_step.expr {
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => call.args.get(1),
        _ => Some(&loops.loop_step),
    };
    let added = step.and_then(|step| match &step.expr {
        Expr::Call(call) if call.func_name == operators::ADD => call.args.get(1),
        _ => None,
    });
    let is_item = |item: &IdedExpr| matches!(&item.expr, Expr::Ident(name) if *name == loops.iter_var);
    let is_filter =
        matches!(added.map(|it| &it.expr), Some(Expr::List(list)) if list.elements.iter().all(is_item));
    !is_filter
}

fn children<'e>(expr: &'e Expr, into: &mut Vec<&'e IdedExpr>) {
    match expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
        Expr::Call(call) => {
            into.extend(call.target.as_deref());
            into.extend(&call.args);
        }
        Expr::Comprehension(loops) => into.extend([
            &loops.iter_range,
            &loops.accu_init,
            &loops.loop_cond,
            &loops.loop_step,
            &loops.result,
        ]),
        Expr::List(list) => into.extend(&list.elements),
        Expr::Select(select) => into.push(&select.operand),
        Expr::Map(map) => into.extend(map.entries.iter().flat_map(|entry| entries(&entry.expr))),
        Expr::Struct(of) => into.extend(of.entries.iter().flat_map(|entry| entries(&entry.expr))),
    }
}

fn entries(entry: &EntryExpr) -> impl Iterator<Item = &IdedExpr> {
    let (first, second) = match entry {
        EntryExpr::StructField(field) => (&field.value, None),
        EntryExpr::MapEntry(entry) => (&entry.key, Some(&entry.value)),
    };
    std::iter::once(first).chain(second)
}
