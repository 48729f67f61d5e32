//! Where things stand in an answer that is written: clients put a stream's deltas together by these numbers.

use crate::answer::Event;

/// Where the text that came last stands, in characters.
#[derive(Debug, Default)]
pub(super) struct Place {
    start: u64,
    end: u64,
    is_closed: bool,
}

/// Numbers what the model thought.
#[derive(Debug, Default)]
pub(super) struct Thoughts {
    count: usize,
    is_open: bool,
}

impl Place {
    /// Goes on past what happens.
    pub(super) fn pass(&mut self, event: &Event<'_>) {
        match event {
            Event::Text(text) => {
                if self.is_closed {
                    (self.start, self.is_closed) = (self.end, false);
                }
                self.end = self.end.saturating_add(text.characters() as u64);
            }
            Event::Citation(_) | Event::Usage(_) | Event::Logprobs(_) | Event::Ping => {}
            _ => self.is_closed = true,
        }
    }

    /// Where the text begins and ends.
    pub(super) fn range(&self) -> (u64, u64) {
        (self.start, self.end)
    }
}

impl Thoughts {
    /// Goes on past what happens; gives the number of the thought that it is part of, or of the one before.
    pub(super) fn pass(&mut self, event: &Event<'_>) -> usize {
        match event {
            Event::Reasoning(_) | Event::Signature(_) => {
                self.count += usize::from(!self.is_open);
                self.is_open = matches!(event, Event::Reasoning(_));
            }
            Event::Redacted(_) => {
                self.count += 1;
                self.is_open = false;
            }
            Event::Usage(_) | Event::Logprobs(_) | Event::Ping => {}
            _ => self.is_open = false,
        }
        self.count.saturating_sub(1)
    }
}
