//! How much the model is to think: in tokens, in words, or as it thinks fit, depending on which model it is.

use super::super::is_thought;
use super::Turns;
use crate::bedrock::model::Family;
use crate::conversation::{Content, Conversation, Notes, Reasoning, Role, ToolChoice};
use crate::json::Writer;

/// The least that Claude takes as a budget, in tokens.
const MIN_BUDGET: u64 = 1024;

/// The first Claude that thinks, and the first that adapts how much.
const THINKS: (u8, u8) = (3, 7);
const ADAPTS: (u8, u8) = (4, 6);

/// The first that takes no budget any more, and the first that thinks without being told to.
const NEEDS_NO_BUDGET: (u8, u8) = (4, 7);
const THINKS_UNASKED: (u8, u8) = (5, 0);

/// How much the model is to think, as it wants to be told.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Thinking {
    form: Form,
    /// For Converse's `outputConfig`.
    effort: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Form {
    /// Nothing is said of it.
    #[default]
    Unsaid,
    /// Claude, so many tokens.
    Budget(u64),
    /// Claude, as it thinks fit.
    Adaptive,
    /// Claude, not.
    Disabled,
    /// OpenAI's models, so much.
    OpenAi(&'static str),
    /// Nova 2, so much; or not.
    Nova(Option<&'static str>),
}

impl Thinking {
    /// Whether a Claude will think, and take neither another temperature than 1 nor top_k.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.form, Form::Budget(_) | Form::Adaptive)
    }

    pub(super) fn effort(&self) -> Option<&str> {
        self.effort
    }

    /// Writes the members of `additionalModelRequestFields`.
    pub(super) fn write(&self, out: &mut Writer) {
        match self.form {
            Form::Unsaid => {}
            Form::Budget(tokens) => out.object_at("thinking", |out| {
                out.str_at("type", "enabled");
                out.u64_at("budget_tokens", tokens);
            }),
            Form::Adaptive => out.object_at("thinking", |out| out.str_at("type", "adaptive")),
            Form::Disabled => out.object_at("thinking", |out| out.str_at("type", "disabled")),
            Form::OpenAi(effort) => out.str_at("reasoning_effort", effort),
            Form::Nova(effort) => out.object_at("reasoningConfig", |out| {
                out.str_at("type", if effort.is_some() { "enabled" } else { "disabled" });
                if let Some(effort) = effort {
                    out.str_at("maxReasoningEffort", effort);
                }
            }),
        }
    }
}

/// Decides how the model is told.
pub(super) fn thinking(
    conversation: &Conversation<'_>,
    family: Family,
    turns: &Turns<'_, '_>,
    notes: &mut Notes,
) -> Thinking {
    let asked = Asked { conversation, turns };
    let (name, told) = match &conversation.reasoning {
        None => return Thinking::default(),
        Some(Reasoning::Effort(word)) => match word.decoded().as_ref() {
            "none" => ("reasoning_effort", off(family)),
            word => ("reasoning_effort", known(word, family).and_then(|effort| asked.effort(effort, family))),
        },
        Some(Reasoning::Off) => ("thinking", off(family)),
        Some(Reasoning::Adaptive) => ("thinking", asked.adaptive(family)),
        Some(Reasoning::Budget(tokens)) => {
            if family.is_claude_since(NEEDS_NO_BUDGET) {
                notes.dropped("thinking.budget_tokens");
            }
            ("thinking", asked.budget(*tokens, family))
        }
    };
    told.unwrap_or_else(|| {
        notes.dropped(name);
        Thinking::default()
    })
}

fn off(family: Family) -> Option<Thinking> {
    match family {
        Family::Claude { only_adapts: true, .. } | Family::OpenAi => None,
        Family::Claude { .. } if family.is_claude_since(THINKS_UNASKED) => said(Form::Disabled),
        Family::Nova { reasons: true } => said(Form::Nova(None)),
        // Not to think is what a model does that is not told to.
        _ => said(Form::Unsaid),
    }
}

/// An effort in the words that the model knows.
fn known(word: &str, family: Family) -> Option<&'static str> {
    Some(match word {
        "minimal" | "low" => "low",
        "medium" => "medium",
        "high" => "high",
        // Claude 4.6 has nothing between `high` and `max`; others have nothing more.
        "xhigh" if family.is_claude_since(ADAPTS) && !family.is_claude_since(NEEDS_NO_BUDGET) => "high",
        "xhigh" | "max" if matches!(family, Family::Nova { .. } | Family::OpenAi) => "high",
        "xhigh" => "xhigh",
        "max" => "max",
        _ => return None,
    })
}

