//! Models that stand in paths, and whether bodies name any: of APIs whose requests pass as they are.

use percent_encoding::percent_decode_str;

use crate::Api;

/// Which models a request may be about, by its path. Who decides by the model has to look at all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathModels {
    /// Those that the path names, in every way in which a server may read it: servers of such APIs go by the path, whatever
    /// the body says.
    pub names: Vec<String>,
    /// Whether it may be about others, which neither the path nor a `model` in the body names. Files and batches are, and so
    /// is whatever is not known here: a `model` in such a body is the client's word, and nobody's to go by.
    pub are_unknown: bool,
}

/// The models that a request for `path` may be about.
///
/// Looked for in the path without its escapes, since servers differ in when they undo those; names of folders without
/// regard to case, and behind any number of slashes, as some servers take them.
pub fn models_in_path(path: &str) -> PathModels {
    let is_of_body = names_model_in_body(path);
    // As nearly all paths are.
    if is_of_body && !path.contains('%') && !has_deployment(path) {
        return PathModels::default();
    }
    let path = percent_decode_str(path).decode_utf8_lossy();
    let path = path.trim_end_matches('/');
    let (mut names, mut is_unreadable) = (Vec::new(), false);
    let mut add = |from: usize, to: usize| match path.get(from..to).filter(|model| !model.is_empty()) {
        None => is_unreadable = true,
        Some(model) if names.iter().any(|known| known == model) => {}
        Some(model) => names.push(model.to_owned()),
    };
    let end = |end: Option<usize>| end.unwrap_or(path.len());
    match Api::of_path(path) {
        Some(Api::Bedrock) => behind(path, "/model/").for_each(|from| add(from, end(path.rfind('/')))),
        Some(Api::Gemini) => behind(path, "/models/").for_each(|from| add(from, end(path.rfind(':')))),
        _ => {}
    }
    // Azure's.
    for from in behind(&path.to_ascii_lowercase(), DEPLOYMENTS) {
        let from = path.len() - path[from..].trim_start_matches('/').len();
        add(from, end(path[from..].find('/').map(|length| from + length)));
    }
    let are_unknown = is_unreadable || names.is_empty() && !(is_of_body && names_model_in_body(path));
    PathModels { names, are_unknown }
}

/// Where Azure's paths have the model.
const DEPLOYMENTS: &str = "/deployments/";

fn has_deployment(path: &str) -> bool {
    let parts = path.as_bytes().windows(DEPLOYMENTS.len());
    path.len() > DEPLOYMENTS.len()
        && parts.into_iter().any(|part| part.eq_ignore_ascii_case(DEPLOYMENTS.as_bytes()))
}

/// Whether requests for a path name their model in the body, and no other anywhere.
fn names_model_in_body(path: &str) -> bool {
    /// Those of model servers that [`Api`] does not tell apart.
    const OTHERS: [&str; 5] = ["/score", "/pooling", "/classify", "/tokenize", "/detokenize"];
    match Api::of_path(path) {
        Some(Api::Bedrock | Api::Gemini) => false,
        Some(_) => true,
        None => OTHERS.iter().any(|end| path.trim_end_matches('/').ends_with(end)),
    }
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
            ("/v1/messages/count_tokens", &[]),
            ("/tokenize", &[]),
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
            ("/openai/deployments//gpt-4o/chat/completions", &["gpt-4o"]),
            ("/openai/Deployments/gpt-4o/chat/completions", &["gpt-4o"]),
            ("/openai/deployments%2F%2fgpt-4o/chat/completions", &["gpt-4o"]),
            ("/openai/deployments/gpt%2D4o", &["gpt-4o"]),
        ] {
            let names = models.iter().map(|model| (*model).to_owned()).collect();
            assert_eq!(models_in_path(path), PathModels { names, are_unknown: false }, "{path}");
        }
    }

    #[test]
    fn what_may_be_about_any_model_is_known_for_that() {
        for path in [
            "/v1/models",
            "/v1/models/a",
            "/v1/files",
            "/v1/batches",
            "/v1/messages/batches",
            "/v1/chat%2Fcompletions",
            "/async-invoke",
            "/model//converse",
            "/model/",
            "/model/a/invoke-with-bidirectional-stream",
            "/v1beta/tunedModels/a:generateContent",
            "/v1/projects/p/locations/l/endpoints/7:predict",
            "/v1beta/models/a:generateAnswer",
            "/openai/deployments//",
            "/",
        ] {
            let found = models_in_path(path);
            assert!(found.are_unknown && found.names.is_empty(), "{path}: {found:?}");
        }
    }
}
