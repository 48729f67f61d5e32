//! Token services: what they hand out, and what they refuse as the real ones do.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use http::Method;
use penstock_sim::{Handle, credentials::Credentials, faults::Fault, options::Options};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Client, request},
    start,
};

pub(crate) const ACCOUNT: &str = include_str!("../data/service-account.json");
const ROLE: &str = "arn:aws:iam::123456789012:role/gateway";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const PROVIDER: &str =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider";

/// All services, on.
pub(crate) fn credentials() -> Credentials {
    let account: Value = serde_json::from_str(ACCOUNT).unwrap();
    serde_json::from_value(json!({
        "lifetime_s": 900,
        "identity_tokens": ["token-of-a-workload"],
        "aws": {"roles": [ROLE], "container_authorization": "token-of-a-pod", "instance_role": "node"},
        "google": {
            "service_accounts": [account, {"client_email": "other@my-project.iam.gserviceaccount.com"}],
            "audiences": [PROVIDER],
            "metadata_account": "node@my-project.iam.gserviceaccount.com",
        },
        "azure": {"tenant": "tenant", "client_id": "client", "client_secret": "secret"},
        "oidc": {"client_id": "client", "client_secret": "secret"},
    }))
    .unwrap()
}

async fn services() -> (Handle, Client) {
    let sim = start(Options { credentials: Some(credentials()), ..Options::default() }).await;
    let client = Client::http1(sim.addr()).await;
    (sim, client)
}

async fn post(client: &mut Client, path: &str, form: &str) -> Answer {
    client.send(request(Method::POST, path, &[FORM], form.to_owned())).await.unwrap()
}

async fn get(client: &mut Client, path: &str, headers: &[(&str, &str)]) -> Answer {
    client.send(request(Method::GET, path, headers, "")).await.unwrap()
}

fn between<'a>(text: &'a str, tag: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("<{tag}>")).unwrap_or_else(|| panic!("no {tag}: {text}"));
    rest.split_once('<').unwrap().0
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An assertion with these claims, signed with the key of the account.
fn assertion(claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "RS256", "typ": "JWT"})), part(claims));
    let account: Value = serde_json::from_str(ACCOUNT).unwrap();
    let pem: String =
        account["private_key"].as_str().unwrap().lines().filter(|line| !line.starts_with('-')).collect();
    let key = RsaKeyPair::from_pkcs8(&BASE64_STANDARD.decode(pem).unwrap()).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn claims() -> Value {
    json!({
        "iss": "gateway@my-project.iam.gserviceaccount.com", "scope": SCOPE, "aud": "http://sim/token",
        "iat": now(), "exp": now() + 3600,
    })
}

async fn assert_as(client: &mut Client, assertion: &str) -> Answer {
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
    post(client, "/token", &format!("{grant}&assertion={assertion}")).await
}

#[tokio::test]
async fn sts_gives_a_session_for_an_identity_token_of_a_role_that_it_knows() {
    let (sim, mut client) = services().await;
    let asked = |role: &str, token: &str| {
        let role = role.replace(':', "%3A").replace('/', "%2F");
        format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={role}&RoleSessionName=penstock\
             &WebIdentityToken={token}"
        )
    };
    let given = post(&mut client, "/", &asked(ROLE, "token-of-a-workload")).await;
    assert_eq!(given.status, 200, "{}", given.text());
    assert_eq!(given.header("content-type"), "text/xml");
    let text = given.text();
    assert!(between(&text, "AccessKeyId").starts_with("ASIA"), "{text}");
    assert_eq!(between(&text, "AccessKeyId").len(), 20);
    assert_eq!(between(&text, "SecretAccessKey").len(), 40);
    assert!(between(&text, "Expiration").ends_with('Z'), "{text}");
    let issued = sim.issued();
    assert_eq!((issued[0].kind.as_str(), issued[0].audience.as_str()), ("aws_session", ROLE));
    assert!((now() + 890..=now() + 900).contains(&issued[0].expires));

    for (form, status, code) in [
        (asked(ROLE, "other"), 400, "InvalidIdentityToken"),
        (asked("arn:aws:iam::123456789012:role/other", "token-of-a-workload"), 403, "AccessDenied"),
        (asked("", "token-of-a-workload"), 400, "ValidationError"),
        (asked(ROLE, "token-of-a-workload&DurationSeconds=60"), 400, "ValidationError"),
        ("Version=2011-06-15".to_owned(), 400, "MissingAction"),
        ("Action=AssumeRole&Version=2011-06-15".to_owned(), 403, "MissingAuthenticationToken"),
        ("Action=AssumeRoleWithWebIdentity".to_owned(), 400, "InvalidAction"),
    ] {
        let refused = post(&mut client, "/", &form).await;
        assert_eq!((refused.status.as_u16(), between(&refused.text(), "Code")), (status, code), "{form}");
    }
}

