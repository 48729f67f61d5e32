//! Texts of XML, as AWS answers.

/// The text of the first element with this name, of XML as AWS writes it: without attributes, and without entities in the
/// texts that are looked for. A parser was turned down for four texts of which none may have anything else in it.
pub(crate) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = xml.split_once(&format!("<{name}>"))?;
    let (text, after) = after.split_once('<')?;
    after.strip_prefix(&format!("/{name}>"))?;
    Some(text.trim()).filter(|text| !text.contains('&'))
}
