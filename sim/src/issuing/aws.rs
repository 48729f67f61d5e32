//! AWS: STS for web identities, and the services that give containers their credentials.

use http::{Method, Response, StatusCode};
use serde_json::json;

use super::{Ask, Invalid, form::Form, json as json_response, now_s, text, vault::Session, vault::timestamp};
use crate::body::SimBody;

const VERSION: &str = "2011-06-15";
/// Shortest and longest session that a role gives, in seconds.
const DURATION_S: (u64, u64) = (900, 43_200);
/// How long a session is that nothing is said of.
const DEFAULT_DURATION_S: u64 = 3600;

/// Why STS refuses: status, code and message.
type Refusal = (StatusCode, &'static str, String);

/// `AssumeRoleWithWebIdentity`, the only action of STS that needs no signature.
pub(super) fn sts(ask: &Ask<'_>) -> Response<SimBody> {
    let fields = match *ask.method {
        Method::POST if ask.is_of_type("application/x-www-form-urlencoded") => Form::parse(ask.body),
        Method::POST => Form::parse(b""),
        Method::GET => Form::parse(ask.uri.query().unwrap_or_default().as_bytes()),
        _ => return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "Method Not Allowed"),
    };
    let request_id = format!("{:032x}", now_s());
    match assume(ask, &fields) {
        Ok(body) => {
            let body = format!(
                "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/{VERSION}/\">\n{body}  \
                 <ResponseMetadata>\n    <RequestId>{request_id}</RequestId>\n  </ResponseMetadata>\n\
                 </AssumeRoleWithWebIdentityResponse>\n"
            );
            text(StatusCode::OK, "text/xml", body)
        }
        Err((status, code, message)) => {
            let body = format!(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/{VERSION}/\">\n  <Error>\n    \
                 <Type>Sender</Type>\n    <Code>{code}</Code>\n    <Message>{}</Message>\n  </Error>\n  \
                 <RequestId>{request_id}</RequestId>\n</ErrorResponse>\n",
                escaped(&message)
            );
            text(status, "text/xml", body)
        }
    }
}

fn assume(ask: &Ask<'_>, fields: &Form) -> Result<String, Refusal> {
    let bad = |code, message: String| (StatusCode::BAD_REQUEST, code, message);
    match (fields.get("Action"), fields.get("Version")) {
        (None, _) => return Err(bad("MissingAction", "Missing Action".to_owned())),
        (Some("AssumeRoleWithWebIdentity"), Some(VERSION)) => {}
        (Some("AssumeRole" | "GetCallerIdentity" | "GetSessionToken"), Some(VERSION)) => {
            let message = "Request is missing Authentication Token".to_owned();
            return Err((StatusCode::FORBIDDEN, "MissingAuthenticationToken", message));
        }
        (Some(action), version) => {
            let version = version.unwrap_or("NO_VERSION_SPECIFIED");
            let message = format!("Could not find operation {action} for version {version}");
            return Err(bad("InvalidAction", message));
        }
    }
    let needed = |name: &str, member: &str| {
        fields.get(name).ok_or_else(|| {
            let message = format!(
                "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be \
                 null"
            );
            bad("ValidationError", message)
        })
    };
    let role = needed("RoleArn", "roleArn")?;
    let session_name = needed("RoleSessionName", "roleSessionName")?;
    let token = needed("WebIdentityToken", "webIdentityToken")?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if !(2..=64).contains(&session_name.len()) || !session_name.bytes().all(is_name) {
        let message = format!(
            "1 validation error detected: Value '{session_name}' at 'roleSessionName' failed to satisfy constraint: Member \
             must satisfy regular expression pattern: [\\w+=,.@-]*"
        );
        return Err(bad("ValidationError", message));
    }
    let duration_s = match fields.get("DurationSeconds").map(str::parse) {
        None => DEFAULT_DURATION_S,
        Some(Ok(duration)) if (DURATION_S.0..=DURATION_S.1).contains(&duration) => duration,
        Some(_) => {
            let message = "1 validation error detected: Value at 'durationSeconds' failed to satisfy constraint: Member \
                           must have value between 900 and 43200";
            return Err(bad("ValidationError", message.to_owned()));
        }
    };
    let subject = ask.vault.identity(token).map_err(|invalid| match invalid {
        Invalid::Unknown => bad(
            "InvalidIdentityToken",
            "Couldn't retrieve verification key from your identity provider, \
                 please reference AssumeRoleWithWebIdentity documentation for requirements"
                .to_owned(),
        ),
        Invalid::Expired => {
            let message = format!(
                "Token expired: current date/time {} must be before the expiration date/time",
                now_s()
            );
            bad("ExpiredTokenException", message)
        }
    })?;
    if !ask.vault.known.aws.as_ref().is_some_and(|aws| aws.roles.iter().any(|known| known == role)) {
        let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity".to_owned();
        return Err((StatusCode::FORBIDDEN, "AccessDenied", message));
    }
    let session = ask.vault.issue_session(role, duration_s);
    Ok(assumed(&session, role, session_name, &subject))
}

