//! Amazon's event stream encoding (`application/vnd.amazon.eventstream`), as much as is answered: one string
//! header and a payload in each frame. A frame is its length, the length of its headers, the CRC of these two,
//! the headers, the payload, and the CRC of all before.

use bytes::Bytes;
use flate2::Crc;
use serde_json::Value;

/// The type of such a body.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";
/// Bytes of a frame beside headers and payload.
const OVERHEAD_BYTES: usize = 16;
/// Type of a string header's value.
const STRING: u8 = 7;
/// The keys by which an event's type is told, the first that is there deciding.
const TYPES: [(&str, &str); 6] = [
    ("role", "messageStart"),
    ("start", "contentBlockStart"),
    ("delta", "contentBlockDelta"),
    ("stopReason", "messageStop"),
    ("usage", "metadata"),
    ("contentBlockIndex", "contentBlockStop"),
];

/// One frame for each line that is not empty.
pub(crate) fn frames(body: &[u8]) -> Vec<Bytes> {
    body.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| event(event_type(line), line))
        .collect()
}

/// The frame of an event.
pub(crate) fn event(kind: &str, payload: &[u8]) -> Bytes {
    let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    frame(&headers, payload)
}

/// The frame that ends every stream of the original.
pub(crate) fn end() -> Bytes {
    frame(&[("event-type", "end")], b"this-is-end")
}

fn event_type(line: &[u8]) -> &'static str {
    let Ok(Value::Object(event)) = serde_json::from_slice(line) else { return "" };
    TYPES.iter().find(|(key, _)| event.contains_key(*key)).map_or("", |(_, kind)| kind)
}

fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let header_bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let length = header_bytes + payload.len() + OVERHEAD_BYTES;
    let mut frame = Vec::with_capacity(length);
    frame.extend_from_slice(&(length as u32).to_be_bytes());
    frame.extend_from_slice(&(header_bytes as u32).to_be_bytes());
    frame.extend_from_slice(&checksum(&frame).to_be_bytes());
    for (name, value) in headers {
        frame.push(name.len() as u8);
        frame.extend_from_slice(name.as_bytes());
        frame.push(STRING);
        frame.extend_from_slice(&(value.len() as u16).to_be_bytes());
        frame.extend_from_slice(value.as_bytes());
    }
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&checksum(&frame).to_be_bytes());
    frame.into()
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_laid_out_and_summed() {
        let frame = end();
        assert_eq!(frame.len(), 44);
        assert_eq!(frame[..8], [0, 0, 0, 44, 0, 0, 0, 17]);
        assert_eq!(frame[12], 10);
        assert_eq!(&frame[13..23], b"event-type");
        assert_eq!(frame[23..29], [7, 0, 3, b'e', b'n', b'd']);
        assert_eq!(frame[8..12], checksum(&frame[..8]).to_be_bytes());
        assert_eq!(frame[40..], checksum(&frame[..40]).to_be_bytes());
    }

    #[test]
    fn types_are_told_by_keys() {
        assert_eq!(event_type(br#"{"stopReason":1,"role":2}"#), "messageStart");
        assert_eq!(event_type(br#"{"delta":{},"contentBlockIndex":0}"#), "contentBlockDelta");
        assert_eq!(event_type(br#"{"contentBlockIndex":0}"#), "contentBlockStop");
        assert_eq!(event_type(br#"{"a":1}"#), "");
        assert_eq!(event_type(b"text"), "");
    }
}
