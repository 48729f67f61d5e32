//! Trying an expression out on a request that is made up, for faults that only show while it runs.
//!
//! What depends on a request's values (a claim that is not there, a number that does not fit) is none. Both sides of a
//! `&&` are tried, whatever the first comes to, and all branches.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use cel::common::ast::{Expr, IdedExpr, operators};
use cel::common::types::CelBool;
use cel::{Context, ExecutionError, Value};
use http::{HeaderMap, Method};

use super::environment::{ENVIRONMENT, Part};
use super::variables::{ExpressionIdentity, ExpressionRequest, Variables};
use crate::consumer::Consumer;

/// Tries an expression out.
///
/// # Errors
/// It cannot come to a truth value, or does something with a value that its type does not allow.
pub(super) fn try_out(tree: &IdedExpr, parts: &[Part]) -> Result<(), String> {
    let consumer = Consumer {
        name: "sample".into(),
        keys: Box::default(),
        tags: BTreeMap::new(),
        models: None,
        limits: BTreeMap::new(),
        priority: None,
    };
    let claims = serde_json::Value::Object(serde_json::Map::new());
    let identity = ExpressionIdentity { consumer: &consumer, by: "jwt", provider: "", claims: Some(&claims) };
    let request = ExpressionRequest {
        method: &Method::POST,
        host: "sample.example",
        path: "/v1/chat/completions",
        query: None,
        headers: &HeaderMap::new(),
        address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        port: 1,
        model: Some("sample"),
        tokens: Some(1),
        identities: &[identity],
    };
    let variables = Variables::of_sample(&request, parts);
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.set_variable_resolver(&variables);
    truth(tree, &context)
}

fn truth(node: &IdedExpr, context: &Context<'_, '_>) -> Result<(), String> {
    if let Expr::Call(call) = &node.expr {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, parts) | (operators::LOGICAL_NOT, parts) => {
                return parts.iter().try_for_each(|part| truth(part, context));
            }
            (operators::CONDITIONAL, [condition, first, second]) => {
                return [condition, first, second].into_iter().try_for_each(|part| truth(part, context));
            }
            _ => {}
        }
    }
    match Value::resolve_val(node, context) {
        Ok(value) if value.downcast_ref::<CelBool>().is_some() => Ok(()),
        Ok(value) => {
            Err(format!("comes to a value of the type {}, and not to true or false", value.get_type().name()))
        }
        Err(error) => type_fault(&error).map_or(Ok(()), Err),
    }
}

/// What is wrong with the expression, whatever a request has; `None` if another request might do.
fn type_fault(error: &ExecutionError) -> Option<String> {
    let text = match error {
        ExecutionError::NoSuchKey(_)
        | ExecutionError::IndexOutOfBounds(_)
        | ExecutionError::DivisionByZero(_)
        | ExecutionError::RemainderByZero(_)
        | ExecutionError::Overflow(..)
        | ExecutionError::FunctionError { .. } => return None,
        ExecutionError::NoSuchOverload(overload) => {
            let types = overload.argument_types().join(", ");
            format!("{} takes no ({types})", plain(overload.function()))
        }
        other => {
            let text = other.to_string();
            text.chars().take(200).collect()
        }
    };
    Some(text)
}

/// An operator as it is written.
fn plain(function: &str) -> &str {
    function.trim_matches(['_', '@'])
}
