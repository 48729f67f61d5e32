//! What a SecurityPolicy asks of requests, as policies of documents.
//!
//! Each way in which clients say who they are is a policy of its own, since Envoy asks its filters in turn: whoever has a
//! key and a token configured wants both. Two things are as with Envoy Gateway that documents do not have by default: what
//! clients show goes on to upstreams, but for keys with `sanitize`; and `Bearer ` before a key does not count. Where
//! policies are put together, what one says of a field takes the place of what the other says; what either refers to is
//! looked up in its own namespace. Turned down: a merge of the objects as JSON, after which nobody knows whose
//! references they are.

mod cors;
pub(crate) mod external;
mod keys;
mod login;
mod rules;
mod tokens;
mod users;

use penstock_config::raw::{
    RawAccess, RawApiKeys, RawAuthentication, RawAuthorization, RawBackend, RawBasic, RawCors, RawExternal,
    RawExtract, RawJwt, RawPolicy,
};

use crate::api::{AccessSettings, CorsAccess};
use crate::compile::{compile_policies, shown};
use crate::context::{Context, Secrets, made_bytes, made_file};
use crate::output::Made;
use crate::policies::Policies;
use crate::upstream::{RawUpstream, Upstream};
use crate::world::{Key, shorten};

pub(crate) use cors::of_filter as cors_of_filter;

/// The most bytes of the files that one policy has with keys or users. The Secret that all of a Gateway's are published in
/// has 1 MiB.
const MAX_FILE_BYTES: usize = 256 << 10;

/// The most bytes of one policy as JSON, of all that a document has room for.
const MAX_POLICY_BYTES: usize = 256 << 10;

/// The most places where documents look for a credential.
const MAX_PLACES: usize = 16;

/// What cannot be, by the field in which it stands.
type Fault = String;

/// What a policy says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    external: Option<external::External>,
    keys: Option<Keys>,
    users: Option<Users>,
    login: Option<login::Login>,
    tokens: Option<Tokens>,
    rules: Option<Rules>,
    cors: Option<CorsAccess>,
    /// What its status shall say beside that it is in force.
    pub(crate) notes: Vec<String>,
}

/// What documents have of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// Policies, to be asked in this order. Each is called by what it asks for, if there are several; the name is to be
    /// completed.
    pub(crate) policies: Vec<RawPolicy>,
    /// What they name.
    pub(crate) secrets: Secrets,
    /// The server that the first of them asks, under the name that it has there, which is to be completed.
    pub(crate) server: Option<Upstream>,
    /// Whether headers that it sets shall change the route.
    pub(crate) recomputes_route: bool,
}

#[derive(Debug, Clone)]
struct Keys {
    file: Option<Result<File, Fault>>,
    places: Vec<RawExtract>,
    header: Option<String>,
    sanitize: Option<bool>,
}

#[derive(Debug, Clone)]
struct Users {
    file: Option<Result<File, Fault>>,
    header: Option<String>,
}

#[derive(Debug, Clone)]
struct Tokens {
    optional: Option<bool>,
    providers: Option<Result<Vec<tokens::Provider>, Fault>>,
}

#[derive(Debug, Clone)]
struct Rules {
    default: Option<Result<RawAccess, Fault>>,
    rules: Option<Result<RawAuthorization, Fault>>,
}

/// A file in the data plane's Secret.
#[derive(Debug, Clone)]
struct File {
    path: String,
    secrets: Secrets,
}

impl Access {
    /// Reads what a policy says; `None` if it asks for nothing that is acted on.
    pub(crate) fn read(
        context: &Context<'_>,
        policies: &Policies<'_>,
        policy: &Key,
        settings: &AccessSettings,
    ) -> Option<Self> {
        let mut access = Self::default();
        if let Some(spec) = &settings.ext_auth {
            access.external = Some(external::read(context, policies, policy, spec, &mut access.notes));
        }
        if let Some(spec) = &settings.api_key_auth {
            access.keys = Some(keys::read(context, policy, spec, &mut access.notes));
        }
        access.users = settings.basic_auth.as_ref().map(|spec| users::read(context, policy, spec));
        access.login = settings.oidc.as_ref().map(|spec| login::read(context, policy, spec));
        access.tokens = settings.jwt.as_ref().map(|spec| tokens::read(context, policy, spec));
        access.rules = settings.authorization.as_ref().map(|spec| rules::read(spec, &mut access.notes));
        access.cors.clone_from(&settings.cors);
        let Self { external, keys, users, login, tokens, rules, cors, .. } = &access;
        let asks_who = keys.is_some() || users.is_some() || login.is_some() || tokens.is_some();
        (external.is_some() || asks_who || rules.is_some() || cors.is_some()).then_some(access)
    }

