//! Which model names may stand in a header, a metric label and a log line.
//!
//! The name leaves the body: it becomes a request header towards the model server, a label and a log field.
//! To clean it up on the way was turned down, because then the gateway would decide on another name than
//! the one that the model server reads.

use crate::NameFault;

/// Checks a model name whose escapes were resolved.
pub(crate) fn check(name: &str) -> Result<(), NameFault> {
    if name.is_empty() {
        return Err(NameFault::Empty);
    }
    if name.chars().any(is_harmful) {
        return Err(NameFault::Control);
    }
    if name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace) {
        return Err(NameFault::Padding);
    }
    Ok(())
}

/// Control characters, line and paragraph separators, and what turns the direction of text or hides in it.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}
