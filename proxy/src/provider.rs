//! The codec of upstreams whose API the document names (`api`): joins `penstock_providers`, which does no I/O, to the
//! request path.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, StatusCode, header};
use penstock_config::{ApiSchema, ApiSpec, ServedApi};
use penstock_providers::json::{Piece, Written};
use penstock_providers::{
    Api, Broken, Call, Encoded, NotEncoded, Place, Provider, Schema, Served, Translation,
};
use penstock_tap::Usage;
use percent_encoding::percent_decode_str;
use pingora_http::ResponseHeader;

use self::inflate::Inflate;
use crate::codec::{About, Codec, CodecError, Decoder, Draft};
use crate::upstreams::UpstreamKind;

mod inflate;

/// Headers of responses that describe bytes which are translated.
const OF_BODIES: [HeaderName; 4] =
    [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::ETAG, header::CONTENT_DISPOSITION];

/// The codec of an upstream that serves this API; `None` leaves requests and responses as they are.
pub(crate) fn codec(api: Option<&ApiSpec>, kind: UpstreamKind) -> Option<Arc<dyn Codec>> {
    let api = api?;
    let place = Place {
        prefix: api.prefix.as_deref().map(Into::into),
        version: api.version.as_deref().map(Into::into),
        project: api.project.as_deref().unwrap_or_default().into(),
        region: api.region.as_deref().unwrap_or_default().into(),
    };
    let is_engine = kind == UpstreamKind::Pool;
    let served = Served {
        messages: api.serves.contains(&ServedApi::Messages),
        responses: api.serves.contains(&ServedApi::Responses),
    };
    let provider = Provider::new(schema(api.schema), place, is_engine).serving(served);
    let takes_keys = matches!(api.schema, ApiSchema::Gemini | ApiSchema::GCPVertexAI);
    Some(Arc::new(ProviderCodec { provider, takes_keys }))
}

fn schema(schema: ApiSchema) -> Schema {
    match schema {
        ApiSchema::OpenAI => Schema::OpenAi,
        ApiSchema::Anthropic => Schema::Anthropic,
        ApiSchema::AWSBedrock => Schema::AwsBedrock,
        ApiSchema::AWSAnthropic => Schema::AwsAnthropic,
        ApiSchema::AzureOpenAI => Schema::AzureOpenAi,
        ApiSchema::GCPVertexAI => Schema::GcpVertexAi,
        ApiSchema::GCPAnthropic => Schema::GcpAnthropic,
        ApiSchema::Gemini => Schema::Gemini,
        ApiSchema::Cohere => Schema::Cohere,
    }
}

/// Bounds for what is taken for a translated piece before it is there, in bytes.
const LEAST_ROOM: usize = 64;
const MOST_ROOM: usize = 16 * 1024;

struct ProviderCodec {
    provider: Provider,
    /// Whether clients of its API may show their keys in the query (`?key=`).
    takes_keys: bool,
}

impl Codec for ProviderCodec {
    fn translates(&self, path: &str) -> bool {
        self.provider.reads_body(Api::of_path(path))
    }

    fn tells_delays_in_bodies(&self) -> bool {
        self.provider.tells_delays_in_bodies()
    }