    /// This, and what a less specific policy says beside it.
    pub(crate) fn over(&self, parent: &Self) -> Self {
        let (own, parent) = (self.clone(), parent.clone());
        Self {
            external: both(own.external, parent.external, external::External::over),
            keys: both(own.keys, parent.keys, |own, parent| Keys {
                file: own.file.or(parent.file),
                places: if own.places.is_empty() { parent.places } else { own.places },
                header: own.header.or(parent.header),
                sanitize: own.sanitize.or(parent.sanitize),
            }),
            users: both(own.users, parent.users, |own, parent| Users {
                file: own.file.or(parent.file),
                header: own.header.or(parent.header),
            }),
            login: both(own.login, parent.login, login::Login::over),
            tokens: both(own.tokens, parent.tokens, |own, parent| Tokens {
                optional: own.optional.or(parent.optional),
                providers: own.providers.or(parent.providers),
            }),
            rules: both(own.rules, parent.rules, |own, parent| Rules {
                default: own.default.or(parent.default),
                rules: own.rules.or(parent.rules),
            }),
            cors: both(own.cors, parent.cors, CorsAccess::over),
            notes: own.notes,
        }
    }

    /// What documents have of it.
    ///
    /// # Errors
    /// Something in it cannot be: what, by its field.
    pub(crate) fn asked(&self) -> Result<Asked, Fault> {
        let mut asked = Asked::default();
        if let Some(external) = &self.external
            && let Some((external, server)) = external.asked()?
        {
            asked.recomputes_route = external.recomputes_route;
            asked.policies.push(RawPolicy {
                name: external::NAME.to_owned(),
                external: Some(external.raw),
                ..RawPolicy::default()
            });
            asked.server = Some(server);
        }
        if let Some(keys) = &self.keys {
            let authentication = keys.asked(&mut asked.secrets)?;
            asked.identify("api-key", authentication);
        }
        if let Some(users) = &self.users {
            let authentication = users.asked(&mut asked.secrets)?;
            asked.identify("basic", authentication);
        }
        let mut providers = &[][..];
        if let Some(tokens) = &self.tokens {
            providers = tokens.providers()?;
        }
        if let Some(login) = &self.login {
            let authentication = login.asked(providers, &mut asked.secrets)?;
            asked.identify("oidc", authentication);
        }
        if let Some(tokens) = &self.tokens {
            asked.recomputes_route |= providers.iter().any(|provider| provider.recomputes_route);
            let authentication = tokens.asked(providers, &mut asked.secrets);
            asked.identify("jwt", authentication);
        }
        if let Some(rules) = &self.rules {
            let authorization = rules.asked(providers)?;
            asked.authorize(authorization);
        }
        if let Some(cors) = &self.cors {
            asked.open(cors::of_policy(cors)?);
        }
        let bytes: usize = asked
            .policies
            .iter()
            .map(|raw| serde_json::to_vec(raw).map_or(usize::MAX, |json| json.len()))
            .sum();
        if bytes > MAX_POLICY_BYTES {
            return Err(format!("it has more than {MAX_POLICY_BYTES} bytes"));
        }
        if made_bytes(&asked.secrets) > MAX_FILE_BYTES {
            return Err(format!("its keys and users have more than {MAX_FILE_BYTES} bytes"));
        }
        // In a document with others its faults would count as theirs, and there may be only so many.
        let server = asked.server.as_ref().and_then(backend);
        compile_policies(&asked.policies, server)
            .map_err(|fault| format!("{}: {}", field(&fault), shown(&fault)))?;
        Ok(asked)
    }
}

impl Asked {
    fn identify(&mut self, name: &str, authentication: RawAuthentication) {
        let authentication = Some(authentication);
        self.policies.push(RawPolicy { name: name.to_owned(), authentication, ..RawPolicy::default() });
    }

    /// Adds who may do what, which is asked last, when it is known who asks.
    fn authorize(&mut self, authorization: RawAuthorization) {
        if self.policies.is_empty() {
            self.policies.push(RawPolicy { name: "authorization".to_owned(), ..RawPolicy::default() });
        }
        if let Some(last) = self.policies.last_mut() {
            last.authorization = Some(authorization);
        }
    }
}

impl Asked {
    /// Adds which web pages may ask. That is found out before anything is asked, whichever policy says it.
    fn open(&mut self, cors: RawCors) {
        if self.policies.is_empty() {
            self.policies.push(RawPolicy { name: "cors".to_owned(), ..RawPolicy::default() });
        }
        if let Some(first) = self.policies.first_mut() {
            first.cors = Some(cors);
        }
    }
}

impl Keys {
    fn asked(&self, secrets: &mut Secrets) -> Result<RawAuthentication, Fault> {
        let path = path(self.file.as_ref(), "apiKeyAuth.credentialRefs", secrets)?;
        if self.places.is_empty() {
            return Err("apiKeyAuth.extractFrom is missing".to_owned());
        }
        if self.places.len() > MAX_PLACES {
            return Err("apiKeyAuth.extractFrom has more than 8 headers, or 16 places".to_owned());
        }
        let api_key = RawApiKeys {
            extract_from: self.places.clone(),
            file: Some(path),
            consumer_header: self.header.clone(),
            forward: self.sanitize != Some(true),
        };
        Ok(RawAuthentication { api_key: Some(api_key), ..RawAuthentication::default() })
    }
}

