//! AWS: a file of keys, keys that are lent for a token, or those of the data plane's own identity.

use penstock_config::raw::{RawAwsSigning, RawAwsWebIdentity, RawCredential};

use super::oidc::{self, TokenRequest};
use super::reading::{Reading, is_there, part, word};
use crate::api::AwsCredentials;
use crate::context::RefError;

/// The key of a Secret that has a file of AWS's keys.
const CREDENTIALS: &str = "credentials";

/// Where a policy names both, the file counts (Envoy AI Gateway).
pub(super) fn read(reading: &mut Reading<'_, '_>, spec: &AwsCredentials) -> Result<RawCredential, RefError> {
    let mut aws = RawAwsSigning { region: part("region", &spec.region)?, ..RawAwsSigning::default() };
    let mut file = None;
    match (&spec.credentials_file, &spec.oidc_exchange_token) {
        (Some(of_file), _) => {
            file = Some(reading.file(&of_file.secret_ref, CREDENTIALS, is_there)?);
            aws.profile = of_file.profile.clone().filter(|profile| !profile.is_empty());
        }
        (None, Some(exchange)) => {
            let request = TokenRequest {
                oidc: &exchange.oidc,
                grant_type: exchange.grant_type.as_deref(),
                audience: exchange.aud.as_deref(),
            };
            let role_arn = word("awsRoleArn", &exchange.aws_role_arn)?;
            let token = oidc::token(reading, &request)?;
            aws.web_identity = Some(RawAwsWebIdentity { role_arn, token, ..RawAwsWebIdentity::default() });
        }
        (None, None) => {}
    }
    Ok(RawCredential { aws: Some(aws), file, ..RawCredential::default() })
}
