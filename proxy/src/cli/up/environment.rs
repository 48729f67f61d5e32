//! Hosted APIs by their names, and the variables of the environment that have their keys and addresses: those that the
//! providers' own libraries read.

use std::path::PathBuf;

use penstock_config::{Provider, check_model_name};
use penstock_sources::up::{ApiKey, ApiKeyError, BaseUrl, Hosted, HostedApi, UrlError};
use thiserror::Error;

/// A hosted API that can be named on the command line.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: &'static str,
    kind: Kind,
    /// The variables that have the key. The first one that is set counts.
    keys: &'static [&'static str],
    /// The variable that has the address.
    base: &'static str,
}

/// What else is asked of the environment.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Nothing.
    Simple(Provider),
    /// Deployments, and a version.
    Azure,
    /// A region, and keys of AWS if there is no key of Bedrock's own.
    Bedrock,
}

const AZURE_DEPLOYMENTS: &str = "AZURE_OPENAI_DEPLOYMENTS";
const AZURE_VERSION: &str = "AZURE_OPENAI_API_VERSION";
const AWS_ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const AWS_SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const AWS_SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
const AWS_REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
/// By any of these a cloud says who a workload is. The gateway reads them itself.
const AWS_IDENTITY: [&str; 3] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
];
const AZURE_IDENTITY: [&str; 3] = ["AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_SECRET", "IDENTITY_ENDPOINT"];
const BEDROCK_MODELS: &str = "BEDROCK_MODELS";

