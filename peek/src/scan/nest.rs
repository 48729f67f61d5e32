//! Arrays and objects below the top level: only their end matters.
//!
//! Brackets are matched on a bit set of fixed size, without recursion, so depth costs neither stack nor
//! heap. A byte that strict JSON does not allow between strings ends the walk: a quote inside a comment or
//! a single-quoted string would otherwise shift every string behind it.

use super::text::{Text, TextEnd};
use crate::{Break, Options};

/// Where a walk through an array or object ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NestEnd {
    /// Behind its closing bracket.
    Closed(usize),
    /// At the end of the window.
    Open,
    /// At the bracket that was one too many.
    TooDeep(usize),
    /// At a byte that breaks the structure.
    Broken(usize, Break),
}

/// The open brackets of one value.
#[derive(Debug)]
pub(super) struct Nest {
    /// One bit a level: set for an object.
    objects: [u64; Options::MAX_DEPTH_CEILING / 64],
    /// Open brackets, without the outermost object's.
    depth: usize,
    max_depth: usize,
    is_in_text: bool,
}

impl Nest {
    pub(super) fn new(max_depth: usize) -> Self {
        Self {
            objects: [0; Options::MAX_DEPTH_CEILING / 64],
            depth: 0,
            max_depth: max_depth.clamp(1, Options::MAX_DEPTH_CEILING),
            is_in_text: false,
        }
    }

    /// The deepest level permitted, the outermost object being 1.
    pub(super) fn limit(&self) -> usize {
        self.max_depth
    }

    /// Walks on from `i`: at the value's opening bracket, or within the value.
    pub(super) fn walk(&mut self, window: &[u8], mut i: usize, text: &mut Text) -> NestEnd {
        loop {
            if self.is_in_text {
                match text.skip(window, i) {
                    TextEnd::Closed(end) => i = end,
                    TextEnd::Open => return NestEnd::Open,
                    TextEnd::BadEscape(at) => return NestEnd::Broken(at, Break::Escape),
                }
                self.is_in_text = false;
            }
            let Some(&byte) = window.get(i) else { return NestEnd::Open };
            match CLASS[usize::from(byte)] {
                Class::Plain => {}
                Class::Quote => self.is_in_text = true,
                Class::Open => {
                    if !self.open(byte == b'{') {
                        return NestEnd::TooDeep(i);
                    }
                }
                Class::Close => {
                    if !self.close(byte == b'}') {
                        return NestEnd::Broken(i, Break::Bracket);
                    }
                    if self.depth == 0 {
                        return NestEnd::Closed(i + 1);
                    }
                }
                Class::Never => return NestEnd::Broken(i, Break::Byte),
            }
            i += 1;
        }
    }

    fn open(&mut self, is_object: bool) -> bool {
        if self.depth + 1 >= self.max_depth {
            return false;
        }
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.objects[word] = self.objects[word] & !(1 << bit) | u64::from(is_object) << bit;
        self.depth += 1;
        true
    }

    fn close(&mut self, is_object: bool) -> bool {
        self.depth -= 1;
        let (word, bit) = (self.depth / 64, self.depth % 64);
        (self.objects[word] >> bit & 1 == 1) == is_object
    }
}

/// What a byte means between strings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// White space, punctuation, numbers and literals.
    Plain,
    Quote,
    Open,
    Close,
    Never,
}

static CLASS: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut classes = [Class::Never; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        classes[byte as usize] = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'-' | b'+' | b'.' => Class::Plain,
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => Class::Plain,
            b'"' => Class::Quote,
            b'{' | b'[' => Class::Open,
            b'}' | b']' => Class::Close,
            _ => Class::Never,
        };
        byte += 1;
    }
    classes
}
