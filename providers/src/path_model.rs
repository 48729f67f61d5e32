//! Models that stand in paths, and not in bodies: of APIs whose requests pass as they are.

use percent_encoding::percent_decode_str;

use crate::Api;

/// The models that a path names, in every way in which a server may read it; none where its API has them in bodies. Who
/// decides by the model has to look at all of them, whatever the body says: the servers of such APIs go by the path.
///
/// Looked for in the path without its escapes, since servers differ in when they undo those.
pub fn models_in_path(path: &str) -> Vec<String> {
    // As nearly all paths are.
    if !["model", "deployments", "%"].iter().any(|part| path.contains(part)) {
        return Vec::new();
    }
    let path = percent_decode_str(path).decode_utf8_lossy();
    let path = path.trim_end_matches('/');
    let mut models = Vec::new();
    let mut add = |from: usize, to: usize| {
        if let Some(model) = path.get(from..to).filter(|model| !model.is_empty())
            && !models.iter().any(|known| known == model)
        {
            models.push(model.to_owned());
        }
    };
    let end = |end: Option<usize>| end.unwrap_or(path.len());
    match Api::of_path(path) {
        Some(Api::Bedrock) => behind(path, "/model/").for_each(|from| add(from, end(path.rfind('/')))),
        Some(Api::Gemini) => behind(path, "/models/").for_each(|from| add(from, end(path.rfind(':')))),
        _ => {}
    }
    // Azure's.
    for from in behind(path, "/deployments/") {
        add(from, end(path[from..].find('/').map(|length| from + length)));
    }
    models
}

/// Where what follows `part` begins, for the first and the last `part` of a path: what stands before an API's own path is not
/// known.
fn behind(path: &str, part: &str) -> impl Iterator<Item = usize> {
    let first = path.find(part).map(|at| at + part.len());
    let last = path.rfind(part).map(|at| at + part.len());
    first.into_iter().chain(last.filter(|_| first != last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_in_paths_are_found_however_they_are_written() {
        for (path, models) in [
            ("/v1/chat/completions", &[][..]),
            ("/v1/models", &[]),
            ("/v1/models/a", &[]),
            ("/model/anthropic.claude-3%3A0/converse", &["anthropic.claude-3:0"]),
            ("/bedrock/model/arn%3Aaws%2Fabc/invoke-with-response-stream/", &["arn:aws/abc"]),
            ("/model%2Fa/converse", &["a"]),
            ("/model/a%2Fconverse", &["a"]),
            ("/model/a/model/b/converse", &["a/model/b", "b"]),
            ("/model/model/b/converse", &["model/b", "b"]),
            ("/v1beta/models/gemini-2.5-pro:streamGenerateContent", &["gemini-2.5-pro"]),
            ("/v1beta/models/tuned:1%3AgenerateContent", &["tuned:1"]),
            ("/v1/projects/p/locations/l/publishers/google/models/gemini:generateContent", &["gemini"]),
            ("/openai/deployments/gpt-4o/chat/completions", &["gpt-4o"]),
            ("/openai/deployments/gpt%2D4o", &["gpt-4o"]),
            ("/openai/deployments//x", &[]),
            ("/model//converse", &[]),
            ("/model/", &[]),
        ] {
            assert_eq!(models_in_path(path), models, "{path}");
        }
    }
}