const fn named(name: &'static str, kind: Kind, keys: &'static [&'static str], base: &'static str) -> Named {
    Named { name, kind, keys, base }
}

static NAMED: [Named; 13] = [
    named("openai", Kind::Simple(Provider::OpenAI), &["OPENAI_API_KEY"], "OPENAI_BASE_URL"),
    named("anthropic", Kind::Simple(Provider::Anthropic), &["ANTHROPIC_API_KEY"], "ANTHROPIC_BASE_URL"),
    named(
        "gemini",
        Kind::Simple(Provider::Gemini),
        &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        "GOOGLE_GEMINI_BASE_URL",
    ),
    named("bedrock", Kind::Bedrock, &["AWS_BEARER_TOKEN_BEDROCK"], "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
    named("azure", Kind::Azure, &["AZURE_OPENAI_API_KEY"], "AZURE_OPENAI_ENDPOINT"),
    named("mistral", Kind::Simple(Provider::Mistral), &["MISTRAL_API_KEY"], "MISTRAL_BASE_URL"),
    named("groq", Kind::Simple(Provider::Groq), &["GROQ_API_KEY"], "GROQ_BASE_URL"),
    named("deepseek", Kind::Simple(Provider::DeepSeek), &["DEEPSEEK_API_KEY"], "DEEPSEEK_BASE_URL"),
    named("together", Kind::Simple(Provider::Together), &["TOGETHER_API_KEY"], "TOGETHER_BASE_URL"),
    named("fireworks", Kind::Simple(Provider::Fireworks), &["FIREWORKS_API_KEY"], "FIREWORKS_BASE_URL"),
    named("openrouter", Kind::Simple(Provider::OpenRouter), &["OPENROUTER_API_KEY"], "OPENROUTER_BASE_URL"),
    named("xai", Kind::Simple(Provider::XAI), &["XAI_API_KEY"], "XAI_BASE_URL"),
    named("cohere", Kind::Simple(Provider::Cohere), &["COHERE_API_KEY", "CO_API_KEY"], "COHERE_BASE_URL"),
];

/// What of the environment keeps a hosted API from being served.
#[derive(Debug, Error)]
pub(super) enum EnvironmentError {
    /// A variable is not set.
    #[error("{variable} is not set: export {variable}={example}, {what}")]
    Missing {
        /// The variable.
        variable: &'static str,
        /// What is in it, in short.
        example: &'static str,
        /// What it is.
        what: &'static str,
    },
    /// A variable has no address in it.
    #[error("{variable}: {error}")]
    Url {
        /// The variable.
        variable: &'static str,
        /// Why not.
        error: UrlError,
    },
    /// A variable has no key in it.
    #[error("{variable}: {error}")]
    Key {
        /// The variable, or several.
        variable: &'static str,
        /// Why not.
        error: ApiKeyError,
    },
    /// A variable has something in it that is no model's name.
    #[error("{variable}: {reason}")]
    Model {
        /// The variable.
        variable: &'static str,
        /// Why not.
        reason: String,
    },
}

/// How a variable is looked up.
type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Named {
    /// The one with this name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        NAMED.iter().find(|named| named.name == name)
    }

    /// What the environment says of it. A document that is printed names a file which a person has to write, since the one
    /// that is made here ends with this process.
    ///
    /// # Errors
    /// Something is missing or faulty.
    pub(super) fn hosted(
        &self,
        variables: Variables<'_>,
        is_printed: bool,
    ) -> Result<Hosted, EnvironmentError> {
        let base = variables(self.base).map(|text| self.base_url(&text)).transpose()?;
        let (api, key, models) = match self.kind {
            Kind::Simple(provider) => (HostedApi::Of(provider), Some(self.key(variables)?), Vec::new()),
            Kind::Azure => {
                let example = "https://NAME.openai.azure.com";
                let what = "the address of the resource";
                let BaseUrl { server: endpoint, .. } =
                    base.clone().ok_or(EnvironmentError::Missing { variable: self.base, example, what })?;
                let key = if self.is_identity(variables) { None } else { Some(self.key(variables)?) };
                let models = models(variables, AZURE_DEPLOYMENTS)?;
                if models.is_empty() {
                    return Err(EnvironmentError::Missing {
                        variable: AZURE_DEPLOYMENTS,
                        example: "NAME,…",
                        what: "the names of the resource's deployments, which Azure lists for no key",
                    });
                }
                (HostedApi::Azure { endpoint, version: variables(AZURE_VERSION) }, key, models)
            }
            Kind::Bedrock => {
                let region = AWS_REGIONS.iter().find_map(|name| variables(name));
                let region = region.ok_or(EnvironmentError::Missing {
                    variable: AWS_REGIONS[0],
                    example: "us-east-1",
                    what: "the region of AWS that requests are sent to",
                })?;
                let own_key = self.key_variable(variables).is_some();
                let key = match (own_key, self.is_identity(variables)) {
                    (true, _) => Some(self.key(variables)?),
                    (false, true) => None,
                    (false, false) => Some(aws_keys(variables)?),
                };
                let models = models(variables, BEDROCK_MODELS)?;
                (HostedApi::Bedrock { region, is_signed: !own_key }, key, models)
            }
        };
        let Some(key) = key else { return Ok(Hosted::by_identity((self.name, api), base, models)) };
        let hosted = Hosted::new((self.name, api), base, key, models);
        Ok(if is_printed { hosted.with_key_in(self.file()) } else { hosted })
    }

    /// Whether there is no key, and the environment says who this workload is to the provider's cloud.
    fn is_identity(&self, variables: Variables<'_>) -> bool {
        let names = match self.kind {
            Kind::Simple(_) => return false,
            Kind::Azure => &AZURE_IDENTITY,
            Kind::Bedrock if variables(AWS_ACCESS_KEY).is_some() => return false,
            Kind::Bedrock => &AWS_IDENTITY,
        };
        self.key_variable(variables).is_none() && names.iter().any(|name| variables(name).is_some())
    }

    /// What a person has to do for a document that was printed.
    pub(super) fn file_note(&self, variables: Variables<'_>) -> String {
        let (name, file) = (self.name, self.file());
        if self.is_identity(variables) {
            return format!(
                "the document expects the identity for {name} from the environment of whoever serves it"
            );
        }
        let file = file.display();
        let what = match (self.key_variable(variables), self.kind) {
            (None, Kind::Bedrock) => {
                format!("{AWS_ACCESS_KEY} and the like, in the form of ~/.aws/credentials,")
            }
            (variable, _) => format!("what is in {}", variable.unwrap_or(self.keys[0])),
        };
        format!("the document expects the key of {name} in the file {file}: write {what} into it")
    }

    fn file(&self) -> PathBuf {
        format!("{}.key", self.name).into()
    }

    /// The key, and the variable that it is from.
    fn key(&self, variables: Variables<'_>) -> Result<(&'static str, ApiKey), EnvironmentError> {
        let found = self.key_variable(variables).and_then(|name| Some((name, variables(name)?)));
        let (variable, text) = found.ok_or(EnvironmentError::Missing {
            variable: self.keys[0],
            example: "KEY",
            what: "the key that requests are sent with",
        })?;
        let key = ApiKey::from_text(&text).map_err(|error| EnvironmentError::Key { variable, error })?;
        Ok((variable, key))
    }

    /// The variable that has the key.
    fn key_variable(&self, variables: Variables<'_>) -> Option<&'static str> {
        self.keys.iter().copied().find(|name| variables(name).is_some())
    }

    fn base_url(&self, text: &str) -> Result<BaseUrl, EnvironmentError> {
        let fault = |error| EnvironmentError::Url { variable: self.base, error };
        let base: BaseUrl = text.parse().map_err(fault)?;
        let takes_path = match self.kind {
            // Their paths are fixed.
            Kind::Simple(Provider::Gemini) | Kind::Bedrock => base.path.is_empty(),
            // What its own pages show is known.
            Kind::Azure => matches!(&*base.path, "" | "openai" | "openai/v1"),
            Kind::Simple(_) => true,
        };
        if takes_path { Ok(base) } else { Err(fault(UrlError::Surplus)) }
    }
}

fn aws_keys(variables: Variables<'_>) -> Result<(&'static str, ApiKey), EnvironmentError> {
    let needed = |variable, what| {
        variables(variable).ok_or(EnvironmentError::Missing { variable, example: "KEY", what })
    };
    let access_key = needed(AWS_ACCESS_KEY, "with AWS_SECRET_ACCESS_KEY (or set AWS_BEARER_TOKEN_BEDROCK)")?;
    let secret_key = needed(AWS_SECRET_KEY, "which belongs to AWS_ACCESS_KEY_ID")?;
    let key = ApiKey::of_aws(&access_key, &secret_key, variables(AWS_SESSION_TOKEN).as_deref());
    let variable = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN";
    Ok((variable, key.map_err(|error| EnvironmentError::Key { variable, error })?))
}

/// The models that a variable lists, between commas or white space.
fn models(variables: Variables<'_>, variable: &'static str) -> Result<Vec<String>, EnvironmentError> {
    let text = variables(variable).unwrap_or_default();
    let names = text.split(|letter: char| letter == ',' || letter.is_whitespace());
    let names = names.filter(|name| !name.is_empty());
    names
        .map(|name| match check_model_name(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(reason) => Err(EnvironmentError::Model { variable, reason }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with an environment of these variables.
    fn fault(name: &str, set: &[(&str, &str)]) -> Option<String> {
        let variables =
            |name: &str| set.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
        Named::find(name).unwrap().hosted(&variables, false).err().map(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_is_named_with_what_mends_it() {
        let endpoint = ("AZURE_OPENAI_ENDPOINT", "https://ours.openai.azure.com/");
        let azure_key = ("AZURE_OPENAI_API_KEY", "k");
        let (region, access_key) = (("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_ACCESS_KEY_ID", "AKIA"));
        for (name, set, expected) in [
            ("openai", vec![], "OPENAI_API_KEY is not set: export OPENAI_API_KEY=KEY"),
            ("gemini", vec![], "GEMINI_API_KEY is not set"),
            ("azure", vec![], "AZURE_OPENAI_ENDPOINT is not set: export AZURE_OPENAI_ENDPOINT=https://NAME."),
            ("azure", vec![endpoint], "AZURE_OPENAI_API_KEY is not set"),
            ("azure", vec![endpoint, azure_key], "AZURE_OPENAI_DEPLOYMENTS is not set"),
            ("bedrock", vec![access_key], "AWS_REGION is not set: export AWS_REGION=us-east-1"),
            ("bedrock", vec![region], "AWS_ACCESS_KEY_ID is not set"),
            ("bedrock", vec![region, access_key], "AWS_SECRET_ACCESS_KEY is not set"),
        ] {
            let fault = fault(name, &set).unwrap();
            assert!(fault.starts_with(expected), "{fault}");
        }
    }

    #[test]
    fn what_is_faulty_is_named_and_no_key_is_shown() {
        for (name, set, expected) in [
            ("openai", vec![("OPENAI_API_KEY", "geheim\nx")], "OPENAI_API_KEY: the API key is empty, or not"),
            (
                "groq",
                vec![("GROQ_API_KEY", "k"), ("GROQ_BASE_URL", "ftp://a.test")],
                "GROQ_BASE_URL: only http:// and https:// can be served",
            ),
            (
                "gemini",
                vec![("GOOGLE_GEMINI_BASE_URL", "https://a.test/of")],
                "GOOGLE_GEMINI_BASE_URL: only a host",
            ),
            (
                "bedrock",
                vec![("AWS_REGION", "r"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "geheim\nx")],
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN: the API key",
            ),
        ] {
            let fault = fault(name, &set).unwrap();
            assert!(fault.starts_with(expected) && !fault.contains("geheim"), "{fault}");
        }
    }

    #[test]
    fn the_variables_of_the_providers_own_libraries_are_enough() {
        let region = ("AWS_REGION", "eu-west-1");
        for (name, set) in [
            ("gemini", vec![("GOOGLE_API_KEY", "k")]),
            ("cohere", vec![("CO_API_KEY", "k")]),
            ("bedrock", vec![region, ("AWS_BEARER_TOKEN_BEDROCK", "k")]),
            ("bedrock", vec![region, ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s")]),
            ("bedrock", vec![region, ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/token")]),
            (
                "bedrock",
                vec![region, ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials")],
            ),
            (
                "azure",
                vec![
                    ("AZURE_OPENAI_ENDPOINT", "https://ours.openai.azure.com"),
                    ("AZURE_OPENAI_DEPLOYMENTS", "ours"),
                    ("AZURE_FEDERATED_TOKEN_FILE", "/var/token"),
                ],
            ),
        ] {
            assert_eq!(fault(name, &set), None);
        }
    }
}
