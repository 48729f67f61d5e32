//! Expressions of the common kind, which need no interpreter.
//!
//! Most conditions compare texts that a request has with texts that are written out, joined by `&&`, `||` and `!`. The
//! interpreter makes a context, a value on the heap for each text, and looks functions up by their names: several thousand
//! instructions. These are walked as they are. Whatever is not plain in the end (something that the request does not have,
//! a claim that is no text, a header that is there twice) is left to the interpreter, so that there is one place that
//! says what cannot be told.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::variables::{ExpressionIdentity, ExpressionRequest};

/// A condition that is walked as it is.
pub(super) enum Plain {
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    Not(Box<Self>),
    Equal(Text, Text),
    StartsWith(Text, Text),
    EndsWith(Text, Text),
    Contains(Text, Text),
    In(Text, Box<[Box<str>]>),
    HasHeader(Box<str>),
    /// How many tokens are asked for, beside a number.
    Tokens(Order, i64),
}

/// How two numbers stand to each other.
#[derive(Clone, Copy)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

/// A text that is written out, or that a request has.
pub(super) enum Text {
    Written(Box<str>),
    Method,
    Host,
    Path,
    Query,
    Model,
    Name,
    By,
    Provider,
    Tag(Box<str>),
    Claim(Box<str>),
    Header(Box<str>),
}

impl Plain {
    /// What a checked expression says, if it is of that kind.
    pub(super) fn of(tree: &IdedExpr) -> Option<Self> {
        let Expr::Call(call) = &tree.expr else { return None };
        if let Some(target) = &call.target {
            let [argument] = call.args.as_slice() else { return None };
            let make = match call.func_name.as_str() {
                "startsWith" => Self::StartsWith,
                "endsWith" => Self::EndsWith,
                "contains" => Self::Contains,
                _ => return None,
            };
            return Some(make(Text::of(target)?, Text::of(argument)?));
        }
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_NOT, [inner]) => Some(Self::Not(Box::new(Self::of(inner)?))),
            (operators::LOGICAL_AND, _) => Some(Self::And(both(call)?)),
            (operators::LOGICAL_OR, _) => Some(Self::Or(both(call)?)),
            (operators::IN, [item, of]) => Self::within(item, of),
            (operators::EQUALS, [left, right]) => Self::equal(left, right),
            (operators::NOT_EQUALS, [left, right]) => Some(Self::Not(Box::new(Self::equal(left, right)?))),
            (operators::LESS, [left, right]) => Self::tokens(Order::Less, left, right),
            (operators::LESS_EQUALS, [left, right]) => Self::tokens(Order::LessOrEqual, left, right),
            (operators::GREATER, [left, right]) => Self::tokens(Order::Greater, left, right),
            (operators::GREATER_EQUALS, [left, right]) => Self::tokens(Order::GreaterOrEqual, left, right),
            _ => None,
        }
    }

    /// Whether a request meets it; `None` if the interpreter has to say.
    pub(super) fn is_met(&self, request: &ExpressionRequest<'_>) -> Option<bool> {
        let pair = |left: &Text, right: &Text, compare: fn(&str, &str) -> bool| {
            Some(compare(left.value(request)?, right.value(request)?))
        };
        match self {
            Self::And(parts) => Some(parts[0].is_met(request)? && parts[1].is_met(request)?),
            Self::Or(parts) => Some(parts[0].is_met(request)? || parts[1].is_met(request)?),
            Self::Not(inner) => inner.is_met(request).map(|is_met| !is_met),
            Self::Equal(left, right) => pair(left, right, |left, right| left == right),
            Self::StartsWith(text, start) => pair(text, start, |text, start| text.starts_with(start)),
            Self::EndsWith(text, end) => pair(text, end, |text, end| text.ends_with(end)),
            Self::Contains(text, part) => pair(text, part, |text, part| text.contains(part)),
            Self::In(text, list) => {
                let text = text.value(request)?;
                Some(list.iter().any(|one| **one == *text))
            }
            Self::HasHeader(name) => Some(request.headers.contains_key(&**name)),
            Self::Tokens(order, number) => {
                let tokens = i64::try_from(request.tokens?).unwrap_or(i64::MAX);
                Some(order.holds(tokens, *number))
            }
        }
    }

    fn equal(left: &IdedExpr, right: &IdedExpr) -> Option<Self> {
        let of_tokens = Self::tokens(Order::Equal, left, right);
        of_tokens.or_else(|| Some(Self::Equal(Text::of(left)?, Text::of(right)?)))
    }

    fn within(item: &IdedExpr, of: &IdedExpr) -> Option<Self> {
        match &of.expr {
            Expr::List(list) => {
                let written = list.elements.iter().map(|element| Some(Box::from(written(element)?)));
                Some(Self::In(Text::of(item)?, written.collect::<Option<_>>()?))
            }
            _ if is_headers(of) => Some(Self::HasHeader(written(item)?.into())),
            _ => None,
        }
    }

    fn tokens(order: Order, left: &IdedExpr, right: &IdedExpr) -> Option<Self> {
        match (&left.expr, &right.expr) {
            (Expr::Ident(name), Expr::Literal(LiteralValue::Int(number))) if name == "tokens" => {
                Some(Self::Tokens(order, *number.inner()))
            }
            _ => None,
        }
    }
}

