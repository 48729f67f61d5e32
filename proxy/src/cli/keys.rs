//! `penstock keys`: makes keys of consumers, and digests those that are there already.
//!
//! Standard output has what a script takes and nothing else: the key, or the digest. What a person is to do with it is on
//! standard error. Neither command reads or writes a routing document: who makes keys need not be who may change it.

use std::{
    io::{self, IsTerminal as _, Read, Write as _},
    process::ExitCode,
};

use clap::{Args, Subcommand, ValueEnum};
use penstock_policies::key_digest;
use penstock_sources::files::{self, ReadError};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;
use thiserror::Error;

use super::{EXIT_USAGE, fail, help};

/// What keys are written in: letters and digits mean nothing in a header, a query, a cookie or a shell, and a double click
/// selects all of them. Base64 was turned down for the signs that it has beside them.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How many of [`ALPHABET`] a key has behind its prefix: the fewest that hold 256 bits.
const RANDOM_LETTERS: usize = 43;

/// Random bytes below this stand for a letter, all letters for equally many.
const FAIR_BYTES: u8 = 248;

/// The longest key that is read, in bytes. Longer ones fit in no header beside others.
const KEY_LIMIT_BYTES: u64 = 16 << 10;

/// The longest prefix of a new key, in bytes.
const PREFIX_LIMIT_BYTES: usize = 64;

/// The longest name of a consumer, in bytes, as in the routing document.
const NAME_LIMIT_BYTES: usize = 253;

/// A key that is shorter than this, in bytes, may be found by trying, and whoever sees its digest can try.
const WEAK_BYTES: usize = 20;

/// What is done with keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key, print it once, and say what the configuration has of it
    #[command(after_long_help = help::AFTER_KEYS_NEW)]
    New(NewOptions),
    /// Print the digest of a key, which is read from standard input
    #[command(after_long_help = help::AFTER_KEYS_DIGEST)]
    Digest(DigestOptions),
}

/// Options of `keys new`.
#[derive(Debug, Args)]
pub(super) struct NewOptions {
    /// The consumer whose key it will be, for the lines that are printed for the configuration
    #[arg(long, value_name = "NAME", value_parser = consumer)]
    consumer: Option<String>,
    /// What the key begins with, by which people and scanners for secrets know it
    #[arg(long, value_name = "PREFIX", value_parser = prefix, default_value = "sk-ps-")]
    prefix: String,
    /// The form of standard output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: KeyFormat,
    /// Print nothing but that
    #[arg(short, long)]
    quiet: bool,
}

/// Options of `keys digest`.
#[derive(Debug, Args)]
pub(super) struct DigestOptions {
    /// Print a line for a file of keys: this consumer's name, and the digest
    #[arg(long, value_name = "NAME", value_parser = consumer)]
    consumer: Option<String>,
}

/// How a new key is printed.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum KeyFormat {
    /// The key, on a line of its own
    #[default]
    Text,
    /// An object with `key`, `digest` and `consumer`, on one line
    Json,
}

