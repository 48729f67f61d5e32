//! Requests signed for AWS.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header;
use penstock_credentials::AwsKeys;
use penstock_providers::bedrock::sigv4::{self, Credentials, Request, Scope};
use penstock_wire::Outgoing;

use crate::error::Error;

/// The name by which signatures know Bedrock.
const SERVICE: &str = "bedrock";

/// Signs a request that is otherwise ready to be sent.
///
/// # Errors
/// The keys cannot stand in headers.
pub(super) fn sign(
    outgoing: &mut Outgoing,
    body: &[Bytes],
    region: &str,
    keys: &AwsKeys,
) -> Result<(), Error> {
    let whole;
    let body = match body {
        [] => &[][..],
        [piece] => piece,
        pieces => {
            whole = pieces.concat();
            &whole
        }
    };
    let host = outgoing.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let request = Request {
        method: outgoing.method.as_str(),
        host,
        path: outgoing.target.path(),
        query: outgoing.target.query().unwrap_or_default(),
        headers: &[],
        body,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let scope = Scope { region, service: SERVICE, now };
    let credentials = Credentials {
        access_key_id: &keys.access_key,
        secret_access_key: &keys.secret_key,
        session_token: keys.session_token.as_deref(),
    };
    let signed = sigv4::sign(&request, &scope, &credentials).map_err(Error::internal)?;
    for (name, mut value) in signed {
        value.set_sensitive(name != "x-amz-date");
        outgoing.headers.insert(name, value);
    }
    Ok(())
}
