//! What requests have, as values of CEL.

use std::collections::HashMap;
use std::sync::OnceLock;

use cel::ExecutionError;
use cel::common::traits::{self, Container, Indexer, Iterable, Sizer};
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt, MAP_TYPE, Type,
};
use cel::common::value::{CowVal, Val};
use http::HeaderMap;
use serde_json::Value;

/// A text that a request has.
pub(super) fn text<'b>(text: &'b str) -> CowVal<'b, 'b> {
    CowVal::owned(CelString::from(text))
}

/// A map of texts.
pub(super) fn map<'a>(entries: impl Iterator<Item = (&'a str, Box<dyn Val + 'a>)>) -> CelMap<'a> {
    let entries = entries.map(|(name, value)| (CelMapKey::String(CelString::from(name)), value));
    CelMap::from(entries.collect::<HashMap<_, _>>())
}

/// A value of a token. Its depth is bounded where tokens are read.
pub(super) fn of_json<'a>(value: &'a Value) -> Box<dyn Val + 'a> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(truth) => Box::new(CelBool::from(*truth)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => Box::new(CelList::from(items.iter().map(of_json).collect::<Vec<_>>())),
        Value::Object(members) => {
            Box::new(map(members.iter().map(|(name, value)| (name.as_str(), of_json(value)))))
        }
    }
}

/// Headers by their names in lower case. One that is there several times, or that is no text, has no value that could be
/// told: programs differ on which of them counts.
#[derive(Debug)]
pub(super) struct Headers<'a> {
    map: &'a HeaderMap,
    /// Whether all headers are there, the missing ones empty, since it is only tried out what is done with them.
    is_sample: bool,
    names: OnceLock<Vec<CelString<'a>>>,
}

impl<'a> Headers<'a> {
    pub(super) fn new(map: &'a HeaderMap, is_sample: bool) -> Self {
        Self { map, is_sample, names: OnceLock::new() }
    }

    fn name(key: &dyn Val) -> Result<&str, ExecutionError> {
        key.downcast_ref::<CelString<'_>>().map(CelString::inner).ok_or_else(|| {
            ExecutionError::UnexpectedType {
                got: key.get_type().name().to_owned(),
                want: "string".to_owned(),
            }
        })
    }

    fn names(&self) -> &[CelString<'a>] {
        self.names.get_or_init(|| self.map.keys().map(|name| CelString::from(name.as_str())).collect())
    }
}

impl Val for Headers<'_> {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(Headers::new(self.map, self.is_sample))
    }
}

impl Container for Headers<'_> {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.map.contains_key(Self::name(key)?))
    }
}

impl Indexer for Headers<'_> {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = Self::name(key)?;
        let mut values = self.map.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => match value.to_str() {
                Ok(value) => Ok(CowVal::owned(CelString::from(value.to_owned()))),
                Err(_) => Err(ExecutionError::function_error("headers", "is no text")),
            },
            (Some(_), Some(_)) => Err(ExecutionError::function_error("headers", "is there several times")),
            (None, _) if self.is_sample => Ok(CowVal::owned(CelString::from(""))),
            (None, _) => Err(ExecutionError::no_such_key(name)),
        }
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

impl Iterable for Headers<'_> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn traits::Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Names(self.names().iter()))
    }
}

impl Sizer for Headers<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.map.keys_len()).unwrap_or(i64::MAX))
    }
}

/// The names of headers in turn.
struct Names<'b, 'a>(std::slice::Iter<'b, CelString<'a>>);

impl<'b, 'v, 'a: 'v> traits::Iterator<'b, 'v> for Names<'b, 'a> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|name| name as &(dyn Val + 'v))
    }
}
