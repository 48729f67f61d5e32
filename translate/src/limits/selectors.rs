//! Which requests a limit is for.

use penstock_config::raw::{
    RawLimitMatch, RawLimitPath, RawMethod, RawPathMatchType, RawTextMatch, RawTextMatchType,
};
use penstock_config::{Cidr, CidrError};
use serde::Deserialize as _;
use serde_json::Value;

use super::Fault;
use crate::api::{RateLimitMatch, RateLimitPlain, RateLimitSelector};
use crate::world::shorten;

/// Whom a limit is for, and what it counts apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Selected {
    pub(super) when: RawLimitMatch,
    pub(super) per: Vec<String>,
    /// Headers and parameters of which each value counts apart: a request may lack them.
    pub(super) distinct: Vec<RawTextMatch>,
    /// How many of those are headers.
    headers: usize,
    pub(super) goes_by_address: bool,
}

/// Reads selectors, all of which have to be met.
pub(super) fn read(all: &[RateLimitSelector], place: &str) -> Result<Selected, Fault> {
    let mut selected = Selected::default();
    for (index, selector) in all.iter().enumerate() {
        let place = format!("{place}[{index}]");
        for header in &selector.headers {
            selected.header(header, &format!("{place}.headers"))?;
        }
        for parameter in &selector.query_params {
            selected.parameter(parameter, &format!("{place}.queryParams"))?;
        }
        selected.methods(&selector.methods, &format!("{place}.methods"))?;
        if let Some(path) = &selector.path {
            selected.path(path, &format!("{place}.path"))?;
        }
        if let Some(source) = &selector.source_cidr {
            selected.source(source, &format!("{place}.sourceCIDR"))?;
        }
    }
    // What counts apart has no order, and nothing twice.
    selected.per.sort();
    selected.per.dedup();
    Ok(selected)
}

impl Selected {
    fn header(&mut self, spec: &RateLimitMatch, place: &str) -> Result<(), Fault> {
        if let Some(raw) = condition(spec, place)? {
            self.when.headers.push(raw);
        } else {
            self.per.push(format!("header:{}", spec.name.to_ascii_lowercase()));
            self.distinct.insert(self.headers, present(&spec.name));
            self.headers += 1;
        }
        Ok(())
    }

    fn parameter(&mut self, spec: &RateLimitMatch, place: &str) -> Result<(), Fault> {
        if let Some(raw) = condition(spec, place)? {
            self.when.query_params.push(raw);
        } else {
            self.per.push(format!("query:{}", spec.name));
            self.distinct.push(present(&spec.name));
        }
        Ok(())
    }

    /// One of some methods. Several selectors leave those that all of them name.
    fn methods(&mut self, list: &[RateLimitPlain], place: &str) -> Result<(), Fault> {
        let mut wanted = Vec::new();
        for spec in list {
            let method = RawMethod::deserialize(Value::from(spec.value.as_str()))
                .map_err(|_| format!("{place}: {:?} is no method", shorten(&spec.value, 40)))?;
            if spec.invert == Some(true) {
                self.when.not_methods.push(method);
            } else {
                wanted.push(method);
            }
        }
        // Of several of which one is enough, one that is not meant lets all others through.
        if !wanted.is_empty() && list.len() > wanted.len() || self.when.not_methods.len() > 1 {
            return Err(format!(
                "{place}: methods that are inverted stand beside others, so it is for all or none"
            ));
        }
        if !self.when.methods.is_empty() && !wanted.is_empty() {
            wanted.retain(|method| self.when.methods.contains(method));
            if wanted.is_empty() {
                return Err(format!("{place}: no request has a method that all selectors name"));
            }
        }
        if !wanted.is_empty() {
            self.when.methods = wanted;
        }
        Ok(())
    }

