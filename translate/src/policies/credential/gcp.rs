//! Google Cloud: a service account's key, workload identity federation, or the data plane's own identity.

use penstock_config::raw::{RawCredential, RawGcpCredential, RawGcpWorkloadIdentity};
use serde_json::Value;

use super::GooglePlace;
use super::oidc::{self, TokenRequest};
use super::reading::{Reading, part};
use crate::api::{GcpCredentials, GcpWorkloadIdentityFederation};
use crate::context::RefError;

/// The key of a Secret that has the file of a service account's key.
const SERVICE_ACCOUNT: &str = "service_account.json";

pub(super) fn read(
    reading: &mut Reading<'_, '_>,
    spec: &GcpCredentials,
) -> Result<(RawCredential, GooglePlace), RefError> {
    let project = part("projectName", &spec.project_name)?;
    let region = part("region", &spec.region)?;
    let mut gcp = RawGcpCredential::default();
    let mut file = None;
    match (&spec.credentials_file, &spec.workload_identity_federation_config) {
        (Some(of_file), None) => {
            file = Some(reading.file(&of_file.secret_ref, SERVICE_ACCOUNT, is_service_account)?);
        }
        (None, Some(federation)) => {
            gcp.workload_identity = Some(workload_identity(reading, federation, &project)?);
        }
        (None, None) => {}
        (Some(_), Some(_)) => {
            let message =
                "gcpCredentials has both credentialsFile and workloadIdentityFederationConfig: leave one out";
            return Err(RefError::new("Invalid", message));
        }
    }
    let raw = RawCredential { gcp: Some(gcp), file, ..RawCredential::default() };
    Ok((raw, GooglePlace { project, region }))
}

fn workload_identity(
    reading: &mut Reading<'_, '_>,
    federation: &GcpWorkloadIdentityFederation,
    project: &str,
) -> Result<RawGcpWorkloadIdentity, RefError> {
    let number = part("projectID", &federation.project_id)?;
    let pool = part("workloadIdentityPoolName", &federation.workload_identity_pool_name)?;
    let provider = part("workloadIdentityProviderName", &federation.workload_identity_provider_name)?;
    let audience = format!(
        "//iam.googleapis.com/projects/{number}/locations/global/workloadIdentityPools/{pool}/providers/{provider}"
    );
    let exchange = &federation.oidc_exchange_token;
    let request = TokenRequest {
        oidc: &exchange.oidc,
        grant_type: exchange.grant_type.as_deref(),
        audience: exchange.aud.as_deref(),
    };
    let token = oidc::token(reading, &request)?;
    let impersonation = federation.service_account_impersonation.as_ref();
    let service_account = impersonation.map(|it| email(&it.service_account_name, project)).transpose()?;
    Ok(RawGcpWorkloadIdentity { audience, token, service_account, ..RawGcpWorkloadIdentity::default() })
}

/// The address of a service account of the policy's project; that of another project's can be given in full.
fn email(name: &str, project: &str) -> Result<String, RefError> {
    const FIELD: &str = "serviceAccountName";
    match name.split_once('@') {
        Some((name, host)) => Ok(format!("{}@{}", part(FIELD, name)?, part(FIELD, host)?)),
        None => Ok(format!("{}@{project}.iam.gserviceaccount.com", part(FIELD, name)?)),
    }
}

/// Other kinds of Google's files name files to read and addresses to send them to, which would let whoever writes Secrets
/// have the data plane's own.
fn is_service_account(value: &[u8]) -> Result<(), &'static str> {
    let file: Value = serde_json::from_slice(value).map_err(|_| "is not JSON")?;
    match file.get("type").and_then(Value::as_str) {
        Some("service_account") => match file.get("token_uri").map(|uri| uri.as_str().unwrap_or_default()) {
            Some(uri) if !uri.starts_with("https://") => {
                Err("names a token_uri that does not begin with https://")
            }
            _ => Ok(()),
        },
        _ => Err("is not the key of a service account (\"type\": \"service_account\")"),
    }
}
