//! The one field of `OrcaLoadReport` that engines put their load into, off the wire.
//!
//! A protobuf library for one map of doubles would be the picker's largest dependency. Wire format:
//! <https://protobuf.dev/programming-guides/encoding/>.

/// `map<string, double> named_metrics = 8`.
const NAMED_METRICS: u64 = 8;

/// A field's value on the wire. Groups do not occur in proto3.
enum Value<'m> {
    Varint,
    Fixed64([u8; 8]),
    Bytes(&'m [u8]),
    Fixed32,
}

/// Calls `each` with every named metric. Nothing if the bytes are no protobuf message; entries before the
/// broken place have been given out by then.
pub(super) fn for_each_named_metric(mut message: &[u8], mut each: impl FnMut(&str, f64)) -> Option<()> {
    while !message.is_empty() {
        if let (NAMED_METRICS, Value::Bytes(entry)) = field(&mut message)? {
            let (name, value) = map_entry(entry)?;
            each(name, value);
        }
    }
    Some(())
}

fn map_entry(mut entry: &[u8]) -> Option<(&str, f64)> {
    let (mut name, mut number) = ("", 0.0);
    while !entry.is_empty() {
        match field(&mut entry)? {
            (1, Value::Bytes(bytes)) => name = std::str::from_utf8(bytes).ok()?,
            (2, Value::Fixed64(bytes)) => number = f64::from_le_bytes(bytes),
            _ => {}
        }
    }
    Some((name, number))
}

/// Takes one field off the front: its number and value.
fn field<'m>(message: &mut &'m [u8]) -> Option<(u64, Value<'m>)> {
    let tag = varint(message)?;
    let value = match tag & 7 {
        0 => {
            varint(message)?;
            Value::Varint
        }
        1 => Value::Fixed64(take(message, 8)?.try_into().ok()?),
        2 => {
            let length = usize::try_from(varint(message)?).ok()?;
            Value::Bytes(take(message, length)?)
        }
        5 => {
            take(message, 4)?;
            Value::Fixed32
        }
        _ => return None,
    };
    Some((tag >> 3, value))
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(message, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'m>(message: &mut &'m [u8], length: usize) -> Option<&'m [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}
