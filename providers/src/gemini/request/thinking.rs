//! How much the model is to think.

use crate::conversation::{Notes, Reasoning};
use crate::gemini::Target;
use crate::json::Writer;

/// The most tokens that models think, but for the large ones.
const MOST_TOKENS: u64 = 24_576;

/// The most that large models think.
const MOST_TOKENS_PRO: u64 = 32_768;

/// Writes `thinkingConfig`: a level for models of the third generation, a budget for those before. Both at once are
/// refused by Gemini. Thoughts are shown if there are to be any, as other providers show them.
pub(super) fn write(out: &mut Writer, reasoning: &Reasoning<'_>, target: Target<'_>, notes: &mut Notes) {
    let is_off = is_off(reasoning);
    if target.generation() < Some((2, 5)) {
        if !is_off {
            notes.dropped(name(reasoning));
        }
        return;
    }
    let amount = if target.is_third() {
        level(reasoning, target).map(Amount::Level)
    } else {
        budget(reasoning, target).map(Amount::Budget)
    };
    // Where thinking cannot be turned off, the least there is will have to do.
    let has_no_off = target.is_third() || target.is_pro();
    let is_unknown = amount.is_none() && *reasoning != Reasoning::Adaptive;
    if is_unknown || (is_off && has_no_off) {
        notes.dropped(name(reasoning));
    }
    if is_unknown {
        return;
    }
    out.object_at("thinkingConfig", |out| {
        match amount {
            Some(Amount::Level(level)) => out.str_at("thinkingLevel", level),
            Some(Amount::Budget(budget)) => out.raw_at("thinkingBudget", &budget.to_string()),
            None => {}
        }
        out.bool_at("includeThoughts", !is_off);
    });
}

enum Amount {
    Level(&'static str),
    Budget(i64),
}

/// `None` leaves it to the model.
fn level(reasoning: &Reasoning<'_>, target: Target<'_>) -> Option<&'static str> {
    let least = if target.is_pro() { "LOW" } else { "MINIMAL" };
    // The first of them has no middle.
    let medium = if target.is_pro() && target.generation() == Some((3, 0)) { "HIGH" } else { "MEDIUM" };
    match reasoning {
        Reasoning::Off | Reasoning::Budget(0) => Some(least),
        Reasoning::Adaptive => None,
        Reasoning::Budget(..=1024) => Some("LOW"),
        Reasoning::Budget(..=8192) => Some(medium),
        Reasoning::Budget(_) => Some("HIGH"),
        Reasoning::Effort(effort) => match effort.decoded().as_ref() {
            "none" | "minimal" => Some(least),
            "low" => Some("LOW"),
            "medium" => Some(medium),
            "high" | "xhigh" | "max" => Some("HIGH"),
            _ => None,
        },
    }
}

/// Tokens; -1 leaves it to the model. Efforts are what Google's own endpoint for OpenAI's clients makes of them.
fn budget(reasoning: &Reasoning<'_>, target: Target<'_>) -> Option<i64> {
    let (least, most) = match () {
        () if target.is_pro() => (128, MOST_TOKENS_PRO),
        () if target.is_lite() => (512, MOST_TOKENS),
        () => (1, MOST_TOKENS),
    };
    let off = if target.is_pro() { least } else { 0 };
    let tokens = match reasoning {
        Reasoning::Off | Reasoning::Budget(0) => off,
        Reasoning::Adaptive => return Some(-1),
        Reasoning::Budget(tokens) => *tokens.clamp(&least, &most),
        Reasoning::Effort(effort) => match effort.decoded().as_ref() {
            "none" => off,
            "minimal" | "low" => 1024,
            "medium" => 8192,
            "high" => MOST_TOKENS,
            "xhigh" | "max" => most,
            _ => return None,
        },
    };
    i64::try_from(tokens).ok()
}

fn is_off(reasoning: &Reasoning<'_>) -> bool {
    match reasoning {
        Reasoning::Off | Reasoning::Budget(0) => true,
        Reasoning::Effort(effort) => *effort == "none",
        Reasoning::Adaptive | Reasoning::Budget(_) => false,
    }
}

fn name(reasoning: &Reasoning<'_>) -> &'static str {
    match reasoning {
        Reasoning::Effort(_) => "reasoning_effort",
        Reasoning::Off | Reasoning::Adaptive | Reasoning::Budget(_) => "thinking",
    }
}
