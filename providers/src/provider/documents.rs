//! Requests for embeddings and for ranks, which are not conversations: one document is asked, one answers.

use super::translate::{asked, document, headers, model, named, object, read_failure, write_failure};
use super::{Call, Encoded, Provider, Schema};
use crate::api::Api;
use crate::bedrock::{self, paths::Operation};
use crate::conversation::{Notes, Refused};
use crate::document::{Document, DocumentForm};
use crate::gemini::{self, Platform, embeddings::Inputs};
use crate::json::Text;
use crate::openai;
use crate::rerank;
use crate::response::{FailureForm, Form, Translation};
use crate::translation::Whole;

/// A request for embeddings.
///
/// # Errors
/// It cannot be put there.
pub(super) fn embeddings(provider: &Provider, call: &Call<'_>) -> Result<Encoded, Refused> {
    let parsed = document(call.body)?;
    let wanted = openai::embeddings::read(object(&parsed)?)?;
    let (count, is_base64) = (wanted.inputs.len(), wanted.is_base64);
    let model = model(call)?;
    let mut notes = Notes::default();
    let (target, body, form) = if provider.schema == Schema::AwsBedrock {
        let body = bedrock::embeddings::Form::of(model)?.write(&wanted, &mut notes)?;
        let target = bedrock::paths::path(model, Operation::Invoke)?;
        (target, body, DocumentForm::BedrockVectors { is_base64 })
    } else {
        let is_vertex = provider.schema == Schema::GcpVertexAi;
        let platform = if is_vertex { Platform::Vertex } else { Platform::GeminiApi };
        let to = gemini::Target { platform, model };
        let inputs = Inputs { texts: &wanted.inputs, dimensions: wanted.dimensions, rest: &wanted.rest };
        if wanted.user.is_some() {
            notes.dropped("user");
        }
        let body = gemini::embeddings::write(inputs, to, &mut notes)?;
        let method = gemini::embeddings::method(to, count);
        let target = match platform {
            Platform::Vertex => gemini::paths::vertex(provider.google_place(), model, method),
            Platform::GeminiApi => gemini::paths::gemini_api(model, method),
        };
        (named(target)?, body, DocumentForm::GoogleVectors { is_base64 })
    };
    Ok(encoded(
        provider,
        call,
        Api::Embeddings,
        Parts { target, body, document: Document { form, count }, notes },
    ))
}

/// A request for ranks.
///
/// # Errors
/// It cannot be put there.
pub(super) fn rerank(provider: &Provider, call: &Call<'_>) -> Result<Encoded, Refused> {
    let parsed = document(call.body)?;
    let body = object(&parsed)?;
    let model = model(call)?;
    let mut notes = Notes::default();
    let (target, body, form, count) = if provider.schema == Schema::AwsBedrock {
        let wanted = rerank::read(body, bedrock::rerank::MAX_SOURCES, &mut notes)?;
        let body = bedrock::rerank::write(&wanted, model, &provider.place.region)?;
        (bedrock::rerank::PATH.to_owned(), body, DocumentForm::BedrockRanks, wanted.documents.len())
    } else {
        let wanted = rerank::read(body, gemini::rerank::MAX_RECORDS, &mut notes)?;
        let body = gemini::rerank::write(&wanted, &Text::plain(model));
        let target = named(gemini::paths::ranking(provider.google_place()))?;
        (target, body, DocumentForm::GoogleRanks, wanted.documents.len())
    };
    Ok(encoded(
        provider,
        call,
        Api::Rerank,
        Parts { target, body, document: Document { form, count }, notes },
    ))
}

/// What is told apart by the upstream.
struct Parts {
    target: String,
    body: Vec<u8>,
    document: Document,
    notes: Notes,
}

fn encoded(provider: &Provider, call: &Call<'_>, api: Api, parts: Parts) -> Encoded {
    let Parts { target, body, document, notes } = parts;
    let failure =
        FailureForm { read: read_failure(provider.schema), write: write_failure(api), has_529: false };
    let form = Form::Document { document, whole: Whole::default(), tokens: None };
    Encoded {
        target,
        headers: headers(provider, None),
        body: Some(body.into()),
        dropped: notes.names().to_vec(),
        translation: Some(Translation::new(form, failure, asked(call, false, false))),
    }
}
