//! JSON schemas as the subset that models before Gemini 2.5 take: references are inlined, `allOf` is merged, `const` becomes
//! an `enum`, lists of types become `nullable` or `anyOf`, and every other keyword is left out, with a note.
//!
//! References can make a small schema as large as one likes. What is written is bounded ([`Budget`]), and so is the depth;
//! a schema that refers to itself ends in an object that may hold anything.

mod flat;

#[cfg(test)]
mod tests;

use self::flat::Flat;
use crate::conversation::{Notes, Refused};
use crate::json::{Object, Text, Value, Writer};

/// How deeply schemas are within each other, at most, once references are inlined.
const MAX_DEPTH: usize = 48;

/// What a schema costs beside what it copies, in bytes.
const NODE_BYTES: usize = 64;

/// What is left, in bytes, for the schemas of a request to grow to.
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(2 * 1024 * 1024)
    }
}

impl Budget {
    fn spend(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.0 = self.0.checked_sub(bytes).ok_or(TooLarge)?;
        Ok(())
    }
}

/// The budget is spent.
struct TooLarge;

/// Writes `schema` as the value that comes next.
///
/// # Errors
/// It is too large once its references are inlined; with `place`, the member of the request that it is.
pub(super) fn write(
    out: &mut Writer,
    schema: &Object<'_>,
    place: &str,
    notes: &mut Notes,
    budget: &mut Budget,
) -> Result<(), Refused> {
    let mut converter = Converter { root: schema, notes, budget, refs: Vec::new(), nesting: 0 };
    let context = Context { depth: 0, description: None, is_nullable: false };
    converter.object(out, schema, context).map_err(|TooLarge| {
        Refused::new(
            place,
            "this model takes no references, and with those inlined the schemas are longer than 2 MiB: make them smaller",
        )
    })
}

struct Converter<'s, 'a, 'c> {
    root: &'s Object<'a>,
    notes: &'c mut Notes,
    budget: &'c mut Budget,
    /// The references that are being inlined.
    refs: Vec<String>,
    /// How many schemas are being taken in within each other.
    nesting: usize,
}

/// Where a schema stands.
#[derive(Clone, Copy)]
struct Context<'s, 'a> {
    depth: usize,
    /// Of the schema that it is an alternative of.
    description: Option<&'s Value<'a>>,
    is_nullable: bool,
}

impl Context<'_, '_> {
    /// That of a schema within.
    fn inner(self) -> Self {
        Self { depth: self.depth + 1, description: None, is_nullable: false }
    }
}

