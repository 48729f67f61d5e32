//! Filters that rules refer to (Envoy Gateway's HTTPRouteFilter). One of which something is not acted on is refused whole:
//! it may decide which requests its rule is for.

use penstock_config::raw::{
    RawHeaderEdits, RawPathRewrite, RawPathRewriteType, RawRegexReplacement, RawRespond, RawRuleCredential,
    RawUrlRewrite,
};

use crate::answers::{body, edits, whole};
use crate::api::{FilterCredentialInjection, FilterResponse, FilterUrlRewrite, HttpFilter, HttpRouteFilter};
use crate::context::{Context, Referrer, Secrets, data_file};
use crate::world::{Key, Kind, shorten};

/// The key of a Secret that has what requests are sent with.
const CREDENTIAL: &str = "credential";

/// What the filters say that a rule refers to.
#[derive(Debug, Clone, Default)]
pub(super) struct Extension {
    /// Changes to host and path.
    pub(super) rewrite: RawUrlRewrite,
    /// An answer in place of everything else, and changes to its headers.
    pub(super) respond: Option<(RawRespond, RawHeaderEdits)>,
    /// A secret that requests are sent with.
    pub(super) credential: Option<RawRuleCredential>,
    /// Where that is.
    pub(super) secrets: Secrets,
}

/// Reads the filters that are referred to.
///
/// # Errors
/// One is not there, or has something that cannot be: which, and what.
pub(super) fn read<'f>(
    context: &Context<'_>,
    namespace: &str,
    filters: impl Iterator<Item = &'f HttpFilter>,
) -> Result<Extension, String> {
    let mut extension = Extension::default();
    for filter in filters {
        let reference = filter.extension_ref.as_ref();
        let reference = reference.ok_or("a filter of type ExtensionRef lacks its section")?;
        let (group, kind) = (reference.group.as_deref(), reference.kind.as_deref());
        if Kind::in_group(group.unwrap_or_default(), kind.unwrap_or_default()) != Some(Kind::HttpRouteFilter)
        {
            return Err(format!(
                "filters that are a {} of group {:?} are not served",
                shorten(kind.unwrap_or_default(), 80),
                shorten(group.unwrap_or_default(), 80)
            ));
        }
        let key = Key::new(namespace, &reference.name);
        let found = context.world.route_filters.get(&key);
        let found = found.ok_or_else(|| format!("the HTTPRouteFilter {key} does not exist"))?;
        let spec = found.spec.as_ref().map_err(|error| format!("the HTTPRouteFilter {key}: {error}"))?;
        extension.add(context, &key, spec).map_err(|fault| format!("the HTTPRouteFilter {key}: {fault}"))?;
    }
    Ok(extension)
}

impl Extension {
    fn add(&mut self, context: &Context<'_>, key: &Key, spec: &HttpRouteFilter) -> Result<(), String> {
        whole("spec", &spec.others)?;
        if let Some(rewrite) = &spec.url_rewrite {
            self.rewrite(rewrite)?;
        }
        if let Some(response) = &spec.direct_response {
            if self.respond.is_some() {
                return Err("spec.directResponse: the rule has an answer already".to_owned());
            }
            self.respond = Some(respond(context, key, response)?);
        }
        if let Some(injection) = &spec.credential_injection {
            if self.credential.is_some() {
                return Err("spec.credentialInjection: the rule has a credential already".to_owned());
            }
            self.credential = Some(credential(context, key, injection, &mut self.secrets)?);
        }
        Ok(())
    }

    fn rewrite(&mut self, wanted: &FilterUrlRewrite) -> Result<(), String> {
        whole("spec.urlRewrite", &wanted.others)?;
        if let Some(hostname) = &wanted.hostname {
            whole("spec.urlRewrite.hostname", &hostname.others)?;
            match hostname.kind.as_str() {
                // As upstreams are called here in any case, where they have a name.
                "Backend" => {}
                "Header" => self.rewrite.hostname_header.clone_from(&hostname.header),
                other => {
                    return Err(format!(
                        "spec.urlRewrite.hostname.type: {:?} is not known",
                        shorten(other, 40)
                    ));
                }
            }
        }
        if let Some(path) = &wanted.path {
            whole("spec.urlRewrite.path", &path.others)?;
            let regex = path.replace_regex_match.as_ref().filter(|_| path.kind == "ReplaceRegexMatch");
            let regex = regex.ok_or("spec.urlRewrite.path is not of type ReplaceRegexMatch")?;
            whole("spec.urlRewrite.path.replaceRegexMatch", &regex.others)?;
            if self.rewrite.path.is_some() {
                return Err("spec.urlRewrite.path: the rule changes the path already".to_owned());
            }
            self.rewrite.path = Some(RawPathRewrite {
                kind: RawPathRewriteType::ReplaceRegexMatch,
                replace_full_path: None,
                replace_prefix_match: None,
                replace_regex_match: Some(RawRegexReplacement {
                    pattern: regex.pattern.clone(),
                    substitution: regex.substitution.clone(),
                }),
            });
        }
        Ok(())
    }
}

/// The secret of a filter.
///
/// # Errors
/// It is not there, may not be read, or cannot stand in a header.
fn credential(
    context: &Context<'_>,
    filter: &Key,
    wanted: &FilterCredentialInjection,
    secrets: &mut Secrets,
) -> Result<RawRuleCredential, String> {
    const FIELD: &str = "spec.credentialInjection";
    whole(FIELD, &wanted.others)?;
    whole("spec.credentialInjection.credential", &wanted.credential.others)?;
    let reference = wanted.credential.value_ref.as_ref();
    let reference = reference.ok_or_else(|| format!("{FIELD}.credential.valueRef is missing"))?;
    let from = Referrer::of(Kind::HttpRouteFilter, &filter.namespace);
    let found = context.referred_secret(from, reference, "Invalid");
    let (secret, values) =
        found.map_err(|error| format!("{FIELD}.credential.valueRef: {}", error.message))?;
    let value = values.get(CREDENTIAL).map(|value| value.expose().trim_ascii());
    let is_value =
        value.is_some_and(|value| !value.is_empty() && value.iter().all(|byte| (0x20..0x7f).contains(byte)));
    if !is_value {
        return Err(format!("the Secret {secret} has no key {CREDENTIAL} with a header's value"));
    }
    let file = data_file(secrets, "credential", Kind::Secret, &secret, CREDENTIAL);
    let header = wanted.header.clone().filter(|header| !header.is_empty());
    Ok(RawRuleCredential { file, header, overwrite: wanted.overwrite == Some(true) })
}

fn respond(
    context: &Context<'_>,
    key: &Key,
    wanted: &FilterResponse,
) -> Result<(RawRespond, RawHeaderEdits), String> {
    whole("spec.directResponse", &wanted.others)?;
    let status = wanted.status_code.unwrap_or(200);
    if !(200..=599).contains(&status) {
        return Err(format!("spec.directResponse.statusCode: {status} is no status of an answer"));
    }
    let body = wanted.body.as_ref().map(|wanted| body(context, key, "spec.directResponse.body", wanted));
    let body = body.transpose()?.unwrap_or_default();
    let content_type = wanted.content_type.clone().filter(|it| !it.is_empty());
    let headers = wanted.header.as_ref().map(|wanted| edits("spec.directResponse.header", wanted));
    let headers = headers.transpose()?.unwrap_or_default();
    Ok((RawRespond { status, content_type, body }, headers))
}
