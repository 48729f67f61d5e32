//! What a ClientTrafficPolicy changes of listeners: how clients connect, and what is believed of what they say.
//!
//! What it does not say stays as the data plane has it, which is stricter than Envoy in some things and never looser. Numbers
//! that documents do not take become the nearest that they do, and the policy's status says so. TLS is that of listeners
//! that have it; others are served as they are, as with Envoy Gateway. Of what is said, a part holds for whole connections,
//! before anybody knows which listener of a port a request is for; where listeners of one port differ in it, those that the
//! policies are for are closed. Turned down: the strictest of them all, which nobody has written down anywhere.

mod apply;
pub(crate) mod proof;
mod secure;

use penstock_config::raw::{RawClientAddress, RawHeaderEdits, RawListenerLimits};
use penstock_config::{Cidr, EscapedSlashes, HeadersWithUnderscores, ProxyProtocol, RequestIds, Size, Span};

use crate::api::{
    ClientDetection, ClientHeaderModifier, ClientHeaders, ClientPath, ClientSettings, HeaderModifier,
    StringMatch,
};
use crate::compile::{compile_listener, shown};
use crate::context::Context;
use crate::headers::modifier;
use crate::quantity::bytes;
use crate::traffic::Traffic;
use crate::world::{Key, shorten};
use secure::Secure;

/// The most bytes of a body that documents take by default, and at all.
const USUAL_BODY: Size = Size(64 << 20);
const MAX_BODY: Size = Size(4 << 30);

/// The most proxies that documents count.
const MAX_HOPS: u32 = 64;

/// The most connections and streams that documents take.
const MAX_CONNECTIONS: i64 = 10_000_000;
const MAX_STREAMS: u32 = 10_000;

/// What cannot be, by the field in which it stands.
type Fault = String;

/// What a policy changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clients {
    limits: RawListenerLimits,
    proxy_protocol: ProxyProtocol,
    trusted_proxies: Vec<Cidr>,
    trusted_hops: u32,
    client_address: Option<RawClientAddress>,
    request_ids: RequestIds,
    underscores: HeadersWithUnderscores,
    escaped_slashes: EscapedSlashes,
    health_path: Option<String>,
    drop_headers: Vec<String>,
    request_headers: RawHeaderEdits,
    response_headers: RawHeaderEdits,
    secure: Secure,
    /// Deadlines of rules that have none of their own.
    pub(crate) traffic: Option<Traffic>,
    /// What its status shall say beside that it is in force.
    pub(crate) notes: Vec<String>,
    /// What of it is not acted on, by its field.
    pub(crate) idle: Vec<String>,
}

impl Clients {
    /// Reads what a policy says.
    ///
    /// # Errors
    /// It says something that cannot be: what, by its field.
    pub(crate) fn read(
        context: &Context<'_>,
        policy: &Key,
        settings: &ClientSettings,
    ) -> Result<Self, Fault> {
        let mut clients = Self::default();
        clients.read_connections(settings)?;
        clients.read_timeouts(settings)?;
        if let Some(detection) = &settings.client_ip_detection {
            clients.read_detection(detection)?;
        }
        if let Some(headers) = &settings.headers {
            clients.read_headers(headers)?;
        }
        if clients.trusted_hops > 0 || !clients.trusted_proxies.is_empty() {
            clients.sanitize(settings.headers.as_ref());
        }
        if let Some(path) = &settings.path {
            clients.read_path(path)?;
        }
        clients.health_path = settings.health_check.as_ref().map(|check| check.path.clone());
        if let Some(scheme) = settings.scheme.as_ref().filter(|scheme| *scheme != "Preserve") {
            clients.leave_out("scheme", scheme);
        }
        if let Some(tls) = &settings.tls {
            clients.secure = Secure::read(context, policy, tls, &mut clients.notes, &mut clients.idle)?;
        }
        let probe = clients.probe();
        compile_listener(&probe).map_err(|fault| format!("{}: {}", field(&fault), shown(&fault)))?;
        Ok(clients)
    }