    fn path(&mut self, spec: &RateLimitPlain, place: &str) -> Result<(), Fault> {
        let kind = match spec.kind.as_deref() {
            Some("Exact") => RawPathMatchType::Exact,
            None | Some("PathPrefix") => RawPathMatchType::PathPrefix,
            Some("RegularExpression") => RawPathMatchType::RegularExpression,
            Some(other) => return Err(format!("{place}: there is no type {:?}", shorten(other, 40))),
        };
        let invert = spec.invert == Some(true);
        self.when.paths.push(RawLimitPath { kind, value: spec.value.clone(), invert });
        Ok(())
    }

    fn source(&mut self, spec: &RateLimitPlain, place: &str) -> Result<(), Fault> {
        let range = match Cidr::parse(&spec.value) {
            // What stands behind its prefix counts for nothing, as with Envoy.
            Err(CidrError::BitsBehindPrefix { range }) => range,
            other => other.map_err(|error| format!("{place}: {:?} {error}", shorten(&spec.value, 80)))?,
        };
        match spec.kind.as_deref() {
            None | Some("Exact") => {}
            Some("Distinct") => self.per.push("address".to_owned()),
            Some(other) => return Err(format!("{place}: there is no type {:?}", shorten(other, 40))),
        }
        self.goes_by_address = true;
        if spec.invert == Some(true) {
            self.when.not_addresses.push(range);
        } else if self.when.addresses.is_empty() {
            self.when.addresses.push(range);
        } else {
            return Err(format!("{place}: it is the second of its kind, and a request has one address"));
        }
        Ok(())
    }

    /// Asks that what counts apart is there.
    pub(super) fn ask_for_distinct(&mut self) {
        let parameters = self.distinct.split_off(self.headers);
        self.when.headers.append(&mut self.distinct);
        self.when.query_params.extend(parameters);
        self.headers = 0;
    }
}

/// Adds to `when` that requests do not meet `other`; `None` if that cannot be said, because it has several conditions of
/// which one is enough then.
pub(super) fn exclude(when: &mut RawLimitMatch, other: &RawLimitMatch) -> Option<()> {
    let lists = [
        usize::from(!other.methods.is_empty()),
        other.not_methods.len(),
        usize::from(!other.addresses.is_empty()),
        other.not_addresses.len(),
        other.headers.len(),
        other.query_params.len(),
        other.paths.len(),
    ];
    if lists.iter().sum::<usize>() != 1 {
        return None;
    }
    when.not_methods.extend(&other.methods);
    when.not_addresses.extend(&other.addresses);
    // A second list of which one is enough would have to be met as well.
    if !other.not_methods.is_empty() {
        when.methods.is_empty().then(|| when.methods.extend(&other.not_methods))?;
    }
    if !other.not_addresses.is_empty() {
        when.addresses.is_empty().then(|| when.addresses.extend(&other.not_addresses))?;
    }
    let inverted = |raw: &RawTextMatch| RawTextMatch { invert: !raw.invert, ..raw.clone() };
    when.headers.extend(other.headers.iter().map(inverted));
    when.query_params.extend(other.query_params.iter().map(inverted));
    when.paths.extend(other.paths.iter().map(|raw| RawLimitPath { invert: !raw.invert, ..raw.clone() }));
    Some(())
}

/// What is asked of a value; `None` if each counts apart.
fn condition(spec: &RateLimitMatch, place: &str) -> Result<Option<RawTextMatch>, Fault> {
    let invert = spec.invert == Some(true);
    let kind = match spec.kind.as_deref() {
        None | Some("Exact") => RawTextMatchType::Exact,
        Some("RegularExpression") => RawTextMatchType::RegularExpression,
        Some("Distinct") if !invert => return Ok(None),
        Some("Distinct") => return Err(format!("{place}: Distinct has no contrary: leave out invert")),
        Some(other) => return Err(format!("{place}: there is no type {:?}", shorten(other, 40))),
    };
    let Some(value) = spec.value.clone() else {
        return Err(format!("{place}: {:?} has no value", shorten(&spec.name, 80)));
    };
    Ok(Some(RawTextMatch { kind, name: spec.name.clone(), value: Some(value), invert }))
}

fn present(name: &str) -> RawTextMatch {
    RawTextMatch { kind: RawTextMatchType::Present, name: name.to_owned(), value: None, invert: false }
}
