//! Which web pages may ask.

use penstock_config::Span;
use penstock_config::raw::{RawCors, RawPolicy};

use super::{Fault, distinct};
use crate::api::{CorsAccess, CorsFilter};
use crate::compile::{compile_policies, shown};
use crate::world::shorten;

impl CorsAccess {
    /// This, and what a less specific policy says beside it.
    pub(super) fn over(self, parent: Self) -> Self {
        let list = |own: Vec<String>, parent| if own.is_empty() { parent } else { own };
        Self {
            allow_origins: list(self.allow_origins, parent.allow_origins),
            allow_methods: list(self.allow_methods, parent.allow_methods),
            allow_headers: list(self.allow_headers, parent.allow_headers),
            expose_headers: list(self.expose_headers, parent.expose_headers),
            max_age: self.max_age.or(parent.max_age),
            allow_credentials: self.allow_credentials.or(parent.allow_credentials),
        }
    }
}

/// What a policy says.
///
/// # Errors
/// Its `maxAge` is none.
pub(super) fn of_policy(spec: &CorsAccess) -> Result<RawCors, Fault> {
    let max_age = spec.max_age.as_deref().map(Span::parse).transpose();
    Ok(RawCors {
        allow_origins: distinct(&spec.allow_origins),
        allow_methods: distinct(&spec.allow_methods),
        allow_headers: distinct(&spec.allow_headers),
        expose_headers: distinct(&spec.expose_headers),
        max_age: max_age.map_err(|error| format!("cors.maxAge: {error}"))?,
        allow_credentials: spec.allow_credentials == Some(true),
    })
}

/// What a filter of an HTTPRoute says.
///
/// # Errors
/// Something in it cannot be: what.
pub(crate) fn of_filter(spec: &CorsFilter) -> Result<RawCors, Fault> {
    /// What the API server fills in.
    const MAX_AGE_SECONDS: u32 = 5;
    let cors = RawCors {
        allow_origins: distinct(&spec.allow_origins),
        allow_methods: distinct(&spec.allow_methods),
        allow_headers: distinct(&spec.allow_headers),
        expose_headers: distinct(&spec.expose_headers),
        max_age: Some(Span::secs(spec.max_age.unwrap_or(MAX_AGE_SECONDS).into())),
        allow_credentials: spec.allow_credentials == Some(true),
    };
    let policy = RawPolicy { name: "cors".to_owned(), cors: Some(cors.clone()), ..RawPolicy::default() };
    match compile_policies(&[policy], None) {
        Ok(()) => Ok(cors),
        Err(fault) => Err(format!("a CORS filter cannot be: {}", shorten(&shown(&fault), 300))),
    }
}
