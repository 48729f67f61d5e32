//! How much a model is to think: asked in words, in tokens or not at all, and said as the model's generation has it.

use std::borrow::Cow;

use crate::anthropic::request::target::{Target, is_sent};
use crate::conversation::{Content, Conversation, Reasoning, Role, ToolChoice};

/// Tokens to generate where the client does not say, which the API wants to know.
const DEFAULT_MAX_TOKENS: u64 = 4096;

/// The fewest tokens to think with that the API takes.
const LEAST_BUDGET: u64 = 1024;

/// What a request says of thinking.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) mode: Mode,
    /// `output_config.effort`.
    pub(super) effort: Option<&'static str>,
    /// The most tokens to generate, those of thoughts included.
    pub(super) max_tokens: Cow<'a, str>,
}

/// `thinking`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Unsaid,
    Off,
    Adaptive,
    Budget(u64),
}

impl Plan<'_> {
    pub(super) fn is_thinking(&self) -> bool {
        matches!(self.mode, Mode::Adaptive | Mode::Budget(_))
    }
}

/// Plans it. Models from Claude 4.6 on think as they find fit, and take an effort; older ones take a number of tokens.
pub(super) fn plan<'a>(conversation: &Conversation<'a>, target: &mut Target<'_>) -> Plan<'a> {
    let asked = conversation.max_tokens;
    let given = || match asked {
        Some(number) => Cow::Borrowed(number),
        None => Cow::Owned(DEFAULT_MAX_TOKENS.to_string()),
    };
    let unsaid = Plan { mode: Mode::Unsaid, effort: None, max_tokens: given() };
    let is_adaptive = !target.generation.is_before(4, 6);
    let (mode, effort) = match &conversation.reasoning {
        None => return unsaid,
        Some(Reasoning::Off) => (off(target), None),
        Some(Reasoning::Effort(word)) => match &*word.decoded() {
            "none" => (off(target), None),
            word => match effort(word, target) {
                Some((effort, _)) if is_adaptive => (Mode::Adaptive, Some(effort)),
                Some((_, budget)) => (Mode::Budget(budget), None),
                None => return unsaid,
            },
        },
        Some(Reasoning::Adaptive) if is_adaptive => (Mode::Adaptive, None),
        Some(Reasoning::Adaptive) => (Mode::Budget(2 * LEAST_BUDGET), None),
        Some(Reasoning::Budget(_)) if is_adaptive => {
            target.notes.dropped("thinking.budget_tokens");
            (Mode::Adaptive, None)
        }
        Some(Reasoning::Budget(tokens)) => (Mode::Budget((*tokens).max(LEAST_BUDGET)), None),
    };
    let is_thinking = matches!(mode, Mode::Adaptive | Mode::Budget(_));
    // Claude 3.7 is the first that thinks.
    if is_thinking && (is_forced(conversation) || target.generation.is_before(3, 7))
        || matches!(mode, Mode::Budget(_)) && lacks_thoughts(conversation)
    {
        target.notes.dropped("reasoning_effort");
        return Plan { effort, ..unsaid };
    }
    let Mode::Budget(budget) = mode else { return Plan { mode, effort, max_tokens: given() } };
    match asked.map(|number| number.parse::<u64>().unwrap_or(0)) {
        // The answer gets as many as without thoughts.
        None => {
            let most = budget.saturating_add(DEFAULT_MAX_TOKENS);
            Plan { mode, effort, max_tokens: Cow::Owned(most.to_string()) }
        }
        Some(most) if most > LEAST_BUDGET => {
            Plan { mode: Mode::Budget(budget.min(most - 1)), effort, max_tokens: given() }
        }
        Some(_) => {
            target.notes.dropped("reasoning_effort");
            unsaid
        }
    }
}

/// Models of the fifth generation think unless told not to; with older ones nothing needs saying.
fn off(target: &Target<'_>) -> Mode {
    if target.generation.is_from(5, 0) { Mode::Off } else { Mode::Unsaid }
}

/// What an effort is called and what it is in tokens.
fn effort(word: &str, target: &mut Target<'_>) -> Option<(&'static str, u64)> {
    Some(match word {
        "minimal" | "low" => ("low", LEAST_BUDGET),
        "medium" => ("medium", 2 * LEAST_BUDGET),
        "high" => ("high", 4 * LEAST_BUDGET),
        // Between `high` and `max`, which is all that Claude 4.6 has.
        "xhigh" if target.generation.is_before(4, 7) => ("high", 8 * LEAST_BUDGET),
        "xhigh" => ("xhigh", 8 * LEAST_BUDGET),
        "max" => ("max", 16 * LEAST_BUDGET),
        _ => {
            let message = "the effort has to be none, minimal, low, medium, high, xhigh or max";
            target.refuse("reasoning_effort", message);
            return None;
        }
    })
}

/// Whether a tool has to be called, which a model that thinks first cannot be told.
fn is_forced(conversation: &Conversation<'_>) -> bool {
    !conversation.tools.is_empty()
        && matches!(conversation.tool_choice, Some(ToolChoice::Any | ToolChoice::Named(_)))
}

/// Whether the model has called tools without a thought before: it cannot begin to think in the middle of a turn.
fn lacks_thoughts(conversation: &Conversation<'_>) -> bool {
    let turns = conversation.turns.iter().filter(|turn| turn.parts.iter().any(is_sent));
    let mut last: Vec<_> = turns.rev().skip_while(|turn| turn.role == Role::User).collect();
    let length = last.iter().take_while(|turn| turn.role == Role::Assistant).count();
    last.truncate(length);
    let parts = || last.iter().rev().flat_map(|turn| &turn.parts).filter(|part| is_sent(part));
    let first = parts().next().map(|part| &part.content);
    parts().any(|part| matches!(part.content, Content::ToolCall { .. }))
        && !matches!(first, Some(Content::Reasoning { .. } | Content::Redacted(_)))
}