impl Order {
    fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Equal => left == right,
        }
    }
}

impl Text {
    fn of(node: &IdedExpr) -> Option<Self> {
        if let Some(text) = written(node) {
            return Some(Self::Written(text.into()));
        }
        match &node.expr {
            Expr::Ident(name) => match name.as_str() {
                "method" => Some(Self::Method),
                "host" => Some(Self::Host),
                "path" => Some(Self::Path),
                "model" => Some(Self::Model),
                _ => None,
            },
            Expr::Select(select) if !select.test => Self::member(&select.operand, &select.field),
            Expr::Call(CallExpr { func_name, target: None, args }) if func_name == operators::INDEX => {
                let [of, key] = args.as_slice() else { return None };
                let key = written(key)?;
                match &of.expr {
                    Expr::Ident(name) if name == "tags" || name == "claims" => Self::member(of, key),
                    _ if is_headers(of) => Some(Self::Header(key.into())),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn member(of: &IdedExpr, member: &str) -> Option<Self> {
        let Expr::Ident(of) = &of.expr else { return None };
        match (of.as_str(), member) {
            ("request", "method") => Some(Self::Method),
            ("request", "host") => Some(Self::Host),
            ("request", "url_path") => Some(Self::Path),
            ("request", "query") => Some(Self::Query),
            ("identity", "name") => Some(Self::Name),
            ("identity", "by") => Some(Self::By),
            ("identity", "provider") => Some(Self::Provider),
            ("tags", tag) => Some(Self::Tag(tag.into())),
            ("claims", claim) => Some(Self::Claim(claim.into())),
            ("headers", name) => Some(Self::Header(name.into())),
            _ => None,
        }
    }

    fn value<'a>(&'a self, request: &'a ExpressionRequest<'a>) -> Option<&'a str> {
        let last = request.identities.last();
        let of_last = |what: fn(&'a ExpressionIdentity<'a>) -> &'a str| {
            Some(last.map_or("", |identity| what(identity)))
        };
        match self {
            Self::Written(text) => Some(text),
            Self::Method => Some(request.method.as_str()),
            Self::Host => Some(request.host),
            Self::Path => Some(request.path),
            Self::Query => Some(request.query.unwrap_or_default()),
            Self::Model => request.model,
            Self::Name => of_last(|identity| &identity.consumer.name),
            Self::By => of_last(|identity| identity.by),
            Self::Provider => of_last(|identity| identity.provider),
            Self::Tag(tag) => last?.consumer.tags.get(&**tag).map(|tag| &**tag),
            Self::Claim(claim) => {
                let claims = request.identities.iter().rev().find_map(|identity| identity.claims)?;
                claims.get(&**claim)?.as_str()
            }
            Self::Header(name) => {
                let mut values = request.headers.get_all(&**name).iter();
                match (values.next(), values.next()) {
                    (Some(value), None) => value.to_str().ok(),
                    _ => None,
                }
            }
        }
    }
}

fn both(call: &CallExpr) -> Option<Box<[Plain; 2]>> {
    let [left, right] = call.args.as_slice() else { return None };
    Some(Box::new([Plain::of(left)?, Plain::of(right)?]))
}

fn written(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn is_headers(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Ident(name) => name == "headers",
        Expr::Select(select) => {
            let of_request = matches!(&select.operand.expr, Expr::Ident(name) if name == "request");
            !select.test && of_request && select.field == "headers"
        }
        _ => false,
    }
}
