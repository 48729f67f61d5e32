//! Lowering how much.

mod amount;
mod condition;
mod dimension;
mod uses;
mod window;

use std::sync::Arc;

use super::Known;
use crate::lower::names::Names;
use crate::lower::text;
use crate::raw::{RawCount, RawLimit, RawMissing};
use crate::report::{FieldPath, Report};
use crate::spec::{Count, Dimension, LimitSpec, Missing, Window};
use crate::usage::check_expression;

pub(super) use amount::overrides;
pub(super) use condition::Patterns;
pub(in crate::lower) use uses::{check as check_uses, warn as warn_of_uses};

/// What limits are lowered with.
pub(super) struct Lowering<'a, 'd> {
    pub(super) known: &'a Known<'d>,
    pub(super) patterns: &'a mut Patterns,
    pub(super) report: &'a mut Report,
    pub(super) warnings: &'a mut Report,
}

impl Lowering<'_, '_> {
    /// The limits of a policy, whose list is at `place`.
    pub(super) fn limits(&mut self, raw: &[RawLimit], place: &FieldPath<'_>) -> Box<[LimitSpec]> {
        Names::checked(raw.iter().map(|limit| limit.name.as_str()), text::name, place, self.report);
        raw.iter().enumerate().map(|(index, raw)| self.limit(raw, &place.index(index))).collect()
    }

    fn limit(&mut self, raw: &RawLimit, place: &FieldPath<'_>) -> LimitSpec {
        let count = self.count(raw, place);
        let window = window::lower(raw, &count, place, self.report);
        let per = dimension::lower(&raw.per, self.known, &place.field("per"), self.report, self.warnings);
        let amount = amount::lower(raw, &count, place, self.report);
        let each = amount::each(raw, &count, place, self.report);
        amount::warn(&count, (each, amount), place, self.warnings);
        let is_shared = raw.shared.unwrap_or(self.known.has_store);
        if is_shared {
            amount::check_shared(amount, &place.field("amount"), self.report);
        }
        self.check_owner(raw, place);
        self.check_cut(raw, &count, place);
        LimitSpec {
            name: raw.name.as_str().into(),
            each,
            amount,
            window,
            missing: self.missing(raw, &per, place),
            per,
            when: self.condition(&raw.when, &place.field("when")),
            is_shadow: raw.shadow,
            is_shared,
            shared_as: raw.shared_as.as_deref().map(Arc::from),
            cuts_streams: raw.cut_streams,
            count,
        }
    }

    fn count(&mut self, raw: &RawLimit, place: &FieldPath<'_>) -> Count {
        if let Some(source) = &raw.expression {
            let place = place.field("expression");
            if raw.count.is_some() {
                let message = || "is a second word on what is counted: keep count or expression".to_owned();
                self.report.add(&place, message);
            }
            if let Err(message) = check_expression(source) {
                self.report.add(&place, || message);
            }
            return Count::Expression(Arc::from(source.as_str()));
        }
        match raw.count.unwrap_or_default() {
            RawCount::Requests => Count::Requests,
            RawCount::InputTokens => Count::InputTokens,
            RawCount::CachedInputTokens => Count::CachedInputTokens,
            RawCount::CacheWriteTokens => Count::CacheWriteTokens,
            RawCount::OutputTokens => Count::OutputTokens,
            RawCount::ReasoningTokens => Count::ReasoningTokens,
            RawCount::TotalTokens => Count::TotalTokens,
            RawCount::Cost => Count::Cost,
            RawCount::Concurrency => Count::Concurrency,
        }
    }

    fn missing(&mut self, raw: &RawLimit, per: &[Dimension], place: &FieldPath<'_>) -> Missing {
        if raw.missing != RawMissing::Together && per.is_empty() {
            let message = || "has no meaning without per: no request lacks a value of it".to_owned();
            self.report.add(&place.field("missing"), message);
        }
        match raw.missing {
            RawMissing::Together => Missing::Together,
            RawMissing::Unlimited => Missing::Unlimited,
            RawMissing::Deny => Missing::Deny,
        }
    }

    fn check_owner(&mut self, raw: &RawLimit, place: &FieldPath<'_>) {
        let Some(owner) = &raw.shared_as else { return };
        let place = place.field("sharedAs");
        if let Err(message) = text::name(owner) {
            self.report.add(&place, || message);
        }
        if raw.shared == Some(false) {
            let message = || "has no meaning with shared: false: leave one of them out".to_owned();
            self.report.add(&place, message);
        }
    }

    /// A stream grows by what is generated: other limits have nothing to cut one for.
    fn check_cut(&mut self, raw: &RawLimit, count: &Count, place: &FieldPath<'_>) {
        let grows = matches!(
            count,
            Count::OutputTokens
                | Count::ReasoningTokens
                | Count::TotalTokens
                | Count::Cost
                | Count::Expression(_)
        );
        if raw.cut_streams && !grows {
            let message = || {
                "has no meaning here: what this limit counts does not grow while a stream goes on".to_owned()
            };
            self.report.add(&place.field("cutStreams"), message);
        }
    }
}

/// The window of limits that count what is at a time.
const NOW: Window = Window::Now;