impl<'s, 'a> Converter<'s, 'a, '_> {
    fn value(
        &mut self,
        out: &mut Writer,
        schema: &'s Value<'a>,
        context: Context<'s, 'a>,
    ) -> Result<(), TooLarge> {
        match schema {
            Value::Object(object) if context.depth < MAX_DEPTH => self.object(out, object, context),
            Value::Object(_) => {
                self.note("$ref");
                self.anything(out)
            }
            _ => self.anything(out),
        }
    }

    /// Writes the schema of an object that may hold anything: the nearest there is to one that says nothing.
    fn anything(&mut self, out: &mut Writer) -> Result<(), TooLarge> {
        self.budget.spend(NODE_BYTES)?;
        out.object(|out| out.str_at("type", "OBJECT"));
        Ok(())
    }

    fn object(
        &mut self,
        out: &mut Writer,
        schema: &'s Object<'a>,
        context: Context<'s, 'a>,
    ) -> Result<(), TooLarge> {
        let refs = self.refs.len();
        let mut flat = Flat::new(refs);
        self.flatten(schema, &mut flat)?;
        self.settle_alternatives(&mut flat)?;
        let written = self.flat(out, &flat, context);
        self.refs.truncate(refs);
        written
    }

    /// Writes a schema as an `anyOf` if it has alternatives or types to choose from, beside which Gemini takes nothing.
    fn flat(
        &mut self,
        out: &mut Writer,
        flat: &Flat<'s, 'a>,
        context: Context<'s, 'a>,
    ) -> Result<(), TooLarge> {
        self.budget.spend(NODE_BYTES)?;
        let is_nullable = context.is_nullable || flat.is_nullable;
        let description = flat.get("description").or(context.description);
        let within = Context { depth: context.depth + 1, description, is_nullable };
        let mut result = Ok(());
        if !flat.alternatives.is_empty() {
            let beside = flat.keywords.iter().filter(|(name, _)| *name != "description");
            beside.for_each(|(name, _)| self.note(name));
            out.object(|out| {
                out.array_at("anyOf", |out| {
                    result = flat.alternatives.iter().try_for_each(|schema| self.value(out, schema, within));
                });
            });
        } else if flat.types.len() > 1 {
            out.object(|out| {
                out.array_at("anyOf", |out| {
                    let mut types = flat.types.iter();
                    result = types.try_for_each(|name| self.typed(out, flat, name, within));
                });
            });
        } else {
            let context = Context { description, is_nullable, ..context };
            result = self.typed(out, flat, flat.only_type(), context);
        }
        result
    }

    /// Writes a schema of one type.
    fn typed(
        &mut self,
        out: &mut Writer,
        flat: &Flat<'s, 'a>,
        kind: &str,
        context: Context<'s, 'a>,
    ) -> Result<(), TooLarge> {
        let mut result = Ok(());
        out.object(|out| {
            out.str_at("type", &kind.to_ascii_uppercase());
            if context.is_nullable {
                out.bool_at("nullable", true);
            }
            result = self.keywords(out, flat, kind, context);
        });
        result
    }

    fn keywords(
        &mut self,
        out: &mut Writer,
        flat: &Flat<'s, 'a>,
        kind: &str,
        context: Context<'s, 'a>,
    ) -> Result<(), TooLarge> {
        if let Some(Value::String(description)) = context.description {
            self.copy(out, "description", &Value::String(description.clone()))?;
        }
        for (name, value) in &flat.keywords {
            let is_taken = match (*name, value) {
                // Written above.
                ("description", _) => continue,
                ("title", Value::String(_)) | ("default", _) => true,
                ("format", Value::String(format)) => takes_format(kind, format),
                ("pattern", Value::String(_)) | ("minLength" | "maxLength", Value::Number(_)) => {
                    kind == "string"
                }
                ("minimum" | "maximum", Value::Number(_)) => matches!(kind, "number" | "integer"),
                ("minItems" | "maxItems", Value::Number(_)) => kind == "array",
                ("minProperties" | "maxProperties", Value::Number(_)) => kind == "object",
                ("propertyOrdering", Value::Array(_)) => kind == "object",
                _ => false,
            };
            if is_taken {
                self.copy(out, name, value)?;
                continue;
            }
            self.note(name);
            // A bound that is one off says more than none.
            let widened = match *name {
                "exclusiveMinimum" => "minimum",
                "exclusiveMaximum" => "maximum",
                _ => continue,
            };
            let is_number = matches!(kind, "number" | "integer") && matches!(value, Value::Number(_));
            if is_number && flat.get(widened).is_none() {
                self.copy(out, widened, value)?;
            }
        }
        if kind == "string" {
            self.options(out, flat)?;
        } else if !flat.options.is_empty() {
            self.note("enum");
        }
        match kind {
            "array" => self.items(out, flat, context),
            "object" => self.properties(out, flat, context),
            _ => Ok(()),
        }
    }

    /// Writes the `enum`. Gemini refuses empty ones in it.
    fn options(&mut self, out: &mut Writer, flat: &Flat<'s, 'a>) -> Result<(), TooLarge> {
        let options: Vec<&Text<'a>> = flat.options.iter().filter_map(|option| option.as_text()).collect();
        if flat.options.is_empty() {
            return Ok(());
        }
        if options.len() < flat.options.len() || options.iter().any(|option| option.is_empty()) {
            self.note("enum");
            return Ok(());
        }
        self.budget.spend(options.iter().map(|option| option.decoded().len() + 3).sum())?;
        out.array_at("enum", |out| options.iter().for_each(|option| out.text(option)));
        Ok(())
    }

    /// Writes `items`, without which Gemini takes no array.
    fn items(
        &mut self,
        out: &mut Writer,
        flat: &Flat<'s, 'a>,
        context: Context<'s, 'a>,
    ) -> Result<(), TooLarge> {
        out.key("items");
        match flat.items {
            Some(items) => self.value(out, items, context.inner()),
            None => {
                out.object(|out| out.str_at("type", "STRING"));
                self.budget.spend(NODE_BYTES)
            }
        }
    }

    fn properties(
        &mut self,
        out: &mut Writer,
        flat: &Flat<'s, 'a>,
        context: Context<'s, 'a>,
    ) -> Result<(), TooLarge> {
        if flat.properties.is_empty() {
            return Ok(());
        }
        let mut result = Ok(());
        out.object_at("properties", |out| {
            result = flat.properties.iter().try_for_each(|(name, schema)| {
                self.budget.spend(name.len())?;
                out.key(name);
                self.value(out, schema, context.inner())
            });
        });
        result?;
        // Names that no property has are refused.
        let required = flat.required.iter().filter(|name| flat.has_property(name));
        let required: Vec<_> = required.collect();
        if !required.is_empty() {
            self.budget.spend(required.iter().map(|name| name.len() + 3).sum())?;
            out.array_at("required", |out| required.iter().for_each(|name| out.str(name)));
        }
        Ok(())
    }

    fn copy(&mut self, out: &mut Writer, name: &str, value: &Value<'a>) -> Result<(), TooLarge> {
        self.budget.spend(name.len() + raw_len(value))?;
        out.value_at(name, value);
        Ok(())
    }

    /// Notes a keyword that is left out. Those that only describe the schema itself are nobody's loss.
    fn note(&mut self, keyword: &str) {
        let is_silent = ["$schema", "$id", "$anchor", "$comment", "$defs", "definitions", "examples"];
        if is_silent.contains(&keyword) {
            return;
        }
        let is_word =
            keyword.len() <= 32 && keyword.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'$');
        if is_word {
            self.notes.dropped(format!("schema.{keyword}"));
        } else {
            self.notes.dropped("schema");
        }
    }
}

/// The formats that Gemini knows; it refuses others.
fn takes_format(kind: &str, format: &Text<'_>) -> bool {
    let known: &[&str] = match kind {
        "string" => &["date-time", "enum"],
        "integer" => &["int32", "int64"],
        "number" => &["float", "double"],
        _ => &[],
    };
    known.iter().any(|known| format == known)
}

fn raw_len(value: &Value<'_>) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(number) => number.len(),
        Value::String(Text::Escaped(escaped)) => escaped.len() + 2,
        Value::String(Text::Plain(plain)) => plain.len() + 2,
        Value::Array(array) => array.raw.len(),
        Value::Object(object) => object.raw.len(),
    }
}
