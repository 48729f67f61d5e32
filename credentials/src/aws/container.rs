//! The service that gives a container its keys: of ECS, and of EKS's Pod Identity.

use std::net::IpAddr;

use ::http::Uri;
use secrecy::{ExposeSecret, SecretString};

use super::Given;
use crate::context::{Context, Fetched};
use crate::error::FetchError;
use crate::files;
use crate::http::Ask;

/// Where ECS's service is.
const ECS: &str = "http://169.254.170.2";

/// Addresses that may be asked without TLS: those of ECS and EKS.
const LINK_LOCAL: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// The container's keys; `None` where no variable names a service.
pub(super) async fn keys(context: &Context) -> Result<Option<Fetched>, FetchError> {
    let variable = |name| context.environment.get(name);
    let url = match variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        Some(path) if path.starts_with('/') => format!("{ECS}{path}"),
        Some(_) => {
            let from = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
            return Err(FetchError::Address { from, what: "it does not start with /" });
        }
        None => match variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            Some(url) if is_private(url) => url.to_owned(),
            Some(_) => {
                let from = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
                let what = "it is neither of https nor at an address of this machine or of ECS or EKS";
                return Err(FetchError::Address { from, what });
            }
            None => return Ok(None),
        },
    };
    let token = match variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => Some(files::read(file.as_ref()).await?),
        None => variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(SecretString::from),
    };
    let mut ask = Ask::get(&url).local();
    if let Some(token) = &token {
        ask = ask.authorized(token.expose_secret())?;
    }
    let answer = context.http.send(ask).await?;
    answer.json::<Given>()?.into_fetched(&answer).map(Some)
}

/// Whether keys on their way from there are nobody else's to read.
fn is_private(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback || LINK_LOCAL.contains(&host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn keys_do_not_cross_a_network_in_the_clear() {
        for url in [
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://127.0.0.1:51679/v2",
            "http://localhost/a",
            "https://keys.example.com/",
        ] {
            assert!(is_private(url), "{url}");
        }
        for url in ["http://10.0.0.1/", "http://keys.example.com/", "ftp://127.0.0.1/", "127.0.0.1", ""] {
            assert!(!is_private(url), "{url}");
        }
    }
}
