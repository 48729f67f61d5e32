//! Hosted APIs that are given by their names (`penstock up openai`). Which variables of the environment have their keys is
//! known to the program alone; here they are data.

use std::fmt;
use std::path::PathBuf;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use penstock_config::{ApiSchema, Provider, known_api};
use serde_json::{Value, json};

use super::key::{ApiKey, ApiKeyError};
use super::url::{BaseUrl, ServerUrl};

/// The version of Anthropic's API that its list is asked for in.
const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// Headers in which clients show who they are. A client's key is for the gateway, and for no provider.
const KEY_HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// A hosted API, where it is, and what it is shown.
#[derive(Debug)]
pub struct Hosted {
    /// What people call it. Its models can be asked for as `NAME/MODEL`.
    name: &'static str,
    api: HostedApi,
    base: BaseUrl,
    /// Whether `base` is the provider's own, which the document need not say.
    is_own_base: bool,
    /// `None`: it is shown who the gateway is to its cloud, as the environment says.
    key: Option<ApiKey>,
    /// What the document says of where the key is, if that is not where it is now.
    document_file: Option<PathBuf>,
    /// The variable that the key is from, for people.
    pub(super) key_variable: &'static str,
    /// The models of an API that has no list.
    pub(super) models: Vec<String>,
}

/// Which hosted API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostedApi {
    /// One whose key stands in a header.
    Of(Provider),
    /// Azure OpenAI.
    Azure {
        /// The resource's own address.
        endpoint: ServerUrl,
        /// The version of its API; `None` is its v1 API.
        version: Option<String>,
    },
    /// AWS Bedrock.
    Bedrock {
        /// The region.
        region: String,
        /// Whether requests are signed with keys of AWS; otherwise they show an API key of Bedrock's.
        is_signed: bool,
    },
}