impl Users {
    fn asked(&self, secrets: &mut Secrets) -> Result<RawAuthentication, Fault> {
        let file = path(self.file.as_ref(), "basicAuth.users", secrets)?;
        // As Envoy Gateway does it. An upstream's own credential takes its place, where it has one.
        let basic = RawBasic { file, user_header: self.header.clone(), forward: true };
        Ok(RawAuthentication { basic: Some(basic), ..RawAuthentication::default() })
    }
}

impl Tokens {
    fn providers(&self) -> Result<&[tokens::Provider], Fault> {
        match &self.providers {
            Some(Ok(providers)) => Ok(providers),
            Some(Err(fault)) => Err(fault.clone()),
            None => Err("jwt.providers is missing".to_owned()),
        }
    }

    fn asked(&self, providers: &[tokens::Provider], secrets: &mut Secrets) -> RawAuthentication {
        let mut raw = Vec::with_capacity(providers.len());
        for provider in providers {
            secrets.extend(provider.secrets.clone());
            raw.push(provider.raw.clone());
        }
        RawAuthentication {
            optional: self.optional == Some(true),
            jwt: Some(RawJwt { providers: raw }),
            ..RawAuthentication::default()
        }
    }
}

impl Rules {
    /// Who may do what, where tokens are of these providers. A rule for tokens of another would never be met, and what it
    /// denies would be allowed.
    fn asked(&self, providers: &[tokens::Provider]) -> Result<RawAuthorization, Fault> {
        let mut raw = self.rules.clone().transpose()?.unwrap_or_default();
        raw.default_action = self.default.clone().transpose()?.unwrap_or_default();
        let is_known = |name: &String| providers.iter().any(|provider| provider.raw.name == *name);
        let unknown = raw.rules.iter().filter_map(|rule| rule.provider.as_ref()).find(|name| !is_known(name));
        match unknown {
            None => Ok(raw),
            Some(name) => Err(format!(
                "authorization.rules[].principal.jwt.provider: jwt.providers has no {:?}",
                shorten(name, 80)
            )),
        }
    }
}

impl File {
    /// A text that is made for a policy.
    fn made(what: &str, object: &Key, part: &str, made: Made) -> Self {
        let mut secrets = Secrets::new();
        let path = made_file(&mut secrets, what, object, part, made);
        Self { path, secrets }
    }
}

/// An upstream as documents have it that say where its endpoints come from.
pub(crate) fn backend(upstream: &Upstream) -> Option<RawBackend> {
    let RawUpstream::Backend(raw) = &upstream.raw else { return None };
    let endpoints_from = upstream.source.iter().map(|_| upstream.name.clone()).collect();
    Some(RawBackend { name: upstream.name.clone(), endpoints_from, ..(**raw).clone() })
}

/// Lets a policy's server be the backend of this name.
pub(crate) fn rename_server(external: &mut RawExternal, name: &str) {
    let grpc = external.grpc.as_mut().map(|grpc| &mut grpc.backend);
    let http = external.http.as_mut().map(|http| &mut http.backend);
    if let Some(backend) = grpc.or(http) {
        name.clone_into(backend);
    }
}

/// Either of two, or both put together.
fn both<T>(own: Option<T>, parent: Option<T>, merge: impl FnOnce(T, T) -> T) -> Option<T> {
    match (own, parent) {
        (Some(own), Some(parent)) => Some(merge(own, parent)),
        (own, parent) => own.or(parent),
    }
}

/// The path of a file that a field has to name.
fn path(file: Option<&Result<File, Fault>>, field: &str, secrets: &mut Secrets) -> Result<String, Fault> {
    match file {
        Some(Ok(file)) => {
            secrets.extend(file.secrets.clone());
            Ok(file.path.clone())
        }
        Some(Err(fault)) => Err(format!("{field}: {fault}")),
        None => Err(format!("{field} is missing")),
    }
}

/// The field that what documents do not take comes from.
fn field(fault: &penstock_config::Fault) -> &'static str {
    let fields = [
        (".external", "extAuth"),
        (".authentication.apiKey", "apiKeyAuth"),
        (".authentication.basic", "basicAuth"),
        (".authentication.oidc", "oidc"),
        (".authentication.jwt", "jwt"),
        (".authorization", "authorization"),
        (".cors", "cors"),
    ];
    fields.into_iter().find(|(part, _)| fault.path.contains(part)).map_or("it", |(_, field)| field)
}

/// A list without what it has twice, which documents do not take.
fn distinct(list: &[String]) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::with_capacity(list.len());
    for text in list {
        if !distinct.contains(text) {
            distinct.push(text.clone());
        }
    }
    distinct
}