#[tokio::test]
async fn containers_get_credentials_for_the_token_that_is_shown() {
    let (_sim, mut client) = services().await;
    for path in ["/v1/credentials", "/v2/credentials/0a1b"] {
        let given = get(&mut client, path, &[("authorization", "token-of-a-pod")]).await;
        assert_eq!(given.status, 200, "{}", given.text());
        let given = given.json();
        for member in ["AccessKeyId", "SecretAccessKey", "Token", "Expiration"] {
            assert!(given[member].is_string(), "{given}");
        }
        assert_eq!(get(&mut client, path, &[("authorization", "other")]).await.status, 403, "{path}");
    }
    let refused = get(&mut client, "/v1/credentials", &[]).await;
    assert_eq!(
        (refused.status.as_u16(), refused.text().trim()),
        (400, "Service account token cannot be empty")
    );
}

#[tokio::test]
async fn instance_metadata_wants_a_token_first() {
    let (_sim, mut client) = services().await;
    let roles = "/latest/meta-data/iam/security-credentials/";
    assert_eq!(get(&mut client, roles, &[]).await.status, 401);
    let put = |headers: &[(&str, &str)]| request(Method::PUT, "/latest/api/token", headers, "");
    let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", "21600");
    assert_eq!(client.send(put(&[])).await.unwrap().status, 400);
    assert_eq!(client.send(put(&[(ttl.0, "21601")])).await.unwrap().status, 400);
    assert_eq!(client.send(put(&[ttl, ("x-forwarded-for", "10.0.0.1")])).await.unwrap().status, 403);
    assert_eq!(get(&mut client, "/latest/api/token", &[ttl]).await.status, 405);
    let token = client.send(put(&[ttl])).await.unwrap();
    assert_eq!(token.header(ttl.0), "900", "it lives no longer than tokens do here");
    let shown = [("x-aws-ec2-metadata-token", token.text())].map(|(name, value)| (name, value.clone()));
    let shown = [(shown[0].0, shown[0].1.as_str())];
    assert_eq!(get(&mut client, roles, &shown).await.text(), "node");
    let given = get(&mut client, &format!("{roles}node"), &shown).await.json();
    assert_eq!((&given["Code"], &given["Type"]), (&json!("Success"), &json!("AWS-HMAC")));
    assert!(given["AccessKeyId"].as_str().unwrap().starts_with("ASIA"));
    assert_eq!(get(&mut client, &format!("{roles}other"), &shown).await.status, 404);
}