    fn read_connections(&mut self, settings: &ClientSettings) -> Result<(), Fault> {
        let connection = settings.connection.as_ref();
        if let Some(limit) = connection.and_then(|connection| connection.buffer_limit.as_ref()) {
            const FIELD: &str = "connection.bufferLimit";
            let limit = Size(bytes(limit).ok_or_else(|| format!("{FIELD}: not a number of bytes"))?);
            self.limits.body_bytes = (limit > USUAL_BODY).then_some(limit.min(MAX_BODY));
            self.notes.push(match limit > USUAL_BODY {
                true => format!("{FIELD}: bodies of up to {} are taken", limit.min(MAX_BODY)),
                false => format!("{FIELD}: bodies are kept whole, and taken up to {USUAL_BODY} all the same"),
            });
        }
        let limit = connection.and_then(|connection| connection.connection_limit.as_ref());
        if let Some(value) = limit.and_then(|limit| limit.value) {
            if value < 1 {
                return Err("connection.connectionLimit.value: less than 1 lets nobody connect".to_owned());
            }
            self.limits.connections = u32::try_from(value.min(MAX_CONNECTIONS)).ok();
        }
        let streams = settings.http2.as_ref().and_then(|http2| http2.max_concurrent_streams);
        self.limits.http2_streams = streams.map(|streams| streams.clamp(1, MAX_STREAMS));
        self.proxy_protocol = match (&settings.proxy_protocol, settings.enable_proxy_protocol) {
            (Some(protocol), _) if protocol.optional == Some(true) => ProxyProtocol::Optional,
            (Some(_), _) | (None, Some(true)) => ProxyProtocol::Required,
            (None, _) => ProxyProtocol::Never,
        };
        Ok(())
    }

    fn read_timeouts(&mut self, settings: &ClientSettings) -> Result<(), Fault> {
        let http = settings.timeout.as_ref().and_then(|timeout| timeout.http.as_ref());
        let of = |text: Option<&String>, field: &str| {
            let span = text.map(|text| Span::parse(text)).transpose();
            span.map_err(|error| format!("{field}: {error}"))
        };
        let limit = settings.connection.as_ref().and_then(|connection| connection.connection_limit.as_ref());
        let longest = of(
            limit.and_then(|limit| limit.max_stream_duration.as_ref()),
            "connection.connectionLimit.maxStreamDuration",
        )?;
        let idle =
            of(http.and_then(|http| http.stream_idle_timeout.as_ref()), "timeout.http.streamIdleTimeout")?;
        self.traffic = Traffic::of_deadlines(longest, idle);
        let Some(http) = http else { return Ok(()) };
        let mut within = |text: Option<&String>, field: &str, (least, most): (Span, Span)| {
            let Some(span) = of(text, field)? else { return Ok::<_, Fault>(None) };
            // None at all is the most that there is.
            let taken = if span == Span::ms(0) { most } else { span.clamp(least, most) };
            if taken != span {
                self.notes.push(format!("{field}: {span} is {taken} here"));
            }
            Ok(Some(taken))
        };
        self.limits.body_timeout = within(
            http.request_received_timeout.as_ref(),
            "timeout.http.requestReceivedTimeout",
            (Span::secs(1), Span::secs(24 * 60 * 60)),
        )?;
        self.limits.header_timeout = within(
            http.request_headers_received_timeout.as_ref(),
            "timeout.http.requestHeadersReceivedTimeout",
            (Span::ms(100), Span::secs(5 * 60)),
        )?;
        self.limits.keep_alive_timeout = within(
            http.idle_timeout.as_ref(),
            "timeout.http.idleTimeout",
            (Span::secs(1), Span::secs(60 * 60)),
        )?;
        Ok(())
    }

    fn read_detection(&mut self, detection: &ClientDetection) -> Result<(), Fault> {
        if let Some(forwarded) = &detection.x_forwarded_for {
            self.trusted_hops = forwarded.num_trusted_hops.unwrap_or(0);
            if self.trusted_hops > MAX_HOPS {
                return Err(format!(
                    "clientIPDetection.xForwardedFor.numTrustedHops: more than {MAX_HOPS} proxies"
                ));
            }
            let ranges = forwarded.trusted_cidrs.iter().map(|text| Cidr::parse(text));
            self.trusted_proxies = ranges
                .collect::<Result<_, _>>()
                .map_err(|error| format!("clientIPDetection.xForwardedFor.trustedCIDRs: {error}"))?;
        }
        self.client_address = detection.custom_header.as_ref().map(|header| RawClientAddress {
            header: header.name.clone(),
            required: header.fail_closed == Some(true),
        });
        Ok(())
    }

