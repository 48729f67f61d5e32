//! How the program ends when something is wrong.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Exit code for a faulty command line or faulty input (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// Exit code when the program cannot go on for another reason.
pub const EXIT_FAILURE: u8 = 1;

/// Says on standard error why the program ends.
pub(crate) fn fail(code: u8, reason: &impl Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "penstock-operator: {reason}");
    ExitCode::from(code)
}
