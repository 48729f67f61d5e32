//! Where an answer is from: what Google searched for it, and what it recites.

use crate::answer::Event;
use crate::json::{Object, Text, Value, Writer, parse};

/// The most citations of one response: each chunk may be cited by each part of the text.
const MAX_CITATIONS: usize = 256;

/// Hands on the candidate's citations that have an address, in Anthropic's form. What Anthropic has as the cited text is
/// here the part of the answer that rests on the source: Google does not quote it.
pub(super) fn read(candidate: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
    if let Some(grounding) = candidate.object("groundingMetadata") {
        read_grounding(grounding, sink);
    }
    let Some(recited) = candidate.object("citationMetadata") else { return };
    // Vertex's older form has another name for them.
    let sources = recited.items("citations").iter().chain(recited.items("citationSources"));
    for source in sources.filter_map(Value::as_object).take(MAX_CITATIONS) {
        cite(source, None, sink);
    }
}

fn read_grounding(grounding: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
    let chunks = grounding.items("groundingChunks");
    let supports = grounding.items("groundingSupports");
    let mut left = MAX_CITATIONS;
    if supports.is_empty() {
        chunks.iter().filter_map(source_of).take(left).for_each(|source| cite(source, None, sink));
    }
    for support in supports.iter().filter_map(Value::as_object) {
        let text = support.object("segment").and_then(|segment| segment.text("text"));
        let indices = support.items("groundingChunkIndices").iter().filter_map(Value::as_u64);
        let sources = indices.filter_map(|index| source_of(chunks.get(usize::try_from(index).ok()?)?));
        for source in sources.take(left) {
            left -= 1;
            cite(source, text, sink);
        }
    }
}

/// What a chunk is from: a page, a document of the customer's, or a place on the map.
fn source_of<'v, 'a>(chunk: &'v Value<'a>) -> Option<&'v Object<'a>> {
    let chunk = chunk.as_object()?;
    ["web", "retrievedContext", "maps"].into_iter().find_map(|kind| chunk.object(kind))
}

fn cite(source: &Object<'_>, text: Option<&Text<'_>>, sink: &mut dyn FnMut(Event<'_>)) {
    let Some(url) = source.text("uri") else { return };
    let mut out = Writer::default();
    out.object(|out| {
        out.str_at("type", "web_search_result_location");
        out.text_at("url", url);
        match source.text("title") {
            Some(title) => out.text_at("title", title),
            None => out.raw_at("title", "null"),
        }
        out.text_at("cited_text", text.unwrap_or(&Text::from("")));
        out.str_at("encrypted_index", "");
    });
    if let Ok(citation) = parse(&out.finish()) {
        sink(Event::Citation(citation));
    }
}