/// Why what was read is no key.
#[derive(Debug, Error)]
enum KeyFault {
    /// It could not be read.
    #[error("standard input: {0}")]
    Read(#[from] ReadError),
    /// There is none.
    #[error("standard input has no key")]
    Empty,
    /// It has white space, line breaks or letters beyond ASCII.
    #[error("standard input: a key is one line of visible ASCII characters; no client could show this one")]
    Unshowable,
}

/// Does what `command` says.
pub(super) fn run(command: &KeysCommand) -> io::Result<ExitCode> {
    match command {
        KeysCommand::New(options) => new(options),
        KeysCommand::Digest(options) => digest(options),
    }
}

/// Makes a key and prints it.
fn new(options: &NewOptions) -> io::Result<ExitCode> {
    let key = format!("{}{}", options.prefix, random_letters()?);
    let digest = key_digest(key.as_bytes()).to_string();
    let consumer = options.consumer.as_deref();
    let mut out = io::stdout().lock();
    match options.format {
        KeyFormat::Text => writeln!(out, "{key}")?,
        KeyFormat::Json => {
            writeln!(out, "{}", json!({ "key": key, "digest": digest, "consumer": consumer }))?;
        }
    }
    if !options.quiet {
        let _ = io::stderr().write_all(advice(consumer.unwrap_or("NAME"), &digest).as_bytes());
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a key and prints its digest.
fn digest(options: &DigestOptions) -> io::Result<ExitCode> {
    let input = io::stdin();
    if input.is_terminal() {
        let _ = writeln!(io::stderr(), "Type the key, Enter and Ctrl-D. The terminal shows it.");
    }
    let key = match read_key(input.lock()) {
        Ok(key) => key,
        Err(fault) => return Ok(fail(EXIT_USAGE, &fault)),
    };
    if key.len() < WEAK_BYTES {
        let _ = writeln!(
            io::stderr(),
            "warning: the key is shorter than {WEAK_BYTES} characters: whoever sees its digest may find it by trying"
        );
    }
    let mut out = io::stdout().lock();
    match &options.consumer {
        Some(consumer) => writeln!(out, "{consumer} {}", key_digest(key.as_bytes()))?,
        None => writeln!(out, "{}", key_digest(key.as_bytes()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the configuration has of a key, in both of its places.
fn advice(consumer: &str, digest: &str) -> String {
    // A JSON string is one of YAML too, and says that it is a text: names such as `on` and `1e3` are something else there.
    let quoted = json!(consumer);
    format!(
        "\nThis is the key. It is stored nowhere and cannot be shown again; the gateway knows it by its digest.\n\n\
         In a routing document:\n\n\
         consumers:\n- name: {quoted}\n  keys: [\"{digest}\"]\n\n\
         Or, where a policy has `authentication.apiKey.file`, as a line of that file:\n\n\
         {consumer} {digest}\n"
    )
}

/// A key without the line end that editors and `echo` put behind it.
fn read_key(input: impl Read) -> Result<String, KeyFault> {
    let text = files::read_text_from(input, KEY_LIMIT_BYTES)?;
    let key = text.trim_end_matches(['\r', '\n']);
    if key.is_empty() {
        return Err(KeyFault::Empty);
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(KeyFault::Unshowable);
    }
    Ok(key.to_owned())
}

/// [`RANDOM_LETTERS`] letters that nobody can foretell.
fn random_letters() -> io::Result<String> {
    let system = SystemRandom::new();
    let mut letters = String::with_capacity(RANDOM_LETTERS);
    let mut bytes = [0; 64];
    while letters.len() < RANDOM_LETTERS {
        system.fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR_BYTES);
        let drawn = fair.map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
        letters.extend(drawn.take(RANDOM_LETTERS - letters.len()));
    }
    Ok(letters)
}

/// A name that a line of a file of keys can have.
fn consumer(text: &str) -> Result<String, &'static str> {
    let is_name = (1..=NAME_LIMIT_BYTES).contains(&text.len())
        && !text.starts_with('#')
        && !text.contains(|sign: char| sign.is_whitespace() || sign.is_control());
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("a name has 1 to 253 bytes and no white space, and does not begin with `#`")
    }
}

/// A prefix that means nothing wherever a key is shown.
fn prefix(text: &str) -> Result<String, &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.len() <= PREFIX_LIMIT_BYTES && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("a prefix has at most 64 letters, digits, `-`, `_` and `.`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_up_equally_often() {
        let mut counts = [0_u32; 128];
        for _ in 0..2_000 {
            let letters = random_letters().unwrap();
            assert_eq!(letters.len(), RANDOM_LETTERS);
            letters.bytes().for_each(|letter| counts[usize::from(letter)] += 1);
        }
        // Some 1,387 times each, give or take 37; a letter that were drawn by five bytes in place of four had 1,734.
        for letter in ALPHABET {
            let count = counts[usize::from(*letter)];
            assert!((1_100..1_680).contains(&count), "{} came up {count} times", char::from(*letter));
        }
    }

    #[test]
    fn a_key_is_read_as_clients_show_it() {
        for (text, key) in [("sk-a", "sk-a"), ("sk-a\n", "sk-a"), ("sk-a\r\n", "sk-a"), ("=!~", "=!~")] {
            assert_eq!(read_key(text.as_bytes()).unwrap(), key);
        }
        assert!(matches!(read_key(&b"\n"[..]), Err(KeyFault::Empty)));
        for text in ["a b", " a", "a\nb", "a\tb", "clé", "a\0"] {
            assert!(matches!(read_key(text.as_bytes()), Err(KeyFault::Unshowable)), "{text:?}");
        }
        assert!(matches!(read_key(&[b'a'; 16_385][..]), Err(KeyFault::Read(ReadError::TooLarge { .. }))));
    }

    #[test]
    fn names_and_prefixes_break_no_line_and_no_header() {
        for name in ["search", "a@example.com", "bücher", "x#1", &"n".repeat(253)] {
            assert_eq!(consumer(name).as_deref(), Ok(name));
        }
        for name in ["", "a b", "a\nb", "#a", "a\u{a0}b", &"n".repeat(254)] {
            assert!(consumer(name).is_err(), "{name:?}");
        }
        for text in ["", "sk-", "acme_prod.", &"p".repeat(64)] {
            assert_eq!(prefix(text).as_deref(), Ok(text));
        }
        for text in ["a b", "a;", "é", "\"", &"p".repeat(65)] {
            assert!(prefix(text).is_err(), "{text:?}");
        }
    }
}