impl Hosted {
    /// The API of this name, at `base` instead of where the provider serves it. `models` are those of an API that does not
    /// list its models.
    #[must_use]
    pub fn new(
        (name, api): (&'static str, HostedApi),
        base: Option<BaseUrl>,
        (key_variable, key): (&'static str, ApiKey),
        models: Vec<String>,
    ) -> Self {
        Self { key: Some(key), key_variable, ..Self::by_identity((name, api), base, models) }
    }

    /// The same for Azure and for Bedrock, with what the environment says of the gateway's identity in place of a key.
    #[must_use]
    pub fn by_identity(
        (name, api): (&'static str, HostedApi),
        base: Option<BaseUrl>,
        models: Vec<String>,
    ) -> Self {
        let is_own_base = base.is_none() && !matches!(api, HostedApi::Azure { .. });
        let base = base.unwrap_or_else(|| own_base(&api));
        Self { name, api, base, is_own_base, key: None, document_file: None, key_variable: "", models }
    }

    /// The same, with a document that names this file as the key's.
    #[must_use]
    pub fn with_key_in(self, file: PathBuf) -> Self {
        Self { document_file: Some(file), ..self }
    }

    /// What people call it.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Where it is served.
    pub(super) fn url(&self) -> &ServerUrl {
        &self.base.server
    }

    /// Where it lists its models; `None` if it does not.
    pub(super) fn list_path(&self) -> Option<String> {
        let HostedApi::Of(provider) = self.api else { return None };
        let prefix = self.prefix().unwrap_or_else(|| "v1".to_owned());
        Some(match provider {
            Provider::Gemini => "/v1beta/models?pageSize=1000".to_owned(),
            Provider::Anthropic => format!("/{prefix}/models?limit=1000"),
            // Its part that is compatible with OpenAI's API has no list.
            Provider::Cohere if self.is_own_base => "/v1/models?page_size=1000".to_owned(),
            _ => format!("/{prefix}/models"),
        })
    }

    /// What it is shown with the question for its list.
    ///
    /// # Errors
    /// The key cannot be read.
    pub(super) fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, ApiKeyError> {
        let mut headers = Vec::new();
        if let Some(key) = &self.key {
            let name = HeaderName::from_static(self.key_header());
            let value = if name == AUTHORIZATION { key.authorization()? } else { key.header("")? };
            headers.push((name, value));
        }
        if self.schema() == ApiSchema::Anthropic {
            headers.push((HeaderName::from_static("anthropic-version"), ANTHROPIC_VERSION));
        }
        Ok(headers)
    }

    /// The form that the provider's own models have in their names: those that it does not list are served too, such as
    /// aliases. `None` if its names have no form of their own, or it is not known which of them there are.
    pub(super) fn pattern(&self) -> Option<&'static str> {
        match self.api {
            HostedApi::Of(Provider::OpenAI) => Some("(gpt|chatgpt|text-embedding)-.+|o[0-9]+(-.+)?"),
            HostedApi::Of(Provider::Anthropic) => Some("claude-.+"),
            HostedApi::Of(Provider::Gemini) => Some("gemini-.+"),
            // `VENDOR.MODEL`, with or without the region of an inference profile before it; or a resource's name.
            HostedApi::Bedrock { .. } => {
                Some(r"([a-z-]+\.)?[a-z][a-z0-9]*\.[a-z][^/]*|arn:aws[a-z-]*:bedrock:.+")
            }
            HostedApi::Of(_) | HostedApi::Azure { .. } => None,
        }
    }

    /// A target that leads to the backend of this name, which calls the model `model` if that is not how it was asked for.
    pub(super) fn target(&self, backend: &str, model: Option<&str>) -> Value {
        let others: Vec<_> = KEY_HEADERS.into_iter().filter(|name| *name != self.key_header()).collect();
        let mut target = json!({ "backend": backend, "requestHeaders": { "remove": others } });
        if let Some(model) = model {
            target["modelOverride"] = json!(model);
        }
        target
    }

    /// The backend of this name in the document.
    pub(super) fn backend(&self, name: &str) -> Value {
        let mut backend = json!({ "name": name, "credential": {} });
        if let Some(key) = &self.key {
            let file = self.document_file.as_deref().unwrap_or_else(|| key.file());
            backend["credential"]["file"] = json!(file.display().to_string());
        }
        let mut api = json!({ "schema": self.schema() });
        match &self.api {
            HostedApi::Of(provider) => backend["provider"] = json!(provider),
            HostedApi::Azure { version, .. } => {
                if let Some(version) = version {
                    api["version"] = json!(version);
                }
                if self.key.is_none() {
                    backend["credential"]["azure"] = json!({});
                }
                backend["api"] = api.clone();
            }
            HostedApi::Bedrock { region, is_signed } => {
                backend["provider"] = json!(Provider::Bedrock);
                api["region"] = json!(region);
                if *is_signed {
                    backend["credential"]["aws"] = json!({ "region": region });
                }
                backend["api"] = api.clone();
            }
        }
        if self.is_own_base {
            return backend;
        }
        let ServerUrl { is_tls, host, port } = self.url();
        backend["endpoints"] = json!([{ "host": host, "port": port }]);
        if *is_tls {
            backend["tls"] = json!({});
        }
        if let (HostedApi::Of(_), Some(prefix)) = (&self.api, self.prefix()) {
            api["prefix"] = json!(prefix);
            backend["api"] = api;
        }
        backend
    }

    /// What stands before its paths; `None` is what does by itself.
    fn prefix(&self) -> Option<String> {
        let HostedApi::Of(provider) = self.api else { return None };
        let own = || known_api(provider).2.map(str::to_owned);
        match (&*self.base.path, provider) {
            // Its paths are fixed.
            (_, Provider::Gemini) => None,
            ("", _) => own(),
            // Anthropic's libraries add the version, those of OpenAI's kind do not.
            (path, Provider::Anthropic) if path != "v1" => Some(format!("{path}/v1")),
            (path, _) => Some(path.to_owned()),
        }
    }

    /// The header that its key is shown in.
    fn key_header(&self) -> &'static str {
        match self.schema() {
            ApiSchema::Anthropic => "x-api-key",
            ApiSchema::AzureOpenAI if self.key.is_some() => "api-key",
            ApiSchema::Gemini => "x-goog-api-key",
            _ => "authorization",
        }
    }

    fn schema(&self) -> ApiSchema {
        match self.api {
            HostedApi::Of(provider) => known_api(provider).0,
            HostedApi::Azure { .. } => ApiSchema::AzureOpenAI,
            HostedApi::Bedrock { .. } => ApiSchema::AWSBedrock,
        }
    }
}

impl fmt::Display for Hosted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.name, self.url())
    }
}

/// Where a provider serves its API.
fn own_base(api: &HostedApi) -> BaseUrl {
    let host = match api {
        HostedApi::Of(provider) => known_api(*provider).1.to_owned(),
        HostedApi::Bedrock { region, .. } => {
            format!("{}.{region}.amazonaws.com", known_api(Provider::Bedrock).1)
        }
        HostedApi::Azure { endpoint, .. } => {
            return BaseUrl { server: endpoint.clone(), path: String::new() };
        }
    };
    BaseUrl { server: ServerUrl { is_tls: true, host, port: 443 }, path: String::new() }
}
