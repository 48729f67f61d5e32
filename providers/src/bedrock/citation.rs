//! Citations: Converse's form of them in Anthropic's.

use crate::json::{Object, Text, Writer};

/// Writes a citation as Anthropic's API has it; nothing if it does not say where its text is from.
pub(super) fn rewrite(citation: &Object<'_>) -> Option<Vec<u8>> {
    let location = citation.object("location")?;
    let cited: Vec<_> = citation
        .items("sourceContent")
        .iter()
        .filter_map(|piece| piece.as_object()?.text("text").cloned())
        .collect();
    let title = citation.text("title");
    let at = |name| location.object(name);
    let mut out = Writer::default();
    if let Some(place) = at("documentChar") {
        let names = ["document_index", "start_char_index", "end_char_index"];
        located(&mut out, "char_location", "document_title", title, &cited, |out| numbers(place, names, out));
    } else if let Some(place) = at("documentPage") {
        let names = ["document_index", "start_page_number", "end_page_number"];
        located(&mut out, "page_location", "document_title", title, &cited, |out| numbers(place, names, out));
    } else if let Some(place) = at("documentChunk") {
        let names = ["document_index", "start_block_index", "end_block_index"];
        located(&mut out, "content_block_location", "document_title", title, &cited, |out| {
            numbers(place, names, out);
        });
    } else if let Some(place) = at("searchResultLocation") {
        let names = ["search_result_index", "start_block_index", "end_block_index"];
        located(&mut out, "search_result_location", "title", title, &cited, |out| {
            out.text_at("source", citation.text("source").unwrap_or(&"".into()));
            numbers(place, names, out);
        });
    } else if let Some(place) = at("web") {
        located(&mut out, "web_search_result_location", "title", title, &cited, |out| {
            out.text_at("url", place.text("url").unwrap_or(&"".into()));
            out.str_at("encrypted_index", "");
        });
    } else {
        return None;
    }
    Some(out.finish())
}

fn located(
    out: &mut Writer,
    kind: &str,
    title_name: &str,
    title: Option<&Text<'_>>,
    cited: &[Text<'_>],
    place: impl FnOnce(&mut Writer),
) {
    out.object(|out| {
        out.str_at("type", kind);
        out.key("cited_text");
        out.concatenated(cited);
        out.key(title_name);
        match title {
            Some(title) => out.text(title),
            None => out.raw("null"),
        }
        place(out);
    });
}

/// Writes which document, start and end under Anthropic's names of them.
fn numbers(place: &Object<'_>, names: [&str; 3], out: &mut Writer) {
    let index = place.u64("documentIndex").or_else(|| place.u64("searchResultIndex"));
    for (name, number) in names.into_iter().zip([index, place.u64("start"), place.u64("end")]) {
        out.u64_at(name, number.unwrap_or(0));
    }
}
