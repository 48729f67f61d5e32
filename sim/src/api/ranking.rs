//! Reranking by Bedrock and by Google, and Cohere's own rerank and embed.

use http::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Api, bedrock::vectors, error::ApiError, json as json_response, pooling::relevance, request::parse,
};
use crate::body::SimBody;

/// Most documents that each ranks at once.
const MAX_OF_BEDROCK: usize = 1000;
const MAX_OF_GOOGLE: usize = 200;
/// Most texts of Cohere's embed.
const MAX_TEXTS: usize = 96;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Bedrock {
    queries: Vec<Query>,
    sources: Vec<Source>,
    reranking_configuration: Configuration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Query {
    r#type: String,
    text_query: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Source {
    r#type: String,
    inline_document_source: Inline,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Inline {
    r#type: String,
    text_document: Text,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Configuration {
    r#type: String,
    bedrock_reranking_configuration: OfModel,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfModel {
    model_configuration: Model,
    number_of_results: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Model {
    model_arn: String,
}

/// `/rerank` of bedrock-agent-runtime.
pub(super) async fn of_bedrock(api: &Api, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    let asked: Bedrock = parse(body)?;
    let [query] = asked.queries.as_slice() else {
        return Err(ApiError::bad_request("queries: Array Members must contain exactly 1 item"));
    };
    let configuration = &asked.reranking_configuration;
    let types = [(&query.r#type, "TEXT"), (&configuration.r#type, "BEDROCK_RERANKING_MODEL")];
    let sources = asked.sources.iter();
    let of_sources = sources
        .flat_map(|source| [(&source.r#type, "INLINE"), (&source.inline_document_source.r#type, "TEXT")]);
    if let Some((given, known)) = types.into_iter().chain(of_sources).find(|(given, known)| given != known) {
        return Err(ApiError::bad_request(format!(
            "Value '{given}' failed to satisfy enum value set: [{known}]"
        )));
    }
    let of_model = &configuration.bedrock_reranking_configuration;
    let model =
        of_model.model_configuration.model_arn.strip_prefix("arn:").and_then(|arn| arn.rsplit('/').next());
    let Some(model) = model else {
        return Err(ApiError::bad_request("modelArn failed to satisfy constraint: Member must be an ARN"));
    };
    api.resolve(Some(model))?;
    let documents: Vec<&str> = asked
        .sources
        .iter()
        .map(|source| source.inline_document_source.text_document.text.as_str())
        .collect();
    if of_model.number_of_results.is_some_and(|top| top == 0 || top > documents.len()) {
        return Err(ApiError::bad_request("numberOfResults should be between 1 and the number of sources"));
    }
    let top = of_model.number_of_results;
    let results = ranked(api, &query.text_query.text, &documents, top, MAX_OF_BEDROCK).await?.0;
    let results: Vec<Value> =
        results.iter().map(|(at, score)| json!({"index": at, "relevanceScore": score})).collect();
    Ok(json_response(&json!({"results": results})))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Google {
    model: Option<String>,
    query: String,
    records: Vec<Record>,
    top_n: Option<usize>,
    #[serde(default)]
    ignore_record_details_in_response: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    id: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    content: String,
}

/// `…/rankingConfigs/default_ranking_config:rank`.
pub(super) async fn of_google(api: &Api, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    let asked: Google = parse(body)?;
    api.resolve(asked.model.as_deref())?;
    if asked.records.iter().any(|record| record.title.is_empty() && record.content.is_empty()) {
        return Err(ApiError::bad_request("Field \"records\" must have title or content."));
    }
    let documents: Vec<String> =
        asked.records.iter().map(|record| format!("{} {}", record.title, record.content)).collect();
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let results = ranked(api, &asked.query, &documents, asked.top_n, MAX_OF_GOOGLE).await?.0;
    let records: Vec<Value> = results
        .iter()
        .map(|(at, score)| {
            let Record { id, title, content } = &asked.records[*at];
            if asked.ignore_record_details_in_response {
                json!({"id": id, "score": score})
            } else {
                json!({"id": id, "title": title, "content": content, "score": score})
            }
        })
        .collect();
    Ok(json_response(&json!({"records": records})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CohereRerank {
    model: String,
    query: String,
    documents: Vec<String>,
    top_n: Option<usize>,
    #[serde(rename = "max_tokens_per_doc")]
    _max_tokens: Option<usize>,
    #[serde(rename = "priority")]
    _priority: Option<i64>,
    /// Of the first version; it is taken, and changes nothing.
    #[serde(rename = "return_documents")]
    _returns: Option<bool>,
}

/// Cohere's `/v2/rerank`.
pub(super) async fn of_cohere(api: &Api, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    let asked: CohereRerank = parse(body)?;
    api.resolve(Some(&asked.model))?;
    let documents: Vec<&str> = asked.documents.iter().map(String::as_str).collect();
    let results = ranked(api, &asked.query, &documents, asked.top_n, MAX_OF_BEDROCK).await?.0;
    let results: Vec<Value> =
        results.iter().map(|(at, score)| json!({"index": at, "relevance_score": score})).collect();
    let meta = json!({"api_version": {"version": "2"}, "billed_units": {"search_units": 1}});
    Ok(json_response(&json!({"id": "rerank-sim", "results": results, "meta": meta})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CohereEmbed {
    model: String,
    input_type: String,
    texts: Vec<String>,
    #[serde(default)]
    embedding_types: Vec<String>,
    output_dimension: Option<usize>,
    #[serde(rename = "max_tokens")]
    _max_tokens: Option<usize>,
    #[serde(rename = "truncate")]
    _truncate: Option<String>,
}

/// Cohere's `/v2/embed`.
pub(super) async fn cohere_embed(api: &Api, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    let asked: CohereEmbed = parse(body)?;
    api.resolve(Some(&asked.model))?;
    if !["search_document", "search_query", "classification", "clustering", "image"]
        .contains(&asked.input_type.as_str())
    {
        return Err(ApiError::bad_request(format!("invalid input_type: {}", asked.input_type)));
    }
    if asked.embedding_types.iter().any(|kind| kind != "float") {
        return Err(ApiError::bad_request("the simulator has embeddings of type float only"));
    }
    if asked.texts.is_empty() || asked.texts.len() > MAX_TEXTS {
        return Err(ApiError::bad_request(format!(
            "invalid request: texts must have 1 to {MAX_TEXTS} items"
        )));
    }
    let length = asked.output_dimension.unwrap_or(1024);
    let (vectors, tokens) = vectors::all(api, &asked.texts, length).await?;
    let meta = json!({"api_version": {"version": "2"}, "billed_units": {"input_tokens": tokens}});
    Ok(json_response(&json!({
        "id": "embed-sim", "embeddings": {"float": vectors}, "texts": asked.texts, "meta": meta,
        "response_type": "embeddings_by_type",
    })))
}

/// Places and scores of the documents, the best first; and the tokens read.
async fn ranked(
    api: &Api,
    query: &str,
    documents: &[&str],
    top: Option<usize>,
    most: usize,
) -> Result<(Vec<(usize, f64)>, usize), ApiError> {
    if documents.is_empty() || documents.len() > most || query.is_empty() {
        return Err(ApiError::bad_request(format!("a query and 1 to {most} documents are needed")));
    }
    let mut tokens = 0;
    let mut scored = Vec::with_capacity(documents.len());
    for (at, document) in documents.iter().enumerate() {
        tokens += api.read(None, &[query.as_bytes(), b"\n", document.as_bytes()]).await?;
        scored.push((at, relevance(query, document)));
    }
    scored.sort_by(|one, other| other.1.total_cmp(&one.1));
    scored.truncate(top.unwrap_or(usize::MAX));
    Ok((scored, tokens))
}
