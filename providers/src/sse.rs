//! Event streams (`text/event-stream`), split into events whatever pieces they come in.

use memchr::memchr2;

/// The longest event that is put together from pieces, in bytes. Images that a model draws are the longest there are.
const MAX_EVENT_BYTES: usize = 32 * 1024 * 1024;

/// An event is longer than [`Events`] puts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {MAX_EVENT_BYTES} bytes")]
pub(crate) struct EventTooLong;

/// Splits a stream into events. Memory: the event that is not complete, and that only.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// The line that is not complete.
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The piece before ended in a carriage return, of whose line end a line feed may still come.
    skips_line_feed: bool,
}

impl Events {
    /// Takes a piece of the stream, and hands each event that it completes to `handle`: its name, empty if it has none, and
    /// its data, lines joined by line feeds. Goes on to the end of the piece whatever `handle` makes of them.
    ///
    /// # Errors
    /// An event is too long.
    pub(crate) fn feed(
        &mut self,
        piece: &[u8],
        mut handle: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), EventTooLong> {
        let mut rest = piece;
        if self.skips_line_feed && !rest.is_empty() {
            self.skips_line_feed = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            let after =
                if rest[end] == b'\r' && rest.get(end + 1) == Some(&b'\n') { end + 2 } else { end + 1 };
            self.skips_line_feed = rest[end] == b'\r' && end + 1 == rest.len();
            if self.line.is_empty() {
                self.line_ends(&rest[..end], &mut handle);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&rest[..end]);
                self.line_ends(&line, &mut handle);
                line.clear();
                self.line = line;
            }
            rest = &rest[after..];
            if self.data.len() > MAX_EVENT_BYTES {
                return Err(EventTooLong);
            }
        }
        if self.line.len() + rest.len() > MAX_EVENT_BYTES {
            return Err(EventTooLong);
        }
        self.line.extend_from_slice(rest);
        Ok(())
    }

    /// Hands over the event that the stream's end completes: strictly none, but some servers leave the last empty line out.
    pub(crate) fn finish(&mut self, mut handle: impl FnMut(&[u8], &[u8])) {
        let line = std::mem::take(&mut self.line);
        self.line_ends(&line, &mut handle);
        self.line_ends(b"", &mut handle);
    }

    fn line_ends(&mut self, line: &[u8], handle: &mut impl FnMut(&[u8], &[u8])) {
        if line.is_empty() {
            if self.has_data {
                handle(&self.name, &self.data);
            }
            self.name.clear();
            self.data.clear();
            self.has_data = false;
            return;
        }
        let colon = memchr::memchr(b':', line);
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.get(1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        // A byte order mark may stand before the first field.
        match field.strip_prefix(b"\xef\xbb\xbf").unwrap_or(field) {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let (mut events, mut found) = (Events::default(), Vec::new());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        for piece in pieces {
            events.feed(piece, |name, data| found.push((text(name), text(data)))).unwrap();
        }
        events.finish(|name, data| found.push((text(name), text(data))));
        found
    }

    #[test]
    fn fields_are_read_as_the_standard_has_them() {
        let found = events(&[b"\xef\xbb\xbf: hello\ndata: a\ndata:  b\nid: 1\nretry\n\nevent: x\r\ndata:y\r\rdata\n\nevent: z\n\ndata: last"]);
        let expected = [("", "a\n b"), ("x", "y"), ("", ""), ("", "last")];
        assert_eq!(found, expected.map(|(name, data)| (name.to_owned(), data.to_owned())));
    }

    #[test]
    fn a_line_feed_after_a_whole_line_end_is_an_empty_line() {
        let expected = [("", "a"), ("", "b")].map(|(name, data)| (name.to_owned(), data.to_owned()));
        assert_eq!(events(&[b"data: a\r\n", b"\ndata: b\r", b"\n", b"\r", b"\n"]), expected);
    }

    #[test]
    fn an_event_without_an_end_is_given_up() {
        let mut events = Events::default();
        let piece = vec![b'x'; MAX_EVENT_BYTES];
        events.feed(&piece, |_, _| {}).unwrap();
        assert_eq!(events.feed(b"y", |_, _| {}), Err(EventTooLong));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            lines in prop::collection::vec(("(data: ?|event: |: |id: )?", "[a-z]{0,3}", "(\n|\r\n|\r)"), 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let stream: String = lines.iter().map(|(field, value, end)| format!("{field}{value}{end}")).collect();
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            at.extend([0, stream.len()]);
            at.sort_unstable();
            let pieces: Vec<_> = at.windows(2).map(|pair| &stream.as_bytes()[pair[0]..pair[1]]).collect();
            let bytes: Vec<_> = stream.as_bytes().chunks(1).collect();
            let whole = events(&[stream.as_bytes()]);
            prop_assert_eq!(&events(&pieces), &whole);
            prop_assert_eq!(&events(&bytes), &whole);
        }
    }
}
