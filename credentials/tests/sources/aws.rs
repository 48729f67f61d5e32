use penstock_config::{IdentityToken, TokenSource};

use crate::server::Server;
use crate::{assert_about, fetch, file, in_seconds, keys, text};

const ROLE: &str = "arn:aws:iam::123456789012:role/gateway";

fn environment() -> TokenSource {
    TokenSource::AwsEnvironment { region: "eu-west-1".into() }
}

fn assumed() -> String {
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n\
         <AssumeRoleWithWebIdentityResult><Audience>sts.amazonaws.com</Audience><Credentials>\n\
         <AccessKeyId>ASIA1</AccessKeyId> <SecretAccessKey>s/+=</SecretAccessKey>\n\
         <SessionToken>t//==</SessionToken><Expiration>{}</Expiration></Credentials>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
        in_seconds(3600)
    )
}

fn given(token: &str) -> String {
    let until = in_seconds(7200);
    format!(
        r#"{{"Code": "Success", "AccessKeyId": "ASIA2", "SecretAccessKey": "k", "Token": "{token}", "Expiration": "{until}"}}"#
    )
}

#[tokio::test]
async fn a_role_is_assumed_with_the_token_of_a_file_as_it_is_then() {
    let server = Server::start([(200, assumed()), (200, assumed())]).await;
    let directory = tempfile::tempdir().unwrap();
    let token = file(&directory, "token", "one.two.three\n");
    let source = TokenSource::AwsWebIdentity {
        region: "eu-west-1".into(),
        role_arn: ROLE.into(),
        session_name: "penstock".into(),
        token: IdentityToken::File(token.clone()),
        endpoint: Some(server.url().into()),
    };
    let fetched = fetch(&source, &[]).await.unwrap();
    assert_eq!(keys(&fetched), ("ASIA1", "s/+=", Some("t//==")));
    assert_about(&fetched, 3600);
    std::fs::write(token, "four").unwrap();
    fetch(&source, &[]).await.unwrap();
    for (asked, token) in server.asked().iter().zip(["one.two.three", "four"]) {
        assert_eq!(asked.line, "POST /");
        assert_eq!(asked.header("authorization"), "");
        asked.assert_form(&[
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", ROLE),
            ("RoleSessionName", "penstock"),
            ("WebIdentityToken", token),
        ]);
    }
}

#[tokio::test]
async fn irsa_names_role_and_token_by_variables() {
    let server = Server::start([(200, assumed())]).await;
    let directory = tempfile::tempdir().unwrap();
    let token = file(&directory, "token", "tok");
    let url = server.url();
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", text(&token)),
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_ROLE_SESSION_NAME", "mine"),
        ("AWS_ENDPOINT_URL_STS", &*url),
        // Not asked, since the identity comes first.
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/"),
    ];
    assert_eq!(keys(&fetch(&environment(), &variables).await.unwrap()).0, "ASIA1");
    let form = server.asked()[0].form();
    assert_eq!(form[3], ("RoleSessionName".to_owned(), "mine".to_owned()));
}

#[tokio::test]
async fn keys_in_variables_come_first_and_do_not_expire() {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("AWS_SECRET_ACCESS_KEY", "hush"),
        ("AWS_SESSION_TOKEN", "t"),
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere"),
    ];
    let fetched = fetch(&environment(), &variables).await.unwrap();
    assert_eq!((keys(&fetched), fetched.lifetime), (("AKIA", "hush", Some("t")), None));
    let odd = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "hu sh")];
    let error = fetch(&environment(), &odd).await.unwrap_err().to_string();
    assert!(error.contains("AWS_ACCESS_KEY_ID") && !error.contains("hu sh"), "{error}");
}

#[tokio::test]
async fn a_container_shows_its_token() {
    let server = Server::start([(200, given("t")), (200, given("t"))]).await;
    let directory = tempfile::tempdir().unwrap();
    let token = file(&directory, "token", "pod-token\n");
    let url = format!("{}/v1/credentials", server.url());
    let in_file = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", text(&token)),
    ];
    let fetched = fetch(&environment(), &in_file).await.unwrap();
    assert_eq!(keys(&fetched), ("ASIA2", "k", Some("t")));
    assert_about(&fetched, 7200);
    let in_variable =
        [("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic abc")];
    fetch(&environment(), &in_variable).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].line, "GET /v1/credentials");
    let shown: Vec<_> = asked.iter().map(|asked| asked.header("authorization")).collect();
    assert_eq!(shown, ["pod-token", "Basic abc"]);
    let elsewhere = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://keys.example.com/")];
    let error = fetch(&environment(), &elsewhere).await.unwrap_err().to_string();
    assert!(error.starts_with("AWS_CONTAINER_CREDENTIALS_FULL_URI"), "{error}");
}

#[tokio::test]
async fn an_instance_is_asked_for_a_session_then_a_role_then_keys() {
    let server = Server::start([
        (200, "session==".to_owned()),
        (200, "gateway-role\nother".to_owned()),
        (200, given("t")),
    ])
    .await;
    let url = server.url();
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*url)];
    assert_eq!(keys(&fetch(&environment(), &variables).await.unwrap()).0, "ASIA2");
    let asked = server.asked();
    let lines: Vec<_> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let roles = "GET /latest/meta-data/iam/security-credentials/";
    assert_eq!(lines, ["PUT /latest/api/token", roles, &format!("{roles}gateway-role")]);
    assert_eq!(asked[0].header("x-aws-ec2-metadata-token-ttl-seconds"), "21600");
    assert!(asked[1..].iter().all(|asked| asked.header("x-aws-ec2-metadata-token") == "session=="));
}

#[tokio::test]
async fn an_instance_cannot_lead_elsewhere_and_may_be_left_out() {
    for role in ["../../user-data", "a/b", "", "a b"] {
        let server = Server::start([(200, "session"), (200, role)]).await;
        let url = server.url();
        let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*url)];
        let error = fetch(&environment(), &variables).await.unwrap_err().to_string();
        assert!(error.contains("names no role"), "{role}: {error}");
        assert_eq!(server.asked().len(), 2, "{role}");
    }
    let error = fetch(&environment(), &[("AWS_EC2_METADATA_DISABLED", "true")]).await.unwrap_err();
    assert!(error.to_string().contains("AWS_EC2_METADATA_DISABLED"), "{error}");
}

#[tokio::test]
async fn keys_that_have_expired_or_are_none_are_refused() {
    let expired = given("t").replace(&in_seconds(7200)[..4], "2001");
    let no_time = r#"{"AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "soon"}"#.to_owned();
    let no_key = given("t").replace("\"k\"", "\"\"");
    for (answer, part) in [
        (expired, "have expired"),
        (no_time, "until when"),
        (no_key, "no keys"),
        ("{}".to_owned(), "asked for"),
    ] {
        let server = Server::start([(200, answer)]).await;
        let url = server.url();
        let error =
            fetch(&environment(), &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url)]).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}
