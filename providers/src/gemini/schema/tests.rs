use serde_json::json;

use super::*;
use crate::json::parse;

fn converted(schema: &serde_json::Value) -> (Result<serde_json::Value, Refused>, Vec<String>) {
    let text = schema.to_string();
    let document = parse(text.as_bytes()).unwrap();
    let (mut out, mut notes) = (Writer::default(), Notes::default());
    let written = write(&mut out, document.as_object().unwrap(), "place", &mut notes, &mut Budget::default());
    let written = written.map(|()| serde_json::from_slice(&out.finish()).unwrap());
    (written, notes.names().iter().map(|name| name.to_string()).collect())
}

fn subset(schema: &serde_json::Value) -> serde_json::Value {
    converted(schema).0.unwrap()
}

#[test]
fn a_schema_becomes_googles_subset() {
    for (schema, wanted) in [
        (
            json!({"type": "string", "description": "d", "title": "t", "default": "x", "minLength": 1, "pattern": "a"}),
            json!({"type": "STRING", "description": "d", "title": "t", "default": "x", "minLength": 1, "pattern": "a"}),
        ),
        (
            json!({"type": ["string", "null"], "enum": ["a", "b", null]}),
            json!({"type": "STRING", "nullable": true, "enum": ["a", "b"]}),
        ),
        (json!({"const": "a"}), json!({"type": "STRING", "enum": ["a"]})),
        (
            json!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 2}),
            json!({"type": "INTEGER", "format": "int32", "minimum": 1, "maximum": 2}),
        ),
        (
            json!({"type": ["string", "integer"], "description": "d"}),
            json!({"anyOf": [{"type": "STRING", "description": "d"}, {"type": "INTEGER", "description": "d"}]}),
        ),
        (
            json!({"type": "array", "items": {"type": "boolean"}, "maxItems": 3}),
            json!({"type": "ARRAY", "items": {"type": "BOOLEAN"}, "maxItems": 3}),
        ),
        (json!({"type": "array"}), json!({"type": "ARRAY", "items": {"type": "STRING"}})),
        (
            json!({"properties": {"a\"\n": {"type": "string"}, "b": true}, "required": ["a\"\n", "gone"]}),
            json!({"type": "OBJECT", "properties": {"a\"\n": {"type": "STRING"}, "b": {"type": "OBJECT"}}, "required": ["a\"\n"]}),
        ),
        (
            json!({"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d"}),
            json!({"type": "STRING", "nullable": true, "description": "d"}),
        ),
        (
            json!({"oneOf": [{"type": "string", "description": "own"}, {"type": "number"}, {"type": "null"}], "description": "d"}),
            json!({"anyOf": [{"type": "STRING", "description": "own", "nullable": true},
                          {"type": "NUMBER", "description": "d", "nullable": true}]}),
        ),
        (
            json!({"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]},
                          {"properties": {"b": {"type": "number"}, "a": {"type": "number"}}, "required": ["b"]}]}),
            json!({"type": "OBJECT", "properties": {"a": {"type": "STRING"}, "b": {"type": "NUMBER"}}, "required": ["a", "b"]}),
        ),
        (
            json!({"type": "object", "properties": {"p": {"$ref": "#/$defs/a~1b", "description": "here"}},
                "$defs": {"a/b": {"type": "string", "description": "there", "enum": ["x"]}}}),
            json!({"type": "OBJECT", "properties": {"p": {"type": "STRING", "description": "here", "enum": ["x"]}}}),
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}),
        ),
    ] {
        assert_eq!(subset(&schema), wanted, "{schema}");
    }
}

#[test]
fn keywords_that_gemini_refuses_are_left_out_and_noted() {
    let (written, notes) = converted(&json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": false,
        "propertyNames": {"pattern": "a"}, "x-\r\nevil": 1,
        "properties": {
            "at": {"type": "string", "format": "uri"},
            "count": {"type": "integer", "enum": [1, 2], "exclusiveMinimum": 0, "exclusiveMaximum": 9, "maximum": 8},
            "empty": {"type": "string", "enum": ["", "a"], "minLength": "one"},
        },
    }));
    assert_eq!(
        written.unwrap(),
        json!({"type": "OBJECT", "properties": {
            "at": {"type": "STRING"}, "count": {"type": "INTEGER", "minimum": 0, "maximum": 8}, "empty": {"type": "STRING"},
        }}),
    );
    let mut notes = notes;
    notes.sort();
    assert_eq!(
        notes,
        [
            "schema",
            "schema.additionalProperties",
            "schema.enum",
            "schema.exclusiveMaximum",
            "schema.exclusiveMinimum",
            "schema.format",
            "schema.minLength",
            "schema.propertyNames",
        ],
    );
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let tree = json!({"$ref": "#/definitions/tree", "definitions": {"tree": {"type": "object", "properties": {
        "name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/definitions/tree"}},
    }}}});
    let (written, notes) = converted(&tree);
    assert_eq!(
        written.unwrap(),
        json!({"type": "OBJECT", "properties": {
            "name": {"type": "STRING"}, "children": {"type": "ARRAY", "items": {"type": "OBJECT"}},
        }}),
    );
    assert_eq!(notes, ["schema.$ref"]);
    for endless in [
        json!({"$ref": "#"}),
        json!({"anyOf": [{"$ref": "#"}]}),
        json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        json!({"items": {"$ref": "#"}}),
        json!({"$ref": "https://example.com/schema"}),
        json!({"$ref": "#/nowhere"}),
        json!({"$ref": "#/allOf/0", "allOf": [{"$ref": "#/allOf/0"}]}),
        json!({"a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}, "$ref": "#/a"}),
    ] {
        assert!(converted(&endless).0.is_ok(), "{endless}");
    }
}

#[test]
fn references_cannot_make_a_schema_large() {
    for (combined, is_bomb) in [("anyOf", true), ("allOf", false), ("properties", true)] {
        let mut defs = serde_json::Map::new();
        for level in 0..20 {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            let schema = if combined == "properties" {
                json!({"properties": {"a": next, "b": next}})
            } else {
                json!({combined: [next, next]})
            };
            defs.insert(format!("d{level}"), schema);
        }
        defs.insert("d20".to_owned(), json!({"type": "string"}));
        let bomb = json!({"$ref": "#/$defs/d0", "$defs": defs});
        match converted(&bomb).0 {
            Err(refused) => assert!(is_bomb && refused.param == "place", "{combined}"),
            // The same taken in twice is the same.
            Ok(written) => assert!(!is_bomb && written == json!({"type": "STRING"}), "{combined}: {written}"),
        }
    }
    let long = json!({"type": "string", "description": "x".repeat(100_000)});
    let uses: serde_json::Map<_, _> =
        (0..100).map(|number| (format!("p{number}"), json!({"$ref": "#/$defs/long"}))).collect();
    assert!(converted(&json!({"properties": uses, "$defs": {"long": long}})).0.is_err());
}

#[test]
fn a_schema_may_be_as_deep_as_a_document() {
    for keyword in ["allOf", "anyOf", "items", "properties"] {
        let mut schema = json!({"type": "string"});
        for _ in 0..60 {
            schema = match keyword {
                "items" => json!({"items": schema}),
                "properties" => json!({"properties": {"p": schema}}),
                keyword => json!({keyword: [schema]}),
            };
        }
        assert!(converted(&schema).0.is_ok(), "{keyword}");
    }
}