fn assumed(session: &Session, role: &str, session_name: &str, subject: &str) -> String {
    let name = role.rsplit('/').next().unwrap_or_default();
    let account = role.split(':').nth(4).unwrap_or_default();
    let Session { access_key_id, secret_access_key, token } = session;
    let (session_name, subject, name) = (escaped(session_name), escaped(subject), escaped(name));
    format!(
        "  <AssumeRoleWithWebIdentityResult>\n    <SubjectFromWebIdentityToken>{subject}</SubjectFromWebIdentityToken>\n    \
         <Audience>sts.amazonaws.com</Audience>\n    <AssumedRoleUser>\n      \
         <Arn>arn:aws:sts::{account}:assumed-role/{name}/{session_name}</Arn>\n      \
         <AssumedRoleId>AROA{name}:{session_name}</AssumedRoleId>\n    </AssumedRoleUser>\n    <Credentials>\n      \
         <AccessKeyId>{access_key_id}</AccessKeyId>\n      <SecretAccessKey>{}</SecretAccessKey>\n      \
         <SessionToken>{}</SessionToken>\n      <Expiration>{}</Expiration>\n    </Credentials>\n  \
         </AssumeRoleWithWebIdentityResult>\n",
        escaped(secret_access_key),
        escaped(&token.text),
        token.expiry(),
    )
}

/// What ECS and EKS Pod Identity give containers.
pub(super) fn container(ask: &Ask<'_>) -> Response<SimBody> {
    if *ask.method != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "Method Not Allowed\n");
    }
    let of_eks = ask.uri.path() == "/v1/credentials";
    let aws = ask.vault.known.aws.as_ref();
    let expected = aws.and_then(|aws| aws.container_authorization.as_deref()).unwrap_or_default();
    let shown = ask.header("authorization").unwrap_or_default();
    if of_eks && shown.is_empty() {
        let message = "Service account token cannot be empty\n";
        return text(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", message);
    }
    if !expected.is_empty() && shown != expected {
        let message = "Unauthorized to retrieve credentials with the token that was shown";
        return if of_eks {
            text(
                StatusCode::FORBIDDEN,
                "text/plain; charset=utf-8",
                format!("AccessDeniedException: {message}\n"),
            )
        } else {
            let error = json!({"code": "AccessDenied", "message": message, "HTTPErrorCode": 403});
            json_response(StatusCode::FORBIDDEN, &error)
        };
    }
    let role = aws.and_then(|aws| aws.roles.first()).map_or("", String::as_str);
    let session = ask.vault.issue_session(role, u64::MAX);
    let body = json!({
        "RoleArn": role,
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "Token": session.token.text,
        "Expiration": session.token.expiry(),
    });
    json_response(StatusCode::OK, &body)
}

/// The document of the instance metadata service for a role.
pub(super) fn instance_credentials(ask: &Ask<'_>, role: &str) -> String {
    let session = ask.vault.issue_session(role, u64::MAX);
    json!({
        "Code": "Success",
        "LastUpdated": timestamp(now_s()),
        "Type": "AWS-HMAC",
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "Token": session.token.text,
        "Expiration": session.token.expiry(),
    })
    .to_string()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
