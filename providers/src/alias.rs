//! Names and ids that an upstream does not take, and what stands for them there.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Names of tools that an upstream would refuse, and the names that it gets instead. What it answers is named back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aliases {
    /// Names by their aliases: a request may have any number.
    names: BTreeMap<String, String>,
}

impl Aliases {
    /// What `name` is called upstream, where at most `longest` characters out of `A-Z a-z 0-9 _ -` are taken: itself if
    /// that will do. The same name has the same alias, in this request and in the next.
    pub(crate) fn of<'a>(&mut self, name: &'a str, longest: usize) -> Cow<'a, str> {
        self.remembered(name, safe(name, longest))
    }

    /// As [`Self::of`], for an upstream whose names have to start with a letter or `_` as well.
    pub(crate) fn identifier<'a>(&mut self, name: &'a str, longest: usize) -> Cow<'a, str> {
        if name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            return self.of(name, longest);
        }
        let alias = format!("_{}", hashed(name, longest.saturating_sub(1)));
        self.remembered(name, Cow::Owned(alias))
    }

    fn remembered<'a>(&mut self, name: &str, alias: Cow<'a, str>) -> Cow<'a, str> {
        if let Cow::Owned(alias) = &alias
            && !self.names.contains_key(alias)
        {
            self.names.insert(alias.clone(), name.to_owned());
        }
        alias
    }

    /// The name that stands behind what the upstream calls `alias`.
    pub(crate) fn name<'a>(&'a self, alias: &'a str) -> &'a str {
        self.names.get(alias).map_or(alias, String::as_str)
    }
}

/// `text` if it has 1 to `longest` characters out of `A-Z a-z 0-9 _ -`; otherwise a text like that which no other text is
/// likely to have: its start, and its hash.
pub(crate) fn safe(text: &str, longest: usize) -> Cow<'_, str> {
    if (1..=longest).contains(&text.len()) && text.chars().all(is_safe) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(hashed(text, longest))
}

fn is_safe(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

/// The start of `text`, as far as it is safe, and its hash.
fn hashed(text: &str, longest: usize) -> String {
    let start = text.chars().map(|character| if is_safe(character) { character } else { '_' });
    // 17 characters of the end are the hash's.
    let start: String = start.take(longest.saturating_sub(17)).collect();
    format!("{start}_{:016x}", hash(text))
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_taken_has_an_alias_and_comes_back() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.of("get_weather", 64), "get_weather");
        let long = "x".repeat(65);
        for name in ["mcp.server.tool", "wetter in Köln", "", long.as_str()] {
            let alias = aliases.of(name, 64).into_owned();
            assert_eq!(aliases.of(name, 64), alias);
            assert!(alias.len() <= 64 && safe(&alias, 64) == alias, "{alias}");
            assert_eq!(aliases.name(&alias), name);
        }
        assert_eq!(aliases.name("get_weather"), "get_weather");
        assert_ne!(safe("a.b", 64), safe("a b", 64));
    }

    #[test]
    fn an_identifier_starts_with_a_letter_or_an_underscore() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.identifier("_get", 64), "_get");
        let long = "7".repeat(65);
        for name in ["3d_render", "-x", "ä", "", long.as_str()] {
            let alias = aliases.identifier(name, 64).into_owned();
            assert!(alias.len() <= 64 && alias.starts_with('_') && safe(&alias, 64) == alias, "{alias}");
            assert_eq!(aliases.name(&alias), name);
        }
    }
}
