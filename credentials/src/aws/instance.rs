//! The service that gives an instance of EC2 its keys (IMDSv2).

use ::http::{HeaderName, HeaderValue};

use super::Given;
use crate::context::{Context, Fetched};
use crate::error::FetchError;
use crate::http::{Answer, Ask};

/// Where the service is, unless `AWS_EC2_METADATA_SERVICE_ENDPOINT` says otherwise.
const SERVICE: &str = "http://169.254.169.254";

const TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");

/// The keys of the instance's role.
pub(super) async fn keys(context: &Context) -> Result<Fetched, FetchError> {
    let variable = |name| context.environment.get(name);
    if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(FetchError::Nowhere(
            "nothing says where keys of AWS are: no file, no webIdentity, no variables, and AWS_EC2_METADATA_DISABLED",
        ));
    }
    let service = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or(SERVICE).trim_end_matches('/');
    let url = format!("{service}/latest/api/token");
    let ask = Ask::put(&url).local().header(TOKEN_TTL, HeaderValue::from_static("21600"));
    let answer = context.http.send(ask).await?;
    let mut session =
        HeaderValue::from_bytes(answer.body.trim_ascii()).map_err(|_| answer.malformed("has no token"))?;
    session.set_sensitive(true);
    let roles = format!("{service}/latest/meta-data/iam/security-credentials/");
    let ask = Ask::get(&roles).local().header(TOKEN, session.clone());
    let answer = context.http.send(ask).await?;
    let url = format!("{roles}{}", role(&answer)?);
    let answer = context.http.send(Ask::get(&url).local().header(TOKEN, session)).await?;
    answer.json::<Given>()?.into_fetched(&answer)
}

/// The first role of a list; an instance has one.
fn role(answer: &Answer) -> Result<&str, FetchError> {
    /// The characters that a role's name may have, beside letters and digits.
    const PUNCTUATION: &[u8] = b"_+=,.@-";
    let first = std::str::from_utf8(&answer.body).ok().and_then(|list| list.lines().next()).map(str::trim);
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || PUNCTUATION.contains(&byte);
    let is_name = |name: &&str| !name.is_empty() && !name.contains("..") && name.bytes().all(is_of_name);
    first.filter(is_name).ok_or_else(|| answer.malformed("names no role of the instance"))
}
