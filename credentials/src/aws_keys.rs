//! Keys of AWS in the file that its tools share (`~/.aws/credentials`).

/// Keys that requests to AWS are signed with. Printable ASCII without spaces, all of them. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct AwsKeys {
    /// Says whose they are; no secret.
    pub access_key: Box<str>,
    /// What is signed with.
    pub secret_key: Box<str>,
    /// Of keys that are lent for a time.
    pub session_token: Option<Box<str>>,
}

/// What is wrong with a file of credentials. Nothing of the file is part of the message but the names of profiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AwsFileFault {
    /// There is no such profile.
    #[error("no profile [{profile}] in it; it has {}", if there.is_empty() { "none" } else { there })]
    NoProfile {
        /// The profile.
        profile: String,
        /// The profiles that there are, as a list.
        there: String,
    },
    /// The profile lacks a key.
    #[error("the profile [{profile}] has no {key}")]
    NoKey {
        /// The profile.
        profile: String,
        /// The key.
        key: &'static str,
    },
    /// A key has characters that no key of AWS has.
    #[error("{key} of the profile [{profile}] is not one: expected printable ASCII without spaces")]
    BadKey {
        /// The profile.
        profile: String,
        /// The key.
        key: &'static str,
    },
}

impl AwsKeys {
    /// Keys of these parts; `None` if one of them is none.
    #[must_use]
    pub fn new(access_key: &str, secret_key: &str, session_token: Option<&str>) -> Option<Self> {
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
        let all = [Some(access_key), Some(secret_key), session_token];
        all.into_iter().flatten().all(is_part).then(|| Self {
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            session_token: session_token.map(Into::into),
        })
    }

    /// Reads the keys of `profile`.
    ///
    /// # Errors
    /// They are not there; see [`AwsFileFault`].
    pub fn parse(file: &str, profile: &str) -> Result<Self, AwsFileFault> {
        /// How many profiles a message lists.
        const MAX_LISTED: usize = 10;
        let sections = file.lines().map(str::trim).filter_map(section);
        let Some(start) = file.lines().position(|line| section(line.trim()) == Some(profile)) else {
            let there: Vec<_> = sections.take(MAX_LISTED).map(|name| format!("[{name}]")).collect();
            return Err(AwsFileFault::NoProfile { profile: profile.to_owned(), there: there.join(", ") });
        };
        let lines = file.lines().skip(start + 1).map(str::trim);
        let settings: Vec<(String, &str)> = lines
            .take_while(|line| section(line).is_none())
            .filter(|line| !line.starts_with(['#', ';']))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim()))
            .collect();
        let find = |key: &'static str| {
            let value = settings.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value);
            match value.filter(|value| !value.is_empty()) {
                Some(value) if value.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(value.into())),
                Some(_) => Err(AwsFileFault::BadKey { profile: profile.to_owned(), key }),
                None => Ok(None),
            }
        };
        let needed = |key| find(key)?.ok_or_else(|| AwsFileFault::NoKey { profile: profile.to_owned(), key });
        Ok(Self {
            access_key: needed("aws_access_key_id")?,
            secret_key: needed("aws_secret_access_key")?,
            session_token: find("aws_session_token")?,
        })
    }
}

impl std::fmt::Debug for AwsKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AwsKeys").finish_non_exhaustive()
    }
}

/// The name of the section that a line begins.
fn section(line: &str) -> Option<&str> {
    Some(line.strip_prefix('[')?.strip_suffix(']')?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\n[default]\naws_access_key_id = AKIA1\naws_secret_access_key=s/+=1\n\n[ team ]\n\
        AWS_ACCESS_KEY_ID=AKIA2\n;aws_session_token=no\naws_secret_access_key = two\naws_session_token = t==\nregion = x\n\
        [half]\naws_access_key_id = AKIA3\n[bad]\naws_access_key_id = A B\n";

    #[test]
    fn the_keys_of_a_profile_are_read_and_no_others() {
        let keys = AwsKeys::parse(FILE, "default").unwrap();
        assert_eq!((&*keys.access_key, &*keys.secret_key, keys.session_token), ("AKIA1", "s/+=1", None));
        let keys = AwsKeys::parse(FILE, "team").unwrap();
        let token = keys.session_token.as_deref();
        assert_eq!((&*keys.access_key, &*keys.secret_key, token), ("AKIA2", "two", Some("t==")));
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_secret() {
        for (file, profile, message) in [
            (FILE, "other", "no profile [other] in it; it has [default], [team], [half], [bad]"),
            ("AKIA", "default", "no profile [default] in it; it has none"),
            (FILE, "half", "the profile [half] has no aws_secret_access_key"),
            (
                FILE,
                "bad",
                "aws_access_key_id of the profile [bad] is not one: expected printable ASCII without spaces",
            ),
        ] {
            assert_eq!(
                AwsKeys::parse(file, profile).err().map(|fault| fault.to_string()).as_deref(),
                Some(message)
            );
        }
    }
}