    fn encode(&self, draft: &mut Draft, about: About<'_>) -> Result<Option<Box<dyn Decoder>>, CodecError> {
        let api = Api::of_path(draft.target.path());
        // In one piece, which it mostly is already.
        let whole = match &*draft.body {
            _ if !self.provider.reads_body(api) => Bytes::new(),
            [whole] => whole.clone(),
            pieces => pieces.concat().into(),
        };
        let query = draft.target.query().map(Cow::Borrowed);
        let query = if self.takes_keys && about.has_credential { query.and_then(without_key) } else { query };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let call = Call {
            query: query.as_deref(),
            model: about.model,
            asked_model: about.asked_model,
            now,
            request_id: about.request_id,
            ..Call::new(draft.target.path(), &draft.headers, &whole)
        };
        let encoded = self.provider.encode(&call).map_err(not_encoded)?;
        let Encoded { target, headers, body, dropped, translation } = encoded;
        draft.target = PathAndQuery::try_from(target)
            .map_err(|_| CodecError::Request("the model\'s name cannot stand in a path".to_owned()))?;
        if translation.is_some() {
            // A response that is compressed cannot be translated.
            draft.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        for (name, value) in headers {
            match value {
                Some(value) => draft.headers.insert(name, value),
                None => draft.headers.remove(name),
            };
        }
        if let Some(written) = body {
            // A little of a long document would keep all of it.
            let takes_most = written.taken_bytes() > whole.len() / 2;
            draft.body =
                if takes_most { pieces(written, &whole) } else { vec![written.concat(&whole).into()] };
        }
        draft.dropped = dropped;
        Ok(translation.map(|translation| {
            Box::new(ProviderDecoder { translation, inflate: None, last_bytes: 0 }) as Box<dyn Decoder>
        }))
    }
}

/// What was written, in pieces; `source` is what it was written from.
fn pieces(written: Written, source: &Bytes) -> Vec<Bytes> {
    let (own, pieces) = written.into_pieces();
    let own = Bytes::from(own);
    let piece = |piece| match piece {
        Piece::Own(range) => own.slice(range),
        Piece::Taken(range) => source.slice(range),
    };
    pieces.into_iter().map(piece).collect()
}

struct ProviderDecoder {
    translation: Translation,
    inflate: Option<Inflate>,
    /// How long the last piece was when it was translated: an event is about as long as the one before.
    last_bytes: usize,
}

impl Decoder for ProviderDecoder {
    fn head(&mut self, head: &mut ResponseHeader) -> Result<(), CodecError> {
        if let Some(encoding) = head.headers.get(header::CONTENT_ENCODING) {
            self.inflate = Inflate::new(encoding.as_bytes()).map_err(|error| upstream(error.to_string()))?;
        }
        let status = self.translation.begin(head.status.as_u16(), &head.headers);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        head.set_status(status).map_err(|error| CodecError::Upstream(error))?;
        for name in &OF_BODIES {
            head.remove_header(name);
        }
        let Some(content_type) = self.translation.content_type() else { return Ok(()) };
        let content_type = HeaderValue::from_static(content_type);
        head.insert_header(header::CONTENT_TYPE, content_type).map_err(|error| CodecError::Upstream(error))
    }

    fn body(&mut self, data: Bytes, is_end: bool) -> Result<Bytes, CodecError> {
        let mut out = Vec::with_capacity(self.last_bytes.min(MOST_ROOM) + LEAST_ROOM);
        let data = match &mut self.inflate {
            Some(inflate) => {
                inflate.piece(&data, is_end).map_err(|error| upstream(error.to_string()))?.into()
            }
            None => data,
        };
        self.translation.body(&data, is_end, &mut out).map_err(broken)?;
        if !out.is_empty() {
            self.last_bytes = out.len();
        }
        Ok(out.into())
    }

    fn has_content(&self) -> bool {
        self.translation.has_content()
    }

    fn held_bytes(&self) -> usize {
        self.translation.held_bytes()
    }

    fn counts_usage(&self) -> bool {
        self.translation.counts_usage()
    }

    fn usage(&self) -> Usage {
        let counted = self.translation.usage();
        Usage {
            input: counted.input,
            output: counted.output,
            cached_input: counted.cache_read,
            cache_creation: counted.cache_write,
            reasoning: counted.reasoning,
            total: None,
        }
    }
}

/// Whether a request for `path` is one of those APIs of OpenAI's whose streams say what they took where they are asked to.
pub(crate) fn streams_usage(path: &str) -> bool {
    matches!(Api::of_path(path), Some(Api::ChatCompletions | Api::Completions))
}

/// A query without `key`, however that is written.
fn without_key(query: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let is_key = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_decode_str(name).eq(*b"key")
    };
    if !query.split('&').any(is_key) {
        return Some(query);
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_key(pair)).collect();
    (!kept.is_empty()).then(|| Cow::Owned(kept.join("&")))
}

fn not_encoded(cause: NotEncoded) -> CodecError {
    match cause {
        NotEncoded::Refused(refused) => CodecError::Request(refused.to_string()),
        NotEncoded::Unserved { .. } => CodecError::Unserved(cause.to_string()),
    }
}

fn broken(broken: Broken) -> CodecError {
    match broken {
        Broken::Failed(failure) => {
            CodecError::Failed { status: failure.status, message: failure.message.decoded().into_owned() }
        }
        broken => upstream(broken.to_string()),
    }
}

fn upstream(message: String) -> CodecError {
    CodecError::Upstream(message.into())
}
