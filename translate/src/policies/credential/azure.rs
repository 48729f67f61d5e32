//! Azure: an application in Microsoft Entra ID.

use penstock_config::raw::{RawAzureCredential, RawCredential};

use super::oidc::{self, TokenRequest};
use super::reading::{Reading, is_there, part};
use crate::api::AzureCredentials;
use crate::context::RefError;

pub(super) fn read(
    reading: &mut Reading<'_, '_>,
    spec: &AzureCredentials,
) -> Result<RawCredential, RefError> {
    let mut azure = RawAzureCredential {
        tenant_id: Some(part("tenantID", &spec.tenant_id)?),
        client_id: Some(part("clientID", &spec.client_id)?),
        ..RawAzureCredential::default()
    };
    let mut file = None;
    match (&spec.client_secret_ref, &spec.oidc_exchange_token) {
        (Some(secret), None) => file = Some(reading.file(secret, oidc::CLIENT_SECRET, is_there)?),
        (None, Some(exchange)) => {
            let request = TokenRequest {
                oidc: &exchange.oidc,
                grant_type: exchange.grant_type.as_deref(),
                audience: exchange.aud.as_deref(),
            };
            azure.token = Some(oidc::token(reading, &request)?);
        }
        _ => {
            let message = "azureCredentials needs one of clientSecretRef and oidcExchangeToken";
            return Err(RefError::new("Invalid", message));
        }
    }
    Ok(RawCredential { azure: Some(azure), file, ..RawCredential::default() })
}
