//! Who may do what.

use penstock_config::raw::{
    RawAccess, RawAccessRule, RawAuthorization, RawClaimMatch, RawClaimType, RawHeaderValues, RawMethod,
    RawPathMatch, RawPathMatchType,
};
use penstock_config::{Cidr, CidrError, Expression, MODEL_HEADER};
use serde::Deserialize as _;
use serde_json::Value;

use super::{Fault, Rules, distinct};
use crate::api::{AccessHeader, AccessPath, AccessPrincipal, AccessRule, AccessRules, TokenClaim};
use crate::world::shorten;

/// What rules with an expression say more of than Envoy's.
const OF_DENYING_EXPRESSIONS: &str = "rules that deny are met where their cel cannot be told, such as by a request \
                                      without a header that it asks for; with Envoy they are not";

pub(super) fn read(spec: &AccessRules, notes: &mut Vec<String>) -> Rules {
    if spec.rules.iter().any(|rule| rule.cel.is_some() && rule.action == "Deny") {
        notes.push(OF_DENYING_EXPRESSIONS.to_owned());
    }
    let default = spec.default_action.as_deref().map(|it| action(it, "authorization.defaultAction"));
    Rules { default, rules: (!spec.rules.is_empty()).then(|| rules(&spec.rules)) }
}

fn rules(all: &[AccessRule]) -> Result<RawAuthorization, Fault> {
    let mut raw = RawAuthorization::default();
    for (index, spec) in all.iter().enumerate() {
        let place = format!("authorization.rules[{index}]");
        raw.rules.push(rule(spec, &place)?);
    }
    Ok(raw)
}

fn rule(spec: &AccessRule, place: &str) -> Result<RawAccessRule, Fault> {
    let mut raw = RawAccessRule {
        name: spec.name.clone().filter(|name| !name.is_empty()),
        action: action(&spec.action, &format!("{place}.action"))?,
        ..RawAccessRule::default()
    };
    for method in spec.operation.iter().flat_map(|operation| &operation.methods) {
        let known = RawMethod::deserialize(Value::from(method.as_str()));
        let known = known
            .map_err(|_| format!("{place}.operation.methods: {:?} is no method", shorten(method, 40)))?;
        if !raw.methods.contains(&known) {
            raw.methods.push(known);
        }
    }
    if let Some(path) = spec.operation.as_ref().and_then(|operation| operation.path.as_ref()) {
        raw.paths.push(read_path(path, &format!("{place}.operation.path"))?);
    }
    if let Some(principal) = &spec.principal {
        read_principal(principal, place, &mut raw)?;
    }
    if let Some(source) = &spec.cel {
        Expression::parse(source).map_err(|fault| format!("{place}.cel: {fault}"))?;
        raw.cel = Some(source.clone());
    }
    Ok(raw)
}

/// A path. Envoy looks at the query as well, which a pattern could ask for; here there is none to see.
fn read_path(spec: &AccessPath, place: &str) -> Result<RawPathMatch, Fault> {
    if spec.invert == Some(true) {
        return Err(format!("{place}.invert is not served: deny the path in a rule before"));
    }
    let value = spec.value.clone().unwrap_or_else(|| "/".to_owned());
    let kind = match spec.kind.as_deref() {
        None | Some("PathPrefix") => RawPathMatchType::PathPrefix,
        Some("Exact") => RawPathMatchType::Exact,
        Some("RegularExpression") if has_literal_mark(&value) => {
            return Err(format!(
                "{place}.value: the pattern asks for a query, which is not part of the path"
            ));
        }
        Some("RegularExpression") => RawPathMatchType::RegularExpression,
        Some(other) => return Err(format!("{place}: there is no type {:?}", shorten(other, 40))),
    };
    Ok(RawPathMatch { kind, value })
}

/// Whether a pattern has a question mark that stands for itself.
fn has_literal_mark(pattern: &str) -> bool {
    ["\\?", "[?]", "\\x3f", "\\x3F"].iter().any(|mark| pattern.contains(mark))
}

fn read_principal(spec: &AccessPrincipal, place: &str, raw: &mut RawAccessRule) -> Result<(), Fault> {
    for text in &spec.client_cidrs {
        let range = range(text)
            .map_err(|error| format!("{place}.principal.clientCIDRs: {:?} {error}", shorten(text, 80)))?;
        if !raw.addresses.contains(&range) {
            raw.addresses.push(range);
        }
    }
    if let Some(jwt) = &spec.jwt {
        raw.provider = Some(jwt.provider.clone());
        raw.scopes = distinct(&jwt.scopes);
        for claim in &jwt.claims {
            raw.claims.push(read_claim(claim, place)?);
        }
    }
    for header in &spec.headers {
        raw.headers.push(read_header(header, place)?);
    }
    Ok(())
}

fn read_claim(spec: &TokenClaim, place: &str) -> Result<RawClaimMatch, Fault> {
    let value_type = match spec.value_type.as_deref() {
        None | Some("String") => RawClaimType::String,
        Some("StringArray") => RawClaimType::StringArray,
        Some(other) => {
            return Err(format!(
                "{place}.principal.jwt.claims: there is no valueType {:?}",
                shorten(other, 40)
            ));
        }
    };
    let values = values(&spec.values).ok_or_else(|| format!("{place}.principal.jwt.claims has no values"))?;
    Ok(RawClaimMatch { name: spec.name.clone(), value_type, values })
}

/// A header. Documents take a model's name that ends in `*` for the beginning of others, which Envoy does not.
fn read_header(spec: &AccessHeader, place: &str) -> Result<RawHeaderValues, Fault> {
    let is_model = spec.name.eq_ignore_ascii_case(MODEL_HEADER);
    if is_model && spec.values.iter().any(|value| value.contains('*')) {
        return Err(format!("{place}.principal.headers: no model has a * in its name"));
    }
    let values = values(&spec.values).ok_or_else(|| format!("{place}.principal.headers has no values"))?;
    Ok(RawHeaderValues { name: spec.name.clone(), values })
}

/// Values of which one has to be there. None would never be, and what a rule denies would be allowed.
fn values(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| distinct(list))
}

fn action(text: &str, place: &str) -> Result<RawAccess, Fault> {
    match text {
        "Allow" => Ok(RawAccess::Allow),
        "Deny" => Ok(RawAccess::Deny),
        _ => Err(format!("{place}: {:?} is neither Allow nor Deny", shorten(text, 40))),
    }
}

/// A range. What stands behind its prefix counts for nothing, as with Envoy.
fn range(text: &str) -> Result<Cidr, CidrError> {
    match Cidr::parse(text) {
        Err(CidrError::BitsBehindPrefix { range }) => Ok(range),
        other => other,
    }
}
