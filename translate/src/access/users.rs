//! Names and passwords: a Secret with what `htpasswd -s` writes.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Fault, File, MAX_FILE_BYTES, Users};
use crate::api::{SecretRef, UserAccess};
use crate::context::{Context, Referrer};
use crate::output::Made;
use crate::world::{Key, Kind};

/// The key of the Secret.
const HTPASSWD: &str = ".htpasswd";

/// What stands before a digest. Envoy takes no others.
const SHA: &str = "{SHA}";

/// The most bytes of a name.
const MAX_NAME_BYTES: usize = 253;

/// The bytes of a SHA-1.
const SHA_BYTES: usize = 20;

pub(super) fn read(context: &Context<'_>, policy: &Key, spec: &UserAccess) -> Users {
    Users {
        file: spec.users.as_ref().map(|reference| file(context, policy, reference)),
        header: spec.forward_username_header.clone(),
    }
}

fn file(context: &Context<'_>, policy: &Key, reference: &SecretRef) -> Result<File, Fault> {
    let from = Referrer::of(Kind::SecurityPolicy, &policy.namespace);
    let (secret, values) =
        context.referred_secret(from, reference, "Invalid").map_err(|error| error.message)?;
    let value = values.get(HTPASSWD).ok_or_else(|| format!("the Secret {secret} has no key {HTPASSWD}"))?;
    let fault = |fault: String| format!("{HTPASSWD} of Secret {secret} {fault}");
    let text = std::str::from_utf8(value.expose()).map_err(|_| fault("is no text".to_owned()))?;
    let text = lines(text).map_err(fault)?;
    let of = format!("{HTPASSWD} of Secret {secret}");
    Ok(File::made("access", policy, "users", Made::new(text, of)))
}

/// The users, a line each. No message shows a line: it has a digest.
fn lines(text: &str) -> Result<String, Fault> {
    let mut names = BTreeSet::new();
    let mut lines = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, password) = line
            .split_once(':')
            .filter(|(name, _)| is_name(name))
            .ok_or_else(|| format!("has no NAME:{SHA}DIGEST in line {number}, as `htpasswd -s` writes it"))?;
        let digest = password.strip_prefix(SHA).and_then(|digest| STANDARD.decode(digest).ok());
        if digest.is_none_or(|digest| digest.len() != SHA_BYTES) {
            return Err(format!("has no {SHA} and a SHA-1 in line {number}: use `htpasswd -s`"));
        }
        if !names.insert(name) {
            return Err(format!("has the name of line {number} twice"));
        }
        lines.push_str(line);
        lines.push('\n');
    }
    match (lines.is_empty(), lines.len() > MAX_FILE_BYTES) {
        (true, _) => Err("has no users".to_owned()),
        (_, true) => Err(format!("has more than {MAX_FILE_BYTES} bytes")),
        _ => Ok(lines),
    }
}

/// Whether data planes take it for a name.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn users_are_those_that_htpasswd_writes_with_sha() {
        let one = "user:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=";
        assert_eq!(lines(&format!("# users\r\n {one}\r\n\n")), Ok(format!("{one}\n")));
        for (text, says) in [
            ("", "no users"),
            ("user", "line 1"),
            (":{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "line 1"),
            ("user:$apr1$x$y", "`htpasswd -s`"),
            ("user:{SHA}AAAA", "`htpasswd -s`"),
            (&format!("{one}\n{one}"), "line 2 twice"),
        ] {
            let fault = lines(text).unwrap_err();
            assert!(fault.contains(says) && !fault.contains("apr1"), "{text}: {fault}");
        }
    }
}
