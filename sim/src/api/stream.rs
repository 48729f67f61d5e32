//! An answer as server-sent events, one event a token.

use bytes::Bytes;
use futures::Stream;

use super::{Answer, Dialect, quoted};
use crate::{
    engine::{Admission, Sequence},
    tokens::PrefixHasher,
};

/// A stream under way. The head of the response goes out before the engine has begun, as in vLLM.
pub(super) struct Streaming {
    stage: Stage,
    answer: Answer,
    dialect: &'static dyn Dialect,
    hasher: PrefixHasher,
}

enum Stage {
    Admitting(Admission),
    Running { sequence: Box<Sequence>, sent: usize, frame: (String, &'static str) },
    Closed,
}

impl Streaming {
    pub(super) fn new(
        admission: Admission,
        hasher: PrefixHasher,
        answer: Answer,
        dialect: &'static dyn Dialect,
    ) -> Self {
        Self { stage: Stage::Admitting(admission), answer, dialect, hasher }
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        futures::stream::unfold(self, Self::next)
    }

    async fn next(mut self) -> Option<(Bytes, Self)> {
        let event = match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Closed => return None,
            Stage::Admitting(admission) => {
                let mut sequence = admission.wait().await?;
                self.answer.cached_tokens = sequence.cached_tokens();
                sequence.produce(1).await;
                let opening = self.dialect.open(&self.answer);
                let frame = self.dialect.frame(&self.answer);
                if self.answer.call.is_some() && self.dialect.holds_calls() {
                    sequence.produce(self.answer.completion.tokens().saturating_sub(1)).await;
                    self.finish(*sequence)
                } else if opening.is_empty() {
                    self.token(sequence, 0, frame)
                } else {
                    self.stage = Stage::Running { sequence, sent: 0, frame };
                    opening.into()
                }
            }
            Stage::Running { sequence, sent, .. } if sent == self.answer.completion.tokens() => {
                self.finish(*sequence)
            }
            Stage::Running { mut sequence, sent, frame } => {
                // The first token was waited for before the opening.
                if sent > 0 {
                    sequence.produce(1).await;
                }
                self.token(sequence, sent, frame)
            }
        };
        Some((self.dialect.wire(event), self))
    }

    /// Gives the engine its place back; the events after the last token.
    fn finish(&mut self, sequence: Sequence) -> Bytes {
        let hasher = &mut self.hasher;
        self.answer.completion.pieces(|piece| hasher.push(piece.as_bytes()));
        sequence.finish(self.answer.completion.finish_reason(), self.hasher.blocks());
        self.dialect.close(&self.answer).into()
    }

    /// The event of a token; moves on by one.
    fn token(&mut self, sequence: Box<Sequence>, at: usize, frame: (String, &'static str)) -> Bytes {
        let text = quoted(self.answer.completion.token(at));
        let mut event = Vec::with_capacity(frame.0.len() + text.len() + frame.1.len());
        for part in [frame.0.as_bytes(), text.as_bytes(), frame.1.as_bytes()] {
            event.extend_from_slice(part);
        }
        self.stage = Stage::Running { sequence, sent: at + 1, frame };
        event.into()
    }
}