/// What is asked for, and what decides whether it can be had: `None` wherever it cannot.
struct Asked<'t, 'x> {
    conversation: &'t Conversation<'x>,
    turns: &'t Turns<'t, 'x>,
}

impl Asked<'_, '_> {
    fn effort(&self, level: &'static str, family: Family) -> Option<Thinking> {
        match family {
            Family::Claude { .. } if family.is_claude_since(ADAPTS) => {
                // One that has to call a tool does not think, and takes no more than `high` then.
                let level = if self.is_forced() && matches!(level, "xhigh" | "max") { "high" } else { level };
                let form = if self.is_forced() { Form::Unsaid } else { Form::Adaptive };
                Some(Thinking { form, effort: Some(level) })
            }
            Family::Claude { .. } if family.is_claude_since(THINKS) => self.budget_if_it_may(match level {
                "low" => MIN_BUDGET,
                "medium" => 2048,
                "high" => 4096,
                "xhigh" => 8192,
                _ => 16384,
            }),
            Family::OpenAi => said(Form::OpenAi(level)),
            Family::Nova { reasons: true } => said(Form::Nova(Some(level))),
            // Bedrock's own word for it.
            Family::Unknown => Some(Thinking { form: Form::Unsaid, effort: Some(level) }),
            Family::Claude { .. } | Family::Nova { .. } | Family::Other => None,
        }
    }

    fn adaptive(&self, family: Family) -> Option<Thinking> {
        match family {
            Family::Unknown => said(Form::Adaptive),
            Family::Claude { .. } if family.is_claude_since(ADAPTS) => said(Form::Adaptive),
            _ => self.effort("medium", family),
        }
    }

    fn budget(&self, tokens: u64, family: Family) -> Option<Thinking> {
        match family {
            Family::Claude { .. } if family.is_claude_since(NEEDS_NO_BUDGET) => said(Form::Adaptive),
            Family::Claude { .. } if family.is_claude_since(THINKS) => said(Form::Budget(tokens)),
            Family::Unknown => said(Form::Budget(tokens)),
            _ => self.effort("medium", family),
        }
    }

    /// A budget that the client did not ask for in tokens. There is none where a tool has to be called, where the answer has
    /// no room, and where a tool was called before without a thought, which this client would have to have kept.
    fn budget_if_it_may(&self, tokens: u64) -> Option<Thinking> {
        let most = self.conversation.max_tokens.and_then(|most| most.parse().ok()).unwrap_or(u64::MAX);
        let may = tokens < most && !self.is_forced() && !self.lacks_thought();
        may.then_some(Thinking { form: Form::Budget(tokens), effort: None })
    }

    fn is_forced(&self) -> bool {
        matches!(self.conversation.tool_choice, Some(ToolChoice::Any | ToolChoice::Named(_)))
            && !self.conversation.tools.is_empty()
    }

    /// Whether the model's last turn calls a tool without a thought before.
    fn lacks_thought(&self) -> bool {
        let last = self.turns.iter().rev().find(|(role, _)| *role == Role::Assistant);
        last.is_some_and(|(_, parts)| {
            let has_call = parts.iter().any(|part| matches!(part.content, Content::ToolCall { .. }));
            has_call && !parts.first().is_some_and(|part| is_thought(part))
        })
    }
}

fn said(form: Form) -> Option<Thinking> {
    Some(Thinking { form, effort: None })
}