#[tokio::test]
async fn google_verifies_assertions() {
    let (sim, mut client) = services().await;
    let given = assert_as(&mut client, &assertion(&claims())).await;
    assert_eq!(given.status, 200, "{}", given.text());
    let given = given.json();
    assert_eq!((&given["token_type"], &given["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert!(given["access_token"].as_str().unwrap().starts_with("ya29."));
    assert_eq!(sim.issued()[0].subject, "gateway@my-project.iam.gserviceaccount.com");
    let real = json!("https://oauth2.googleapis.com/token");
    assert_eq!(assert_as(&mut client, &assertion(&but("aud", real))).await.status, 200);

    let signed = assertion(&claims());
    let forged = format!("{}AAAA", &signed[..signed.len() - 4]);
    let time = "Token must be a short-lived token";
    for (assertion, error, description) in [
        (forged, "invalid_grant", "Invalid JWT Signature."),
        (assertion(&but("iss", json!("nobody@b"))), "invalid_grant", "account not found"),
        (assertion(&but("aud", json!("https://example.com/token"))), "invalid_grant", "audience"),
        (assertion(&but("exp", json!(now() + 3700))), "invalid_grant", time),
        (assertion(&but("iat", json!(now() - 4000))), "invalid_grant", time),
        (assertion(&but("scope", json!(""))), "invalid_scope", "Invalid OAuth scope"),
        ("x.y".to_owned(), "invalid_grant", "Failed to parse"),
        (String::new(), "invalid_request", "assertion"),
    ] {
        let refused = assert_as(&mut client, &assertion).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["error"]),
            (400, &json!(error)),
            "{description}"
        );
        let told = refused.json()["error_description"].to_string();
        assert!(told.contains(description), "{told}");
    }
    let refused = post(&mut client, "/token", "grant_type=password").await.json();
    assert_eq!(refused["error"], "unsupported_grant_type");
    assert_eq!(get(&mut client, "/token", &[]).await.status, 404);
}

fn but(member: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[member] = value;
    claims
}

#[tokio::test]
async fn a_workload_of_another_cloud_gets_a_token_and_then_that_of_an_account() {
    let (_sim, mut client) = services().await;
    let asked = |member: &str, value: &str| {
        let mut asked = json!({
            "grantType": "urn:ietf:params:oauth:grant-type:token-exchange", "audience": PROVIDER, "scope": SCOPE,
            "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
            "subjectToken": "token-of-a-workload",
            "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
        });
        if !member.is_empty() {
            asked[member] = json!(value);
        }
        asked
    };
    let federated = client.post("/v1/token", &asked("", "")).await;
    assert_eq!(federated.status, 200, "{}", federated.text());
    let federated = federated.json();
    assert_eq!(federated["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&audience={PROVIDER}&scope={SCOPE}\
         &requested_token_type=urn:ietf:params:oauth:token-type:access_token&subject_token=token-of-a-workload\
         &subject_token_type=urn:ietf:params:oauth:token-type:jwt"
    );
    assert_eq!(post(&mut client, "/v1/token", &form).await.status, 200);
    for (member, value, error) in [
        ("grantType", "x", "unsupported_grant_type"),
        ("audience", "//iam.googleapis.com/x", "invalid_target"),
        ("subjectToken", "other", "invalid_grant"),
        ("subjectTokenType", "x", "invalid_request"),
        ("requestedTokenType", "", "invalid_request"),
        ("scope", "", "invalid_scope"),
    ] {
        let refused = client.post("/v1/token", &asked(member, value)).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (400, &json!(error)), "{member}");
    }

    let path = |account: &str| format!("/v1/projects/-/serviceAccounts/{account}:generateAccessToken");
    let other = path("other@my-project.iam.gserviceaccount.com");
    let bearer = format!("Bearer {}", federated["access_token"].as_str().unwrap());
    let impersonate = |path: &str, bearer: &str, body: Value| {
        let headers = [("authorization", bearer), ("content-type", "application/json")];
        request(Method::POST, path, &headers, body.to_string())
    };
    let good = json!({"scope": [SCOPE], "lifetime": "600s"});
    let given = client.send(impersonate(&other, &bearer, good.clone())).await.unwrap();
    assert_eq!(given.status, 200, "{}", given.text());
    assert!(given.json()["accessToken"].as_str().unwrap().starts_with("ya29."));
    assert!(given.json()["expireTime"].as_str().unwrap().ends_with('Z'));
    for (path, bearer, body, status, name) in [
        (&other, "Bearer x", good.clone(), 401, "UNAUTHENTICATED"),
        (&path("nobody@b"), &bearer, good.clone(), 403, "PERMISSION_DENIED"),
        (&other, &bearer, json!({}), 400, "INVALID_ARGUMENT"),
        (&other, &bearer, json!({"scope": [SCOPE], "lifetime": "3601s"}), 400, "INVALID_ARGUMENT"),
    ] {
        let refused = client.send(impersonate(path, bearer, body)).await.unwrap();
        let told = &refused.json()["error"];
        assert_eq!((refused.status.as_u16(), &told["status"]), (status, &json!(name)), "{told}");
    }
}

#[tokio::test]
async fn googles_metadata_server_wants_its_header() {
    let (_sim, mut client) = services().await;
    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    let flavor = ("metadata-flavor", "Google");
    let refused = get(&mut client, path, &[]).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("Missing Metadata-Flavor:Google header."), "{}", refused.text());
    assert_eq!(get(&mut client, path, &[flavor, ("x-forwarded-for", "10.0.0.1")]).await.status, 403);
    let given = get(&mut client, path, &[flavor]).await;
    assert_eq!((given.status.as_u16(), given.header("metadata-flavor")), (200, "Google"));
    assert_eq!(given.json()["expires_in"], 900);
    let email = get(&mut client, &path.replace("token", "email"), &[flavor]).await;
    assert_eq!(email.text(), "node@my-project.iam.gserviceaccount.com");
}

