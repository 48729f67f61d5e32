//! Answers: an upstream's read event by event, and a client's written, as streams and whole.

mod blocks;
mod form;
mod reader;
mod whole;
mod writer;

pub(crate) use self::reader::Reader;
pub(crate) use self::writer::Writer;
