//! Putting one policy on a listener.

use penstock_config::Address;
use penstock_config::raw::{RawCertificate, RawListener, RawListenerTls, RawProtocol};

use super::Clients;
use crate::context::Secrets;

impl Clients {
    /// Changes a listener.
    pub(crate) fn apply(&self, raw: &mut RawListener, secrets: &mut Secrets) {
        raw.limits = self.limits.clone();
        raw.proxy_protocol = self.proxy_protocol;
        raw.trusted_proxies.clone_from(&self.trusted_proxies);
        raw.trusted_hops = self.trusted_hops;
        raw.client_address.clone_from(&self.client_address);
        raw.request_ids = self.request_ids;
        raw.headers_with_underscores = self.underscores;
        raw.escaped_slashes = self.escaped_slashes;
        raw.health_path.clone_from(&self.health_path);
        raw.drop_headers.clone_from(&self.drop_headers);
        raw.request_headers = self.request_headers.clone();
        raw.response_headers = self.response_headers.clone();
        if let Some(tls) = &mut raw.tls {
            self.secure.apply(tls, secrets);
        }
    }

    /// Whether clients of a listener have to show something else already.
    pub(crate) fn contradicts(&self, listener: Option<&RawListener>) -> bool {
        let known = listener.and_then(|raw| raw.tls.as_ref()?.clients.as_ref());
        known.is_some_and(|known| self.secure.wants_other(known))
    }

    /// A listener with all that is changed, to see whether documents take it.
    pub(super) fn probe(&self) -> RawListener {
        let file = "secret:probe".to_owned();
        let certificate = RawCertificate { certificate_file: file.clone(), private_key_file: file };
        let tls = RawListenerTls { certificates: vec![certificate], ..RawListenerTls::default() };
        let address = Address(([127, 0, 0, 1], 0).into());
        let mut raw = RawListener {
            protocol: RawProtocol::Https,
            tls: Some(tls),
            ..RawListener::new("probe", address)
        };
        self.apply(&mut raw, &mut Secrets::new());
        raw
    }
}
