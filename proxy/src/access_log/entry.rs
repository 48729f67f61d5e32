//! What is logged of a request.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Method};
use penstock_policies::limits::LimitName;
use penstock_tap::{Usage, UsageSource};
use smallvec::SmallVec;

use crate::{metrics::UpstreamKind, request_id::MAX_CLIENT_ID_BYTES};

/// The longest method that is logged, in bytes.
pub(super) const MAX_METHOD_BYTES: usize = 32;

/// The longest path that is logged, in bytes. The APIs' own have some 40.
pub(super) const MAX_PATH_BYTES: usize = 512;

/// The longest user agent that is logged, in bytes.
pub(super) const MAX_USER_AGENT_BYTES: usize = 256;

/// The longest model that is logged, in bytes: `limits.modelBytes` lets no longer one pass by default.
pub(super) const MAX_MODEL_BYTES: usize = 256;

/// The longest name of a consumer that is logged, in bytes: those in the document have no longer one, tokens may.
pub(super) const MAX_CONSUMER_BYTES: usize = 253;

/// The longest character of UTF-8, in bytes.
pub(super) const MAX_CHARACTER_BYTES: usize = 4;

/// A request that is over. Its texts are the client's, or shared with the snapshot, and escaped when they are written.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When the request's head had arrived.
    pub time: SystemTime,
    /// What the client chose, and who it is.
    pub texts: Texts,
    /// The method.
    pub method: Method,
    /// The other end of the connection: the client, or a proxy that speaks for it.
    pub peer: Option<SocketAddr>,
    /// The client's address, if a trusted proxy told it.
    pub forwarded_for: Option<IpAddr>,
    /// What refused the request, where a policy did.
    pub refused: Option<Box<Refused>>,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The route's name.
    pub route: Option<Arc<str>>,
    /// The model's name where the route renamed it.
    pub target_model: Option<Arc<str>>,
    /// The upstream that was chosen last.
    pub upstream: Option<Upstream>,
    /// The targets that were tried before, or passed over.
    pub tried: Vec<Tried>,
    /// Members of the request that the upstream's API has no place for, with commas between them.
    pub dropped: Option<HeaderValue>,
    /// Attempts made.
    pub attempts: u32,
    /// The status that the client got; 499 where it left before one.
    pub status: u16,
    /// The reason where the gateway ended the request itself: `Row::reason`.
    pub error: Option<&'static str>,
    /// Whether the response was an event stream.
    pub is_stream: bool,
    /// The tokens counted.
    pub usage: Usage,
    /// Where they were counted.
    pub usage_source: Option<UsageSource>,
    /// Events with content, of a stream.
    pub content_events: u64,
    /// From the request's first byte to the first event with content, of a stream.
    pub time_to_first_token: Option<Duration>,
    /// From the request's first byte to its end.
    pub duration: Duration,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
    /// What limits were charged, and what the request cost; `None` where there are neither limits nor prices.
    pub bill: Option<Box<Bill>>,
    /// Blocks of the prompt that the picked endpoint was known to hold.
    pub matched_blocks: Option<u32>,
}

/// Texts of a request, bounded, and copied into one piece of memory. As the request has them they share that of its whole
/// head, which would live as long as the entry, and be given back by another thread than the one that needs it next: that
/// took a tenth of what the whole request takes of the allocator's time.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    bytes: Box<[u8]>,
    /// Where each ends, if it is there.
    ends: [Option<u32>; 5],
}

/// What is told in [`Texts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told<'a> {
    /// The request's id.
    pub request_id: &'a [u8],
    /// The path as the client sent it.
    pub path: Option<&'a [u8]>,
    /// The client's user agent.
    pub user_agent: Option<&'a [u8]>,
    /// The model that the client asked for.
    pub model: Option<&'a [u8]>,
    /// The name of who asked; empty for somebody without one, and `None` where no policy found out.
    pub consumer: Option<&'a [u8]>,
}

/// What refused a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The policy that refused the request.
    pub policy: Option<Arc<str>>,
    /// The rule of the policy that did.
    pub rule: Option<Arc<str>>,
    /// The limit of the policy that did.
    pub limit: Option<Arc<str>>,
}

/// What a request came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// What was charged of each limit: those of the listener and the rule, then those of the upstream that was asked last.
    pub charged: SmallVec<[Charged; 4]>,
    /// What it cost, in nano-dollars. `None` where nobody said what anything costs, or nothing was counted; `Some(None)` where
    /// nobody said what this model does.
    pub cost: Option<Option<u64>>,
}

/// What a limit was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The limit.
    pub limit: Arc<LimitName>,
    /// What was held, in what the limit counts.
    pub held: u64,
    /// What was charged in its place.
    pub used: u64,
}

/// Where a request was sent.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Pool or backend.
    pub kind: UpstreamKind,
    /// The pool's or backend's name.
    pub name: Arc<str>,
    /// The endpoint asked last.
    pub endpoint: Option<SocketAddr>,
}

/// A target that was left for another.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Pool or backend.
    pub kind: UpstreamKind,
    /// The pool's or backend's name.
    pub name: Arc<str>,
    /// Why it was left.
    pub reason: &'static str,
}

impl Texts {
    /// A copy of these. Of one that is longer than it is logged, a character more is kept, by which that shows.
    pub fn new(told: &Told<'_>) -> Self {
        let Told { request_id, path, user_agent, model, consumer } = *told;
        let all = [
            kept(Some(request_id), MAX_CLIENT_ID_BYTES),
            kept(path, MAX_PATH_BYTES),
            kept(user_agent, MAX_USER_AGENT_BYTES),
            kept(model, MAX_MODEL_BYTES),
            kept(consumer, MAX_CONSUMER_BYTES),
        ];
        let length = all.iter().flatten().map(|text| text.len()).sum();
        let mut bytes = Vec::with_capacity(length);
        let ends = all.map(|text| {
            bytes.extend_from_slice(text?);
            u32::try_from(bytes.len()).ok()
        });
        Self { bytes: bytes.into_boxed_slice(), ends }
    }

    /// What it is a copy of.
    pub fn told(&self) -> Told<'_> {
        let mut start = 0;
        let [request_id, path, user_agent, model, consumer] = self.ends.map(|end| {
            let end = end? as usize;
            self.bytes.get(std::mem::replace(&mut start, end)..end)
        });
        Told { request_id: request_id.unwrap_or_default(), path, user_agent, model, consumer }
    }
}

/// So much of a text that it shows whether it is longer than it is logged.
fn kept(text: Option<&[u8]>, max_bytes: usize) -> Option<&[u8]> {
    text.map(|text| &text[..text.len().min(max_bytes + MAX_CHARACTER_BYTES)])
}
