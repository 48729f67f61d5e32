//! What operator and gateway agree on: lists of endpoints, secrets, credentials, mirrors, fixed answers, and listeners that
//! share an address.

use std::path::Path;

use penstock_config::{
    Action, ApiSchema, AzureIdentity, BackendEndpoint, BackendHost, ClientCredential, ClientHeaders,
    Credential, CredentialSource, Destination, EndpointSpec, Endpoints, Engine, Faults, GcpIdentity,
    IdentityToken, ListenerIndex, ModelRewrite, NoProfileCheck, OidcClient, OidcProvider, PoolIndex, Share,
    Shown, Snapshot, Surroundings, TokenSource, Upstream, check_endpoints,
};

const HEAD: &str = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\n";
const LISTENER: &str = "listeners: [{name: http, address: '127.0.0.1:8080'}]\n";
const LIST: &str = "apiVersion: penstock.dev/v1alpha1\nkind: Endpoints\n";

fn compile(body: &str) -> Result<Snapshot, Faults> {
    Snapshot::compile(&format!("{HEAD}{body}"), &NoProfileCheck)
}

#[track_caller]
fn sound(body: &str) -> Snapshot {
    compile(body).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Asserts that a document has one fault: at `path`, with `part` in its message.
#[track_caller]
fn assert_fault(body: &str, path: &str, part: &str) {
    let faults = compile(&format!("{LISTENER}{body}")).expect_err("it is faulty");
    let first = faults.iter().next().expect("there is one");
    assert_eq!(faults.iter().count(), 1, "{faults}");
    assert_eq!(first.path, path, "{faults}");
    assert!(first.message.contains(part), "{faults}");
}

#[test]
fn secrets_lie_beside_the_document_or_where_the_cluster_has_them() {
    let body = format!(
        "{HEAD}secretsFrom: keys\nlisteners: [{{name: a, address: '127.0.0.1:1', protocol: HTTPS, tls: {{certificates: \
         [{{certificateFile: 'secret:tls.crt', privateKeyFile: /etc/tls.key}}]}}}}]\n\
         backends: [{{name: b, endpoints: [{{host: h, port: 1}}], tls: {{caFile: 'secret:ca.crt'}}, credential: {{file: \
         'secret:b_key'}}}}]\n"
    );
    let at = |surroundings: &Surroundings| {
        let snapshot = Snapshot::compile_in(&body, &NoProfileCheck, surroundings).expect("sound");
        let tls = snapshot.listeners[0].tls.as_ref().expect("it has TLS").certificates[0].clone();
        assert_eq!(tls.private_key, Path::new("/etc/tls.key"));
        let backend = &snapshot.backends[0];
        let credential = backend.credential.as_ref().expect("it has one");
        let in_header = Shown::Header { name: http::header::AUTHORIZATION, prefix: "Bearer ".into() };
        assert_eq!(credential.shown, in_header);
        let uses: Vec<_> = snapshot.secret_uses.iter().map(|u| (u.place.as_str(), &*u.key)).collect();
        assert_eq!(
            uses,
            [
                ("listeners[0].tls.certificates[0].certificateFile", "tls.crt"),
                ("backends[0].tls.caFile", "ca.crt"),
                ("backends[0].credential.file", "b_key"),
            ]
        );
        assert_eq!(&*snapshot.secrets.expect("it names them").name, "keys");
        let CredentialSource::Key(file) = &credential.source else { panic!("{credential:?}") };
        (tls.certificate, file.clone())
    };
    let beside = Surroundings { directory: "/etc/penstock".into(), secrets: None };
    assert_eq!(at(&beside), ("/etc/penstock/keys/tls.crt".into(), "/etc/penstock/keys/b_key".into()));
    let apart = Surroundings { secrets: Some("/run/s".into()), ..beside };
    assert_eq!(at(&apart), ("/run/s/keys/tls.crt".into(), "/run/s/keys/b_key".into()));
}

#[test]
fn a_secret_key_needs_a_secret_and_leads_nowhere_else() {
    let pool = |file: &str| format!("pools: [{{name: p, credential: {{file: '{file}'}}}}]\n");
    assert_fault(&pool("secret:key"), "pools[0].credential.file", "secretsFrom");
    for key in ["", "a/b", "..", "../x", ".", "a b", "..data"] {
        let body = format!("secretsFrom: s\n{}", pool(&format!("secret:{key}")));
        assert_fault(&body, "pools[0].credential.file", "not a Secret's key");
    }
}

#[test]
fn credentials() {
    let pool = |rest: &str| format!("pools: [{{name: p, credential: {{file: f, {rest}}}}}]\n");
    assert_fault(&pool("header: host"), "pools[0].credential.header", "urlRewrite.hostname");
    assert_fault(&pool("header: content-length"), "pools[0].credential.header", "cannot be changed");
    assert_fault(&pool(r#"prefix: "a\nb""#), "pools[0].credential.prefix", "printable");
    assert_fault("pools: [{name: p, credential: {}}]\n", "pools[0].credential.file", "is missing");
}

/// The credential of a pool, as the document writes it.
fn credential(written: &str) -> Credential {
    let snapshot =
        sound(&format!("secretsFrom: s\n{LISTENER}pools: [{{name: p, credential: {{{written}}}}}]\n"));
    snapshot.pools[0].credential.clone().expect("it has one")
}

#[test]
fn credentials_that_are_fetched() {
    use CredentialSource::{AwsFile, Client, Fetched};
    let role = "arn:aws:iam::123456789012:role/r";
    let web = format!("webIdentity: {{roleArn: '{role}', token: {{file: /var/token}}}}");
    let in_file = IdentityToken::File("/var/token".into());
    let region: Box<str> = "eu-west-1".into();
    let bearer = Shown::Header { name: http::header::AUTHORIZATION, prefix: "Bearer ".into() };

    let aws = |rest: &str| credential(&format!("aws: {{region: eu-west-1{rest}}}"));
    assert_eq!(aws("").shown, Shown::Aws { region: region.clone() });
    assert_eq!(aws("").source, Fetched(TokenSource::AwsEnvironment { region: region.clone() }));
    let assumed = aws(&format!(", {web}"));
    assert_eq!(
        assumed.source,
        Fetched(TokenSource::AwsWebIdentity {
            region,
            role_arn: role.into(),
            session_name: "penstock".into(),
            token: in_file.clone(),
            endpoint: None,
        })
    );
    assert_eq!(assumed.files(), [Path::new("/var/token")]);
    let file = credential("file: 'secret:aws', aws: {region: eu-west-1, profile: team}").source;
    assert_eq!(file, AwsFile { file: "s/aws".into(), profile: "team".into() });

    let azure = credential(
        "file: 'secret:azure', azure: {tenantId: t, clientId: c, endpoint: 'https://login.test/'}",
    );
    assert_eq!(azure.shown, bearer);
    assert_eq!(
        azure.source,
        Fetched(TokenSource::Azure {
            tenant_id: Some("t".into()),
            client_id: Some("c".into()),
            by: AzureIdentity::Secret("s/azure".into()),
            scope: "https://cognitiveservices.azure.com/.default".into(),
            endpoint: Some("https://login.test".into()),
        })
    );
    let Fetched(TokenSource::Azure { by, .. }) = credential("azure: {}").source else { panic!() };
    assert_eq!(by, AzureIdentity::Environment);

    for (file, is_local) in [("'secret:g'", false), ("/etc/g.json", true)] {
        let source = credential(&format!("file: {file}, gcp: {{}}")).source;
        let Fetched(TokenSource::Gcp { by: GcpIdentity::File { is_local: found, .. }, .. }) = source else {
            panic!("{source:?}")
        };
        assert_eq!(found, is_local, "{file}");
    }
    let oidc = "token: {oidc: {issuer: 'https://id.test/realm/', clientId: c, clientSecret: 'secret:k', scopes: [a, b]}}";
    let source = credential(&format!(
        "gcp: {{workloadIdentity: {{audience: //iam, serviceAccount: a@b.test, {oidc}}}}}"
    ));
    assert_eq!(source.files(), [Path::new("s/k")]);
    assert_eq!(
        source.source,
        Fetched(TokenSource::Gcp {
            by: GcpIdentity::WorkloadIdentity {
                audience: "//iam".into(),
                token: IdentityToken::Oidc(OidcClient {
                    provider: OidcProvider::Issuer("https://id.test/realm".into()),
                    client_id: "c".into(),
                    client_secret: "s/k".into(),
                    scopes: vec!["a".into(), "b".into()],
                    audience: None,
                    grant_type: "client_credentials".into(),
                }),
                service_account: Some("a@b.test".into()),
                sts_endpoint: "https://sts.googleapis.com/v1/token".into(),
                iam_endpoint: "https://iamcredentials.googleapis.com".into(),
            },
            scope: "https://www.googleapis.com/auth/cloud-platform".into(),
            endpoint: None,
        })
    );
    for written in ["override: {}", "override: {}, aws: {region: r}", "override: {}, gcp: {}"] {
        assert_eq!(credential(written).source, Client, "{written}");
    }
}

#[test]
fn credentials_that_contradict_themselves() {
    let web = "webIdentity: {roleArn: 'arn:aws:iam::1:role/long-enough', token: {file: t}}";
    let aws = |rest: &str| format!("aws: {{region: r, {rest}}}");
    let token = |rest: &str| format!("azure: {{tenantId: t, clientId: c, token: {{{rest}}}}}");
    let oidc = |rest: &str| token(&format!("oidc: {{clientId: c, clientSecret: k, {rest}}}"));
    for (written, place, part) in [
        ("gcp: {}, azure: {}".to_owned(), "gcp", "stands in place of azure"),
        ("header: x-k, gcp: {}".to_owned(), "header", "no meaning beside gcp"),
        ("aws: {region: 'a.b/c'}".to_owned(), "aws.region", "is not a region"),
        (aws("profile: p"), "aws.profile", "without file"),
        (format!("file: f, {}", aws(web)), "aws.webIdentity", "one of the two"),
        (
            aws("webIdentity: {roleArn: 'role/only-a-role-name', token: {file: t}}"),
            "aws.webIdentity.roleArn",
            "is not a role",
        ),
        ("file: f, azure: {tenantId: t}".to_owned(), "azure.clientId", "is missing"),
        ("azure: {endpoint: 'https://u:p@h'}".to_owned(), "azure.endpoint", "write scheme, host and path"),
        ("azure: {endpoint: 'login.test'}".to_owned(), "azure.endpoint", "write scheme, host and path"),
        (token(""), "azure.token", "give it file or oidc"),
        (
            token("file: f, oidc: {tokenEndpoint: 'http://h/t', clientId: c, clientSecret: k}"),
            "azure.token.oidc",
            "one of the two",
        ),
        (oidc(""), "azure.token.oidc", "give it issuer or tokenEndpoint"),
        (oidc("issuer: 'ftp://a.test'"), "azure.token.oidc.issuer", "is not an address"),
        (oidc("issuer: 'http://a', scopes: ['a b']"), "azure.token.oidc.scopes[0]", "one to an item"),
        (
            "gcp: {endpoint: 'http://m', workloadIdentity: {audience: a, token: {file: t}}}".to_owned(),
            "gcp.endpoint",
            "stsEndpoint",
        ),
        ("override: {fallbackToConfigured: true}".to_owned(), "file", "is missing"),
        ("override: {accessKeyIdHeader: x}".to_owned(), "override.accessKeyIdHeader", "without aws"),
        ("override: {header: x}, aws: {region: r}".to_owned(), "override.header", "three headers"),
        ("override: {header: host}".to_owned(), "override.header", "urlRewrite"),
        (
            "override: {accessKeyIdHeader: x, sessionTokenHeader: X}, aws: {region: r}".to_owned(),
            "override",
            "one header twice",
        ),
    ] {
        let body = format!("pools: [{{name: p, credential: {{{written}}}}}]\n");
        assert_fault(&body, &format!("pools[0].credential.{place}"), part);
    }
}

#[test]
fn what_clients_bring_for_one_upstream_no_other_of_the_rule_gets() {
    let snapshot = sound(&format!(
        "{LISTENER}pools: [{{name: p}}, {{name: q, credential: {{override: {{}}}}}}, \
         {{name: s, credential: {{override: {{header: x-own}}}}}}]\n\
         backends: [{{name: b, provider: anthropic, credential: {{override: {{}}}}}}, \
         {{name: c, provider: bedrock, credential: {{aws: {{region: r}}, override: {{fallbackToConfigured: true}}}}}}]\n\
         routes: [{{name: r, rules: [{{targets: [{{pool: p}}, {{backend: b, priority: 1}}], mirrors: [{{backend: c}}]}}, \
         {{targets: [{{pool: p}}]}}, {{targets: [{{pool: s}}]}}]}}]\n"
    ));
    let names = |rule: usize| {
        snapshot.rules()[rule].client_credentials.iter().map(|n| n.as_str()).collect::<Vec<_>>()
    };
    // Names of Envoy AI Gateway's mean nothing else; a name of the document's own is its rule's.
    let everywhere = [
        "x-aigw-anthropic-api-key",
        "x-aigw-api-key",
        "x-aigw-aws-access-key-id",
        "x-aigw-aws-secret-access-key",
        "x-aigw-aws-session-token",
    ];
    assert_eq!((names(0), names(1)), (everywhere.to_vec(), everywhere.to_vec()));
    assert_eq!(names(2), [&everywhere[..], &["x-own"]].concat());
    let client = snapshot.pools[1].credential.as_ref().and_then(|credential| credential.client.clone());
    let header = ClientHeaders::Key(http::HeaderName::from_static("x-aigw-api-key"));
    assert_eq!(client, Some(ClientCredential { headers: header, falls_back: false }));
}

#[test]
fn a_provider_is_short_for_where_and_how_it_serves() {
    let backend = |fields: &str| {
        let rule = "routes: [{name: r, rules: [{targets: [{backend: b}]}]}]";
        format!("{rule}\nbackends: [{{name: b, {fields}}}]\n")
    };
    let api = |fields: &str| {
        let snapshot = sound(&format!("{LISTENER}{}", backend(fields)));
        let backend = &snapshot.backends[0];
        let api = backend.api.clone().expect("it has one");
        let host = match &backend.endpoints[0].host {
            BackendHost::Dns(host) => host.to_string(),
            BackendHost::Ip(ip) => ip.to_string(),
        };
        (host, backend.tls.is_some(), api.schema, api.prefix.map(String::from))
    };
    let openai = ("api.openai.com".to_owned(), true, ApiSchema::OpenAI, None);
    assert_eq!(api("provider: openai"), openai);
    let groq = ("api.groq.com".to_owned(), true, ApiSchema::OpenAI, Some("openai/v1".to_owned()));
    assert_eq!(api("provider: groq"), groq);
    let host = "bedrock-runtime.eu-central-1.amazonaws.com".to_owned();
    let bedrock = (host, true, ApiSchema::AWSBedrock, None);
    assert_eq!(api("provider: bedrock, api: {region: eu-central-1}"), bedrock);
    assert_eq!(api("provider: bedrock, credential: {file: /aws, aws: {region: eu-central-1}}"), bedrock);
    let own = ("127.0.0.1".to_owned(), false, ApiSchema::Anthropic, None);
    assert_eq!(api("provider: anthropic, endpoints: [{host: 127.0.0.1, port: 80}]"), own);
    for (fields, path, part) in [
        ("provider: bedrock", "backends[0].api.region", "another host in each region"),
        ("provider: openai, api: {region: x}", "backends[0].api.region", "no meaning for the schema OpenAI"),
    ] {
        assert_fault(&backend(fields), path, part);
    }
}

#[test]
fn a_list_of_a_pool() {
    let text = format!(
        "{LIST}metadata: {{name: p-0, generation: 7}}\nendpoints:\n- {{address: '10.0.0.1:8000', name: ns/a, metricsPort: \
         9000}}\n- {{address: '10.0.0.2:8000', engine: vllm, labels: {{role: decode}}}}\n"
    );
    let list = Endpoints::compile_for_pool(&text, Engine::Sglang).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!((list.name.as_deref(), list.generation), (Some("p-0"), Some(7)));
    assert_eq!(list.endpoints[0].engine, Engine::Sglang);
    assert_eq!(list.endpoints[0].metrics_address, "10.0.0.1:9000".parse().unwrap());
    assert_eq!(list.endpoints[1].engine, Engine::Vllm);
    assert!(Endpoints::compile_for_pool(LIST, Engine::Vllm).expect("none is sound").endpoints.is_empty());

    let faulty = format!("{LIST}endpoints: [{{address: '0.0.0.0:1'}}, {{adress: '10.0.0.1:1'}}]\n");
    let faults = Endpoints::compile_for_pool(&faulty, Engine::Vllm).expect_err("it is faulty");
    assert!(faults.to_string().contains("did you mean \"address\"?"), "{faults}");
    let wrong_kind = format!("{HEAD}endpoints: []\n");
    let faults = Endpoints::compile_for_pool(&wrong_kind, Engine::Vllm).expect_err("it is no list");
    assert_eq!(faults.iter().next().expect("there is one").path, "kind", "{faults}");
}

#[test]
fn a_list_of_a_backend() {
    let text = format!(
        "{LIST}endpoints: [{{host: api.test, port: 443}}, {{host: 10.0.0.1, port: 80, weight: 3}}]\n"
    );
    let list = Endpoints::compile_for_backend(&text).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(list.endpoints.len(), 2);
    let faulty = format!("{LIST}endpoints: [{{host: 'http://x', port: 1}}]\n");
    let faults = Endpoints::compile_for_backend(&faulty).expect_err("it is faulty");
    assert_eq!(faults.iter().next().expect("there is one").path, "endpoints[0].host", "{faults}");
}

#[test]
fn which_kind_of_list_a_document_is_shows_in_it() {
    let check = |endpoints: &str| {
        check_endpoints(&format!("{LIST}endpoints: [{endpoints}]\n")).expect("it is a list")
    };
    assert!(check("{address: '10.0.0.1:1'}").is_ok());
    assert!(check("{host: a, port: 1}").is_ok());
    assert!(check("").is_ok());
    assert!(check("{host: a}").is_err());
    assert!(check_endpoints(&format!("{HEAD}{LISTENER}")).is_none());
}

#[test]
fn of_an_endpoint_listed_twice_the_first_counts() {
    let pool = |endpoints: &str| {
        let text = format!("{LIST}endpoints: [{endpoints}]\n");
        Endpoints::compile_for_pool(&text, Engine::Vllm).expect("sound").endpoints
    };
    let (a, b) = (
        pool("{address: '10.0.0.1:1', name: first}, {address: '10.0.0.2:1'}"),
        pool("{address: '10.0.0.3:1'}, {address: '10.0.0.1:1', name: second}"),
    );
    let union = EndpointSpec::union([&a[..], &b[..]]);
    let names: Vec<&str> = union.iter().map(|endpoint| &*endpoint.name).collect();
    assert_eq!(names, ["first", "10.0.0.2:1", "10.0.0.3:1"]);

    let text = format!("{LIST}endpoints: [{{host: a, port: 1, weight: 2}}, {{host: a, port: 2}}]\n");
    let list = Endpoints::compile_for_backend(&text).expect("sound").endpoints;
    let union = BackendEndpoint::union([&list[..], &list[..]]);
    assert_eq!(union, list);
}

#[test]
fn lists_are_named_once_and_stand_in_for_endpoints() {
    let snapshot = sound(&format!(
        "{LISTENER}pools: [{{name: p, engine: sglang, endpointsFrom: [b, a]}}]\nbackends: [{{name: b, endpointsFrom: [c]}}]\n"
    ));
    assert_eq!(snapshot.pools[0].endpoints_from, ["b".into(), "a".into()]);
    assert_eq!(snapshot.pools[0].engine, Engine::Sglang);
    assert_eq!(snapshot.backends[0].endpoints_from, ["c".into()]);
    assert_fault("pools: [{name: p, endpointsFrom: [a, a]}]\n", "pools[0].endpointsFrom[1]", "twice");
    assert_fault("pools: [{name: p, endpointsFrom: ['']}]\n", "pools[0].endpointsFrom[0]", "names no");
    assert_fault("backends: [{name: b}]\n", "backends[0].endpoints", "endpointsFrom");
}

fn with_rule(rule: &str) -> String {
    format!(
        "pools: [{{name: p}}]\nbackends: [{{name: b, endpoints: [{{host: h, port: 80}}]}}]\n\
         routes: [{{name: r, rules: [{{{rule}}}]}}]\n"
    )
}

#[test]
fn fixed_answers() {
    let rule = with_rule("models: [m], targets: [{status: 500, weight: 3}, {pool: p}]");
    let snapshot = sound(&format!("{LISTENER}{rule}"));
    let Action::Forward(tiers) = &snapshot.rules()[0].action else { panic!("it forwards") };
    let targets = &tiers[0].targets;
    assert!(matches!(targets[0].destination, Destination::Status(status) if status == 500));
    assert_eq!(targets[0].upstream(), None);
    assert_eq!(targets[1].upstream(), Some(Upstream::Pool(PoolIndex(0))));
    assert_eq!(snapshot.models(ListenerIndex(0), "h").len(), 1);

    let nowhere = sound(&format!("{LISTENER}{}", with_rule("models: [m], targets: [{status: 500}]")));
    assert!(nowhere.models(ListenerIndex(0), "h").is_empty(), "what leads nowhere is not offered");
    let closed = with_rule("models: [m], targets: [{status: 500, reason: unsupportedPolicy}]");
    let closed = sound(&format!("{LISTENER}{closed}"));
    let Action::Forward(tiers) = &closed.rules()[0].action else { panic!("it forwards") };
    assert!(matches!(tiers[0].targets[0].destination, Destination::Closed(status) if status == 500));
    assert!(closed.models(ListenerIndex(0), "h").is_empty(), "what is closed is not offered");
    assert_fault(
        &with_rule("targets: [{pool: p, reason: unsupportedPolicy}]"),
        "routes[0].rules[0].targets[0].reason",
        "without `status`",
    );
    assert_fault(
        &with_rule("targets: [{status: 500, pool: p}]"),
        "routes[0].rules[0].targets[0].status",
        "either",
    );
    assert_fault(
        &with_rule("targets: [{pool: p, status: 404}]"),
        "routes[0].rules[0].targets[0].status",
        "500 to 599",
    );
}

#[test]
fn mirrors() {
    let rule = with_rule(
        "targets: [{pool: p}], mirrors: [{backend: b, percent: 5}, {pool: p, percent: 0}, {pool: p}, \
         {pool: p, fraction: {numerator: 1, denominator: 1000}}, {pool: p, fraction: {numerator: 7}}, \
         {pool: p, fraction: {numerator: 0}}]",
    );
    let snapshot = sound(&format!("{LISTENER}{rule}"));
    let mirrors = &snapshot.rules()[0].mirrors;
    let shares =
        [(5, 100), (100, 100), (1, 1000), (7, 100)].map(|(part, all)| Share::new(part, all).unwrap());
    assert_eq!(mirrors.iter().map(|mirror| mirror.share).collect::<Vec<_>>(), shares);
    let place = "routes[0].rules[0].mirrors";
    assert_fault(
        &with_rule("targets: [{pool: p}], mirrors: [{pool: x}]"),
        &format!("{place}[0].pool"),
        "no pool",
    );
    assert_fault(&with_rule("targets: [{pool: p}], mirrors: [{}]"), &format!("{place}[0]"), "leads nowhere");
    let too_many = with_rule("targets: [{pool: p}], mirrors: [{pool: p, percent: 101}]");
    assert_fault(&too_many, &format!("{place}[0].percent"), "0 to 100");
    for (share, field, fault) in [
        ("percent: 5, fraction: {numerator: 5}", "fraction", "in place of `percent`"),
        ("fraction: {numerator: 101}", "fraction", "more than all"),
        ("fraction: {numerator: 0, denominator: 0}", "fraction.denominator", "1 to 4294967295"),
        ("fraction: {denominator: 10}", "fraction.numerator", "is missing"),
    ] {
        let rule = with_rule(&format!("targets: [{{pool: p}}], mirrors: [{{pool: p, {share}}}]"));
        assert_fault(&rule, &format!("{place}[0].{field}"), fault);
    }
    assert_fault(&with_rule("redirect: {}, mirrors: [{pool: p}]"), place, "redirect");
}

#[test]
fn what_a_target_changes() {
    let rule = with_rule(
        "targets: [{pool: p, urlRewrite: {hostname: a.test, path: {type: ReplacePrefixMatch, replacePrefixMatch: /x/}}, \
         responseHeaders: {remove: [server]}}]",
    );
    let snapshot = sound(&format!("{LISTENER}{rule}"));
    let Action::Forward(tiers) = &snapshot.rules()[0].action else { panic!("it forwards") };
    let target = &tiers[0].targets[0];
    let rewrite = target.rewrite.as_ref().expect("it has one");
    assert_eq!(rewrite.hostname.as_ref().expect("it has one"), "a.test");
    assert_eq!(rewrite.path.as_ref().expect("it has one").apply("/v1/models", "/v1"), "/x/models");
    assert_eq!(target.response_headers.remove, ["server"]);
    let exact = "matches: [{path: {type: Exact, value: /a}}], targets: [{pool: p, urlRewrite: {path: {type: \
                 ReplacePrefixMatch, replacePrefixMatch: /x}}}]";
    assert_fault(&with_rule(exact), "routes[0].rules[0].targets[0].urlRewrite.path", "PathPrefix");
    let header = "targets: [{pool: p, responseHeaders: {set: [{name: content-length, value: '1'}]}}]";
    let place = "routes[0].rules[0].targets[0].responseHeaders.set[0].name";
    assert_fault(&with_rule(header), place, "cannot be changed");
}

#[test]
fn models_are_renamed_by_weight_and_the_first_rewrite_that_names_one_counts() {
    let snapshot = sound(&format!(
        "{LISTENER}pools: [{{name: p, modelRewrites: [{{models: [a], targets: [{{model: a-1, weight: 1}}, {{model: a-2, \
         weight: 3}}]}}, {{targets: [{{model: rest}}]}}]}}]\n"
    ));
    let rewrites = &snapshot.pools[0].model_rewrites;
    let chosen: Vec<&str> =
        (0..8).map(|r| &**ModelRewrite::choose(rewrites, "a", r).expect("it is renamed")).collect();
    assert_eq!(chosen, ["a-1", "a-2", "a-2", "a-2", "a-1", "a-2", "a-2", "a-2"]);
    assert_eq!(ModelRewrite::choose(rewrites, "b", 5).map(|name| &**name), Some("rest"));
    assert_eq!(ModelRewrite::choose(&rewrites[..1], "b", 5), None);
    let faulty = |rewrite: &str| format!("pools: [{{name: p, modelRewrites: [{{{rewrite}}}]}}]\n");
    assert_fault(&faulty("models: [a], targets: []"), "pools[0].modelRewrites[0].targets", "at least 1");
    assert_fault(
        &faulty("models: [''], targets: [{model: x}]"),
        "pools[0].modelRewrites[0].models[0]",
        "empty",
    );
    let zero = faulty("targets: [{model: x, weight: 0}]");
    assert_fault(&zero, "pools[0].modelRewrites[0].targets[0].weight", "1 to 1000000");
}

#[test]
fn replicas() {
    assert_eq!(sound(LISTENER).replicas, 1);
    assert_eq!(sound(&format!("{LISTENER}replicas: 4\n")).replicas, 4);
    assert_fault("replicas: 0\n", "replicas", "1 to 10000");
}

#[test]
fn listeners_on_one_address_are_told_apart_by_host() {
    let snapshot = sound(
        "listeners:\n- {name: any, address: '127.0.0.1:1'}\n- {name: a, address: '127.0.0.1:1', hostname: a.test}\n\
         - {name: wild, address: '127.0.0.1:1', hostname: '*.test'}\n- {name: deep, address: '127.0.0.1:1', hostname: \
         '*.b.test'}\n- {name: apart, address: '127.0.0.1:2', hostname: a.test}\n",
    );
    let chosen =
        |at: usize, host: &str| &*snapshot.listeners[snapshot.listener_for(ListenerIndex(at), host).0].name;
    for at in 0..4 {
        assert_eq!(chosen(at, "a.test"), "a");
        assert_eq!(chosen(at, "A.TEST:80"), "a");
        assert_eq!(chosen(at, "a.test.:80"), "a");
        assert_eq!(chosen(at, "x.test"), "wild");
        assert_eq!(chosen(at, "x.b.test"), "deep");
        assert_eq!(chosen(at, "other.org"), "any");
        assert_eq!(chosen(at, ""), "any");
    }
    assert_eq!(chosen(4, "other.org"), "apart");
}

#[test]
fn a_host_of_another_listener_than_the_connections_is_misdirected() {
    // The listeners of Gateway API's own test of it.
    let snapshot = sound(
        "listeners:\n- {name: any, address: '127.0.0.1:1'}\n- {name: exact, address: '127.0.0.1:1', hostname: \
         second.test}\n- {name: wild, address: '127.0.0.1:1', hostname: '*.wild.test'}\n- {name: within, address: \
         '127.0.0.1:1', hostname: fourth.wild.test}\n- {name: apart, address: '127.0.0.1:2', hostname: a.test}\n\
         - {name: c, address: '127.0.0.1:3', hostname: c.test}\n- {name: d, address: '127.0.0.1:3', hostname: d.test}\n",
    );
    let names = ["first.test", "second.test", "third.wild.test", "fourth.wild.test"];
    for (shown, server_name) in names.iter().enumerate() {
        for (asked, host) in names.iter().enumerate() {
            for host in [host.to_string(), format!("{}:443", host.to_uppercase()), format!("{host}.")] {
                for at in 0..4 {
                    let is_misdirected = snapshot.is_misdirected(ListenerIndex(at), server_name, &host);
                    assert_eq!(is_misdirected, shown != asked, "{server_name} {host}");
                }
            }
        }
    }
    let is_misdirected =
        |at, server_name, host| snapshot.is_misdirected(ListenerIndex(at), server_name, host);
    assert!(!is_misdirected(0, "first.test", "other.test"), "both are the first one's");
    assert!(!is_misdirected(0, "third.wild.test", "other.wild.test"));
    assert!(!is_misdirected(4, "b.test", "a.test"), "an address of its own");
    assert!(is_misdirected(5, "c.test", "d.test") && is_misdirected(6, "c.test.", "d.test"));
    assert!(!is_misdirected(5, "c.test", "x.test") && !is_misdirected(5, "x.test", "c.test"), "nobody's");
}

#[test]
fn listeners_on_one_address_speak_one_protocol() {
    let tls = "tls: {certificates: [{certificateFile: c, privateKeyFile: k}]}";
    let mixed = format!(
        "{HEAD}listeners: [{{name: a, address: '127.0.0.1:1', hostname: a.test}}, {{name: b, address: '127.0.0.1:1', \
         hostname: b.test, protocol: HTTPS, {tls}}}]\n"
    );
    let faults = Snapshot::compile(&mixed, &NoProfileCheck).expect_err("it is faulty");
    assert_eq!(faults.iter().next().expect("there is one").path, "listeners[1].protocol", "{faults}");
    let same = format!(
        "{HEAD}listeners: [{{name: a, address: '127.0.0.1:1', hostname: A.test}}, {{name: b, address: '127.0.0.1:1', \
         hostname: a.test}}]\n"
    );
    let faults = Snapshot::compile(&same, &NoProfileCheck).expect_err("it is faulty");
    assert_eq!(faults.iter().next().expect("there is one").path, "listeners[1].address", "{faults}");
}