#[tokio::test]
async fn microsoft_takes_a_secret_or_an_identity_token() {
    let (_sim, mut client) = services().await;
    let path = "/tenant/oauth2/v2.0/token";
    let scope = "scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default";
    let asked = format!("grant_type=client_credentials&client_id=client&{scope}");
    let assertion = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                     &client_assertion=";
    for shown in ["client_secret=secret".to_owned(), format!("{assertion}token-of-a-workload")] {
        let given = post(&mut client, path, &format!("{asked}&{shown}")).await;
        assert_eq!(given.status, 200, "{}", given.text());
        let given = given.json();
        assert_eq!((&given["token_type"], &given["expires_in"]), (&json!("Bearer"), &json!(900)));
    }
    let secret = "&client_secret=secret";
    for (path, form, status, number) in [
        (path, format!("{asked}&client_secret=other"), 401, 7_000_215),
        (path, asked.clone(), 401, 7_000_216),
        (path, format!("{asked}&{assertion}other"), 401, 700_211),
        (path, format!("{asked}&client_assertion=token-of-a-workload"), 400, 900_144),
        (path, format!("client_id=client&{scope}{secret}"), 400, 900_144),
        (path, format!("grant_type=password&client_id=client&{scope}{secret}"), 400, 70_003),
        (path, format!("grant_type=client_credentials&client_id=x&{scope}{secret}"), 400, 700_016),
        (path, format!("grant_type=client_credentials&client_id=client&scope=x{secret}"), 400, 1_002_012),
        ("/other/oauth2/v2.0/token", format!("{asked}{secret}"), 400, 90_002),
    ] {
        let refused = post(&mut client, path, &form).await;
        let told = refused.json();
        assert_eq!((refused.status.as_u16(), &told["error_codes"][0]), (status, &json!(number)), "{told}");
        assert!(told["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{number}: ")));
    }
}

#[tokio::test]
async fn a_token_of_the_oidc_issuer_is_one_for_the_others() {
    let (_sim, mut client) = services().await;
    let found = client.get("/.well-known/openid-configuration").await.json();
    assert_eq!(
        (&found["issuer"], &found["token_endpoint"]),
        (&json!("http://sim"), &json!("http://sim/oidc/token"))
    );
    let path = "/oidc/token";
    let basic = format!("Basic {}", BASE64_STANDARD.encode("client:secret"));
    let headers = [FORM, ("authorization", basic.as_str())];
    let asked =
        request(Method::POST, path, &headers, "grant_type=client_credentials&audience=sts.amazonaws.com");
    let given = client.send(asked).await.unwrap();
    assert_eq!(given.status, 200, "{}", given.text());
    let grant = "grant_type=client_credentials&client_id=client";
    assert_eq!(post(&mut client, path, &format!("{grant}&client_secret=secret")).await.status, 200);
    let refused = post(&mut client, path, &format!("{grant}&client_secret=other")).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (401, &json!("invalid_client")));
    let refused = post(&mut client, path, "grant_type=password&client_id=client&client_secret=secret").await;
    assert_eq!(refused.json()["error"], "unsupported_grant_type");

    let token = given.json()["access_token"].as_str().unwrap().to_owned();
    let role = ROLE.replace('/', "%2F");
    let assume = format!(
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={role}&RoleSessionName=penstock\
         &WebIdentityToken={token}"
    );
    assert_eq!(post(&mut client, "/", &assume).await.status, 200);
    client.send(request(Method::DELETE, "/sim/issued", &[], "")).await.unwrap();
    let refused = post(&mut client, "/", &assume).await;
    assert_eq!(between(&refused.text(), "Code"), "ExpiredTokenException");
}

#[tokio::test]
async fn token_services_are_off_by_themselves_remembered_and_fail_where_their_path_is_named() {
    let off = start(Options::default()).await;
    assert_eq!(Client::http1(off.addr()).await.get("/.well-known/openid-configuration").await.status, 404);
    let (sim, mut client) = services().await;
    sim.faults().push(Fault::status(503));
    assert_eq!(client.get("/.well-known/openid-configuration").await.status, 200);
    sim.faults().set(vec![Fault::status(503).path("/oidc/token")]);
    assert_eq!(post(&mut client, "/oidc/token", "").await.status, 503);
    let paths: Vec<_> = sim.requests().iter().map(|seen| seen.path.clone()).collect();
    assert_eq!(paths, ["/.well-known/openid-configuration", "/oidc/token"]);
}