    fn read_headers(&mut self, headers: &ClientHeaders) -> Result<(), Fault> {
        self.underscores = match headers.with_underscores_action.as_deref() {
            None | Some("RejectRequest") => HeadersWithUnderscores::Reject,
            Some("DropHeader") => HeadersWithUnderscores::Drop,
            Some("Allow") => HeadersWithUnderscores::Allow,
            Some(other) => return Err(unknown("headers.withUnderscoresAction", other)),
        };
        match headers.request_id.as_deref() {
            None | Some("PreserveOrGenerate") => {}
            Some("Generate") => self.request_ids = RequestIds::Replace,
            Some(other) => self.leave_out("headers.requestID", other),
        }
        if headers.preserve_x_request_id == Some(false) && headers.request_id.is_none() {
            self.request_ids = RequestIds::Replace;
        }
        let mode = headers.x_forwarded_client_cert.as_ref().and_then(|cert| cert.mode.as_deref());
        match mode {
            None | Some("Sanitize") => {}
            // Of those whose word is taken for the rest too.
            Some("AlwaysForwardOnly") => {}
            Some(other) => self.leave_out("headers.xForwardedClientCert.mode", other),
        }
        if let Some(ClientHeaderModifier { set, add, remove, remove_on_match }) =
            &headers.early_request_headers
        {
            let edits = HeaderModifier { set: set.clone(), add: add.clone(), remove: remove.clone() };
            self.request_headers = modifier(&edits);
            self.drop_headers = remove_on_match.iter().map(name_pattern).collect::<Result<_, _>>()?;
        }
        self.response_headers = headers.late_response_headers.as_ref().map(modifier).unwrap_or_default();
        Ok(())
    }

    /// Takes out what proxies say of clients' certificates, which the data plane believes of those whose word it takes, and
    /// Envoy only where it is told to.
    fn sanitize(&mut self, headers: Option<&ClientHeaders>) {
        const HEADER: &str = "x-forwarded-client-cert";
        let mode = headers.and_then(|headers| headers.x_forwarded_client_cert.as_ref()?.mode.as_deref());
        let edits = &self.request_headers;
        let changed = edits.set.iter().chain(&edits.add).map(|header| &header.name).chain(&edits.remove);
        let is_changed = changed.into_iter().any(|name| name.eq_ignore_ascii_case(HEADER));
        if mode != Some("AlwaysForwardOnly") && !is_changed {
            self.request_headers.remove.push(HEADER.to_owned());
        }
    }

    fn read_path(&mut self, path: &ClientPath) -> Result<(), Fault> {
        const FIELD: &str = "path.escapedSlashesAction";
        self.escaped_slashes = match path.escaped_slashes_action.as_deref() {
            None | Some("KeepUnchanged") => EscapedSlashes::Keep,
            Some("RejectRequest") => EscapedSlashes::Refuse,
            Some("UnescapeAndForward") => EscapedSlashes::Unescape,
            Some("UnescapeAndRedirect") => {
                self.notes.push(format!("{FIELD}: paths are unescaped without a redirect"));
                EscapedSlashes::Unescape
            }
            Some(other) => return Err(unknown(FIELD, other)),
        };
        if path.disable_merge_slashes == Some(false) {
            self.leave_out("path.disableMergeSlashes", "false");
        }
        Ok(())
    }

    fn leave_out(&mut self, field: &str, value: &str) {
        self.idle.push(format!("spec.{field}: {}", shorten(value, 40)));
    }
}

/// The pattern of the names that are meant, as documents write it.
fn name_pattern(spec: &StringMatch) -> Result<String, Fault> {
    const FIELD: &str = "headers.earlyRequestHeaders.removeOnMatch";
    if spec.value.is_empty() {
        return Err(format!("{FIELD}[].value is empty"));
    }
    let literally = || {
        let escaped = spec.value.chars().flat_map(|letter| {
            let is_plain = letter.is_alphanumeric() || !letter.is_ascii_punctuation();
            (!is_plain).then_some('\\').into_iter().chain([letter])
        });
        escaped.collect::<String>()
    };
    match spec.kind.as_deref() {
        None | Some("Exact") => Ok(literally()),
        Some("Prefix") => Ok(format!("{}.*", literally())),
        Some("Suffix") => Ok(format!(".*{}", literally())),
        Some("RegularExpression") => Ok(spec.value.clone()),
        Some(other) => Err(unknown(&format!("{FIELD}[].type"), other)),
    }
}

fn unknown(field: &str, value: &str) -> Fault {
    format!("{field}: {:?} is not known", shorten(value, 40))
}

/// The field that what documents do not take comes from.
fn field(fault: &penstock_config::Fault) -> &'static str {
    let fields = [
        (".requestHeaders", "headers.earlyRequestHeaders"),
        (".dropHeaders", "headers.earlyRequestHeaders.removeOnMatch"),
        (".responseHeaders", "headers.lateResponseHeaders"),
        (".healthPath", "healthCheck.path"),
        (".clientAddress", "clientIPDetection.customHeader"),
        (".trusted", "clientIPDetection.xForwardedFor"),
        (".tls", "tls"),
    ];
    fields.into_iter().find(|(part, _)| fault.path.contains(part)).map_or("it", |(_, field)| field)
}

#[cfg(test)]
mod tests;
