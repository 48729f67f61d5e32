//! A schema with its references and its `allOf` taken in.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::{Converter, MAX_DEPTH, NODE_BYTES, TooLarge};
use crate::json::{Object, Value};

/// How many references may be inlined within each other: each is looked up among those before.
const MAX_REFS: usize = 256;

/// What a schema says, all that it refers to included. Where two say something of the same, the first counts.
#[derive(Default)]
pub(super) struct Flat<'s, 'a> {
    /// Types, `null` left out.
    pub(super) types: Vec<&'s str>,
    pub(super) is_nullable: bool,
    /// The `enum`, or the `const`; `null` left out.
    pub(super) options: Vec<&'s Value<'a>>,
    /// Of `anyOf` or `oneOf`, `null` left out.
    pub(super) alternatives: Vec<&'s Value<'a>>,
    pub(super) items: Option<&'s Value<'a>>,
    pub(super) properties: Vec<(&'s str, &'s Value<'a>)>,
    pub(super) required: Vec<Cow<'a, str>>,
    /// Everything else.
    pub(super) keywords: Vec<(&'s str, &'s Value<'a>)>,
    /// How many references were being inlined when it began.
    first_ref: usize,
    names: HashSet<&'s str>,
    /// Of `properties`, by their names.
    places: HashMap<&'s str, usize>,
}

impl<'s, 'a> Flat<'s, 'a> {
    /// That of a schema within which `first_ref` references are being inlined.
    pub(super) fn new(first_ref: usize) -> Self {
        Self { first_ref, ..Self::default() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'s Value<'a>> {
        self.keywords.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    pub(super) fn has_property(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The type of a schema that has at most one: what it says, or what fits the rest of what it says.
    pub(super) fn only_type(&self) -> &'s str {
        let all_options = |is: fn(&Value<'_>) -> bool| {
            !self.options.is_empty() && self.options.iter().all(|option| is(option))
        };
        match self.types.first() {
            Some(kind) => kind,
            None if !self.properties.is_empty() => "object",
            None if self.items.is_some() => "array",
            None if all_options(|option| option.as_text().is_some()) => "string",
            None if all_options(|option| option.as_bool().is_some()) => "boolean",
            None if all_options(|option| option.as_number().is_some()) => "number",
            None => "object",
        }
    }

    fn add_types(&mut self, value: &'s Value<'a>) {
        let words = match value {
            Value::Array(array) => array.items.as_slice(),
            single => std::slice::from_ref(single),
        };
        for word in words.iter().filter_map(|value| value.as_text()?.as_word()) {
            match word {
                "null" => self.is_nullable = true,
                "string" | "number" | "integer" | "boolean" | "array" | "object"
                    if !self.types.contains(&word) =>
                {
                    self.types.push(word);
                }
                _ => {}
            }
        }
    }

    fn add_properties(&mut self, properties: &'s Object<'a>) {
        for (name, schema) in &properties.members {
            let end = self.properties.len();
            if *self.places.entry(name.as_ref()).or_insert(end) == end {
                self.properties.push((name.as_ref(), schema));
            }
        }
    }
}

impl<'s, 'a> Converter<'s, 'a, '_> {
    /// Takes `schema` in, and all that it refers to.
    pub(super) fn flatten(
        &mut self,
        schema: &'s Object<'a>,
        flat: &mut Flat<'s, 'a>,
    ) -> Result<(), TooLarge> {
        if self.nesting >= MAX_DEPTH {
            self.note("allOf");
            return Ok(());
        }
        self.nesting += 1;
        let flattened = self.take_in(schema, flat);
        self.nesting -= 1;
        flattened
    }

    fn take_in(&mut self, schema: &'s Object<'a>, flat: &mut Flat<'s, 'a>) -> Result<(), TooLarge> {
        self.budget.spend(NODE_BYTES + 8 * schema.members.len())?;
        for (name, value) in &schema.members {
            let is_first = flat.names.insert(name.as_ref());
            match (name.as_ref(), value) {
                ("type", value) if is_first => flat.add_types(value),
                ("nullable", Value::Bool(true)) => flat.is_nullable = true,
                ("enum", Value::Array(options)) if is_first => {
                    self.budget.spend(8 * options.items.len())?;
                    flat.is_nullable |= options.items.iter().any(Value::is_null);
                    flat.options = options.items.iter().filter(|option| !option.is_null()).collect();
                }
                ("const", value) if flat.options.is_empty() => flat.options.push(value),
                ("anyOf" | "oneOf", Value::Array(schemas)) if flat.alternatives.is_empty() => {
                    self.budget.spend(8 * schemas.items.len())?;
                    let is_null = |schema: &&Value<'a>| is_null_type(schema);
                    flat.is_nullable |= schemas.items.iter().any(|schema| is_null(&schema));
                    flat.alternatives = schemas.items.iter().filter(|schema| !is_null(schema)).collect();
                }
                ("items", Value::Array(tuple)) if flat.items.is_none() => {
                    self.note("items");
                    flat.items = tuple.items.first();
                }
                ("items", value) if flat.items.is_none() => flat.items = Some(value),
                ("properties", Value::Object(properties)) => {
                    self.budget.spend(8 * properties.members.len())?;
                    flat.add_properties(properties);
                }
                ("required", Value::Array(names)) => {
                    self.budget.spend(8 * names.items.len())?;
                    let names = names.items.iter().filter_map(|name| Some(name.as_text()?.decoded()));
                    flat.required.extend(names);
                }
                ("$ref" | "allOf", _) => {}
                (name, value) if is_first => flat.keywords.push((name, value)),
                _ => {}
            }
        }
        // After its own words, which count before those that it refers to.
        if let Some(Value::Array(schemas)) = schema.get("allOf") {
            for schema in schemas.items.iter().filter_map(Value::as_object) {
                self.flatten(schema, flat)?;
            }
        }
        match schema.get("$ref") {
            Some(Value::String(pointer)) => self.flatten_ref(&pointer.decoded(), flat),
            _ => Ok(()),
        }
    }

    fn flatten_ref(&mut self, pointer: &str, flat: &mut Flat<'s, 'a>) -> Result<(), TooLarge> {
        let known = self.refs.iter().position(|known| known == pointer);
        if known.is_some_and(|at| at >= flat.first_ref) {
            // It is a part of this very schema already.
            return Ok(());
        }
        let is_endless = known.is_some() || self.refs.len() >= MAX_REFS;
        match self.find(pointer) {
            Some(found) if !is_endless => {
                self.refs.push(pointer.to_owned());
                self.flatten(found, flat)
            }
            _ => {
                self.note("$ref");
                Ok(())
            }
        }
    }

    /// A schema has one alternative at the most when this is done, or nothing beside them that they could not have.
    pub(super) fn settle_alternatives(&mut self, flat: &mut Flat<'s, 'a>) -> Result<(), TooLarge> {
        while let [only] = flat.alternatives.as_slice() {
            let only = *only;
            flat.alternatives.clear();
            if let Value::Object(schema) = only {
                self.flatten(schema, flat)?;
            }
        }
        let is_shaped = !flat.properties.is_empty() || flat.items.is_some();
        if !flat.alternatives.is_empty() && is_shaped {
            self.note("anyOf");
            flat.alternatives.clear();
        }
        Ok(())
    }

    /// The schema at a JSON pointer (RFC 6901) into the document.
    fn find(&self, pointer: &str) -> Option<&'s Object<'a>> {
        let mut path = pointer.strip_prefix('#')?.split('/');
        path.next().filter(|start| start.is_empty())?;
        let mut schema = self.root;
        let mut items: Option<&'s [Value<'a>]> = None;
        for step in path {
            let step = percent_encoding::percent_decode_str(step).decode_utf8().ok()?;
            let step = step.replace("~1", "/").replace("~0", "~");
            let value = match items.take() {
                Some(items) => items.get(step.parse::<usize>().ok()?)?,
                None => schema.get(&step)?,
            };
            match value {
                Value::Object(object) => schema = object,
                Value::Array(array) => items = Some(&array.items),
                _ => return None,
            }
        }
        items.is_none().then_some(schema)
    }
}

fn is_null_type(schema: &Value<'_>) -> bool {
    schema.as_object().is_some_and(|schema| schema.text("type").is_some_and(|kind| *kind == "null"))
}
