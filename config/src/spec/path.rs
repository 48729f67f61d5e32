//! Paths, as rules of authorization judge them.
//!
//! Routes go by a path as it is written, and so do upstreams, each in its own way: some take `//`, `%2F` or `;x` for other
//! paths than they look like. So a rule judges a path twice, as it is written and in its plain form, and by what it does:
//! one that refuses is met by either, in any case, and one that serves only by both. A change of how a path is written can
//! then only lose access. Turned down: making paths plain before routes see them, which would change what upstreams get.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::pattern::{PathCondition, Pattern};

/// A condition on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTest {
    condition: PathCondition,
    is_of_refusal: bool,
}

impl PathTest {
    /// Of a rule that refuses, or of one that serves. The pattern of a rule that refuses is for any case already.
    pub(crate) fn new(condition: PathCondition, is_of_refusal: bool) -> Self {
        Self { condition, is_of_refusal }
    }

    /// Whether a path meets it; `plain` is its plain form.
    pub fn is_met(&self, path: &str, plain: &str) -> bool {
        match self.is_of_refusal {
            true => [path, plain, plain.trim_end_matches('/')].into_iter().any(|path| self.accepts(path)),
            false => self.accepts(path) && (path == plain || self.accepts(plain)),
        }
    }

    fn accepts(&self, path: &str) -> bool {
        match &self.condition {
            PathCondition::Exact(exact) if self.is_of_refusal => {
                let (exact, path) = (exact.trim_end_matches('/'), path.trim_end_matches('/'));
                exact.eq_ignore_ascii_case(path)
            }
            PathCondition::Exact(exact) => **exact == *path,
            PathCondition::Prefix(prefix) => {
                let is_alike = |start: &[u8]| match self.is_of_refusal {
                    true => start.eq_ignore_ascii_case(prefix.as_bytes()),
                    false => *start == *prefix.as_bytes(),
                };
                let (path, length) = (path.as_bytes(), prefix.len());
                path.get(..length).is_some_and(is_alike) && matches!(path.get(length), None | Some(b'/'))
            }
            PathCondition::Pattern(pattern) => pattern.accepts(path.as_bytes()),
        }
    }

    /// A pattern for any case.
    pub(crate) fn any_case(source: &str) -> Result<Pattern, String> {
        let compiled = Pattern::new(source).and_then(|_| Pattern::new(&format!("(?i:{source})")));
        compiled.map_err(|error| error.to_string())
    }
}

/// The plain form of a path: percent-encoding is undone, backslashes are slashes, several slashes are one, and what a
/// segment has behind a semicolon is gone. As it is where that changes nothing.
pub fn plain_path(path: &str) -> Cow<'_, str> {
    let is_odd = |pair: &[u8]| pair == b"//";
    let has_odd = path.bytes().any(|byte| matches!(byte, b'%' | b'\\' | b';'));
    if !has_odd && !path.as_bytes().windows(2).any(is_odd) {
        return Cow::Borrowed(path);
    }
    let decoded = percent_decode_str(path).decode_utf8_lossy().replace('\\', "/");
    let mut plain = String::with_capacity(decoded.len());
    for segment in decoded.split('/') {
        let segment = segment.split(';').next().unwrap_or_default();
        if !segment.is_empty() {
            plain.push('/');
            plain.push_str(segment);
        }
    }
    if plain.is_empty() || decoded.ends_with('/') {
        plain.push('/');
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tests(is_of_refusal: bool) -> [PathTest; 3] {
        let pattern = match is_of_refusal {
            true => PathTest::any_case("/v1/f[a-z]+s").unwrap(),
            false => Pattern::new("/v1/f[a-z]+s").unwrap(),
        };
        [
            PathCondition::Exact("/v1/files".into()),
            PathCondition::Prefix("/v1/files".into()),
            PathCondition::Pattern(pattern),
        ]
        .map(|condition| PathTest::new(condition, is_of_refusal))
    }

    fn are_met(is_of_refusal: bool, path: &str) -> [bool; 3] {
        tests(is_of_refusal).map(|test| test.is_met(path, &plain_path(path)))
    }

    #[test]
    fn a_refusal_holds_however_the_path_is_written_and_a_permission_does_not() {
        for path in [
            "//v1/files",
            "/v1//files",
            "/v1%2ffiles",
            "/v1%2Ffiles",
            "/v1/%66iles",
            "/V1/Files",
            "/v1/files;x=1",
            "/v1/files%3bx",
        ] {
            assert_eq!(are_met(true, path), [true; 3], "{path}");
            assert_eq!(are_met(false, path), [false; 3], "{path}");
        }
        assert_eq!(are_met(true, "/v1/files/"), [true; 3]);
        assert_eq!(are_met(false, "/v1/files/"), [false, true, false]);
        for is_of_refusal in [true, false] {
            assert_eq!(are_met(is_of_refusal, "/v1/files"), [true; 3]);
            assert_eq!(are_met(is_of_refusal, "/v1/files/a"), [false, true, false]);
            assert_eq!(are_met(is_of_refusal, "/v1/filesystem"), [false; 3]);
            assert_eq!(are_met(is_of_refusal, "/v1/x"), [false; 3]);
        }
    }

    #[test]
    fn a_prefix_of_everything_is_met_by_everything() {
        for is_of_refusal in [true, false] {
            let all = PathTest::new(PathCondition::Prefix("".into()), is_of_refusal);
            assert!(["/", "/a", "//a", "/a%2fb"].iter().all(|path| all.is_met(path, &plain_path(path))));
        }
    }

    #[test]
    fn a_plain_path_is_as_it_is() {
        for path in ["/", "/v1/chat/completions", "/v1/", "*", "/a.b~c"] {
            assert!(matches!(plain_path(path), Cow::Borrowed(same) if same == path));
        }
        for (path, plain) in
            [("//", "/"), ("/a//b/", "/a/b/"), ("/a%2Fb", "/a/b"), ("/a;x/b", "/a/b"), ("/a\\b", "/a/b")]
        {
            assert_eq!(plain_path(path), plain);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_served_is_served_in_its_plain_form(path in "(/|//|%2f|%2F|;|a|A|%61|b|/v1|/files){1,8}") {
            let plain = plain_path(&path);
            for test in tests(false) {
                prop_assert!(!test.is_met(&path, &plain) || test.is_met(&plain, &plain_path(&plain)));
            }
            for test in tests(true) {
                prop_assert!(!test.is_met(&plain, &plain_path(&plain)) || test.is_met(&path, &plain));
            }
        }
    }
}
