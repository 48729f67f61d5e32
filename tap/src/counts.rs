//! A `usage` object, whoever wrote it, as [`Usage`].
//!
//! Streams report in pieces (Anthropic gives the input first and the output last; vLLM repeats a growing count), so
//! that what comes later completes or replaces what came before, member by member. A member of an unexpected type is
//! passed over: one server's oddity must not cost the counts beside it.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::report::Usage;

/// The counts seen so far, under the names that the APIs give them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// `prompt_tokens` or `input_tokens`.
    input: Option<u64>,
    /// `completion_tokens` or `output_tokens`.
    output: Option<u64>,
    total: Option<u64>,
    /// Cached tokens that `input` includes (OpenAI).
    included_cached: Option<u64>,
    /// Cached tokens that come on top of `input` (Anthropic).
    extra_cached: Option<u64>,
    /// Tokens written to the cache, on top of `input` (Anthropic).
    cache_creation: Option<u64>,
    reasoning: Option<u64>,
    /// Output that does not include `reasoning` (Google).
    candidates: Option<u64>,
    /// Tokens of the prompt beside `input` (Google).
    extra_input: Option<u64>,
}

impl Counts {
    /// Takes over the counts of one `usage` object. Text that is no JSON object changes nothing.
    pub(crate) fn merge(&mut self, json: &[u8]) {
        let mut merged = *self;
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        if Members(&mut merged).deserialize(&mut deserializer).is_ok() {
            *self = merged;
        }
    }

    /// The counts in one vocabulary.
    pub(crate) fn usage(&self) -> Usage {
        let beside = [self.extra_cached, self.cache_creation, self.extra_input];
        let beside = beside.iter().flatten().fold(0, |sum: u64, count| sum.saturating_add(*count));
        let input = self.input.map(|input| input.saturating_add(beside));
        let google = || Some(self.candidates?.saturating_add(self.reasoning.unwrap_or(0)));
        let output = self.output.or_else(google);
        let sum = || Some(input?.saturating_add(output?));
        Usage {
            input,
            output,
            cached_input: self.extra_cached.or(self.included_cached),
            cache_creation: self.cache_creation,
            reasoning: self.reasoning,
            total: self.total.or_else(sum),
        }
    }
}

/// The members of a `usage` object and of the objects of details in it, whose names do not collide. Bedrock's are Anthropic's
/// in another case.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    #[serde(alias = "promptTokenCount")]
    PromptTokens,
    #[serde(alias = "inputTokens")]
    InputTokens,
    CompletionTokens,
    #[serde(alias = "outputTokens")]
    OutputTokens,
    #[serde(alias = "totalTokens", alias = "totalTokenCount")]
    TotalTokens,
    PromptTokensDetails,
    InputTokensDetails,
    CompletionTokensDetails,
    OutputTokensDetails,
    #[serde(alias = "cachedContentTokenCount")]
    CachedTokens,
    ReasoningTokens,
    #[serde(alias = "cacheReadInputTokens")]
    CacheReadInputTokens,
    #[serde(alias = "cacheWriteInputTokens")]
    CacheCreationInputTokens,
    /// Google's output without the reasoning.
    #[serde(rename = "candidatesTokenCount")]
    CandidatesTokenCount,
    /// Google's reasoning.
    #[serde(rename = "thoughtsTokenCount")]
    ThoughtsTokenCount,
    /// What Google counts for results of tools, beside the prompt.
    #[serde(rename = "toolUsePromptTokenCount")]
    ToolUsePromptTokenCount,
    /// DeepSeek's name for the cached part of the prompt.
    PromptCacheHitTokens,
    #[serde(other)]
    Other,
}

struct Members<'a>(&'a mut Counts);

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("token counts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let counts = self.0;
        while let Some(member) = map.next_key::<Member>()? {
            let slot = match member {
                Member::PromptTokens | Member::InputTokens => &mut counts.input,
                Member::CompletionTokens | Member::OutputTokens => &mut counts.output,
                Member::TotalTokens => &mut counts.total,
                Member::CachedTokens | Member::PromptCacheHitTokens => &mut counts.included_cached,
                Member::ReasoningTokens | Member::ThoughtsTokenCount => &mut counts.reasoning,
                Member::CandidatesTokenCount => &mut counts.candidates,
                Member::ToolUsePromptTokenCount => &mut counts.extra_input,
                Member::CacheReadInputTokens => &mut counts.extra_cached,
                Member::CacheCreationInputTokens => &mut counts.cache_creation,
                Member::PromptTokensDetails
                | Member::InputTokensDetails
                | Member::CompletionTokensDetails
                | Member::OutputTokensDetails => {
                    map.next_value_seed(Members(counts))?;
                    continue;
                }
                Member::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if let Count(Some(count)) = map.next_value()? {
                *slot = Some(count);
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        IgnoredAny.visit_seq(seq).map(drop)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// A count, or `None` for whatever is none.
struct Count(Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token count")
    }

    fn visit_u64<E>(self, count: u64) -> Result<Count, E> {
        Ok(Count(Some(count)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Count, E> {
        Ok(Count(None))
    }

    /// Some servers write `12.0`. Above 2^53 a float no longer counts.
    fn visit_f64<E>(self, count: f64) -> Result<Count, E> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let is_count = (0.0..EXACT).contains(&count) && count.fract() == 0.0;
        Ok(Count(is_count.then_some(count as u64)))
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Count, A::Error> {
        IgnoredAny.visit_map(map).map(|_| Count(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Count, A::Error> {
        IgnoredAny.visit_seq(seq).map(|_| Count(None))
    }
}
