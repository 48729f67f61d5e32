//! Where events go.

use crate::json::Writer as Json;

/// Takes a stream's events; of a body that is written as a whole, none.
#[derive(Debug)]
pub(super) struct Sink<'s> {
    /// Whether the answer is streamed.
    pub(super) is_stream: bool,
    /// The number of the next event.
    pub(super) sequence: &'s mut u64,
    /// The stream.
    pub(super) out: &'s mut Vec<u8>,
}

impl Sink<'_> {
    /// Writes an event of this type, with the members that `members` writes.
    pub(super) fn event(&mut self, kind: &str, members: impl FnOnce(&mut Json)) {
        if !self.is_stream {
            return;
        }
        self.out.extend_from_slice(b"event: ");
        self.out.extend_from_slice(kind.as_bytes());
        self.out.extend_from_slice(b"\ndata: ");
        let mut json = Json::new(std::mem::take(self.out));
        json.object(|json| {
            json.str_at("type", kind);
            json.u64_at("sequence_number", *self.sequence);
            members(json);
        });
        *self.out = json.finish();
        self.out.extend_from_slice(b"\n\n");
        *self.sequence += 1;
    }
}
