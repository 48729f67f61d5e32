//! The peek phase: reads the body once, as it arrives, for what routing needs of it.

use http::{HeaderMap, Version, header};
use penstock_peek::{Coding, Options, Peek, Peeked};

use crate::client::Client;
use crate::context::Arrived;
use crate::decode::{Decoders, Encoded};
use crate::error::Error;

/// Reads the whole body; its chunks are kept for every attempt.
///
/// # Errors
/// The client broke off, exceeded a limit, or sent a body that must not be forwarded.
pub(crate) async fn read(
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    decoders: &Decoders,
) -> Result<Peeked, Error> {
    let mut peek = start(&client.head().headers, arrived.runtime().peek_options())?;
    if let Some(coding) = coding(&client.head().headers)? {
        // In a place of its own: hardly any request is compressed.
        return Box::pin(read_encoded(client, arrived, decoders, coding, peek)).await;
    }
    let length = client.head().headers.get(header::CONTENT_LENGTH);
    if let Some(length) = length.and_then(|length| length.to_str().ok()?.parse().ok()) {
        peek.expect_bytes(length);
    }
    continue_if_expected(client).await?;
    while let Some(chunk) = arrived.read_body(client).await? {
        peek.feed(&chunk)?;
    }
    Ok(peek.finish()?)
}

/// Reads the whole body, decodes it and reads what comes out.
async fn read_encoded(
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    decoders: &Decoders,
    coding: Coding,
    peek: Peek,
) -> Result<Peeked, Error> {
    continue_if_expected(client).await?;
    while arrived.read_body(client).await?.is_some() {}
    let (options, limits) = (arrived.runtime().peek_options().clone(), arrived.runtime().limits());
    let limit = limits.decode_timeout;
    let room = arrived.body.room(arrived.client(), limits);
    let body = Encoded { coding, chunks: arrived.body.chunks().to_vec(), peek, room };
    let decoding = decoders.run(limit, move |is_wanted| body.decode(&options, limit, is_wanted));
    let (peeked, decoded) = tokio::select! {
        biased;
        decoded = decoding => decoded??,
        gone = client.gone() => return Err(gone),
    };
    arrived.body.set_decoded(decoded);
    Ok(peeked)
}

/// A client that announced `Expect: 100-continue` waits until it is told to go on.
///
/// # Errors
/// The client is gone.
pub(crate) async fn continue_if_expected(client: &mut Client<'_>) -> Result<(), Error> {
    let request = client.head();
    let expect = request.headers.get(header::EXPECT);
    if request.version >= Version::HTTP_11
        && expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        client.write_continue().await?;
    }
    Ok(())
}

/// A peek at a body with these headers, decoded.
///
/// # Errors
/// They say nothing that could be looked through.
pub(crate) fn start(headers: &HeaderMap, options: &Options) -> Result<Peek, Error> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let content_type = types.next().map(http::HeaderValue::as_bytes);
    if types.next().is_some() {
        return Err(Error::BadHeader("Content-Type is sent more than once"));
    }
    Ok(Peek::new(content_type, options)?)
}

/// How a body with these headers is compressed.
///
/// # Errors
/// In a way that cannot be undone.
pub(crate) fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Error> {
    match encodings(headers) {
        Some(encodings) => Ok(Coding::parse(&encodings)?),
        None => Ok(None),
    }
}

/// The content codings in the order in which they were applied; several header lines are one list.
fn encodings(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut joined = lines.next()?.as_bytes().to_vec();
    for line in lines {
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(line.as_bytes());
    }
    Some(joined)
}

#[cfg(test)]
mod tests {
    use penstock_picker::prefix::PrefixIndex;

    use super::*;

    /// Blocks of a prompt, and of one that has the first of them in common with it.
    const BLOCKS: usize = 700;

    /// For each number of blocks that two prompts have in common, how many the index says they have, if its own blocks
    /// are `stride` of them.
    fn found(stride: usize) -> impl Iterator<Item = (usize, usize)> {
        let options = Options::default();
        let text = vec![b'a'; BLOCKS * options.block_bytes];
        let blocks = move |text: &[u8]| {
            let mut peek = Peek::new(Some(b"application/json"), &options).unwrap();
            peek.feed(b"{\"model\":\"m\",\"prompt\":\"").unwrap();
            peek.feed(text).unwrap();
            peek.feed(b"\"}").unwrap();
            peek.finish().unwrap().blocks
        };
        let index = PrefixIndex::new();
        index.record(&index.chain("m", &blocks(&text), stride, usize::MAX), 0, usize::MAX);
        (0..BLOCKS).map(move |common| {
            let mut other = text.clone();
            // The prompt begins with the quote.
            other[(common * text.len() / BLOCKS).saturating_sub(1)..].fill(b'b');
            let mut matched = [0];
            index.matches(&index.chain("m", &blocks(&other), stride, usize::MAX), &mut matched);
            (common, matched[0] as usize * stride)
        })
    }

    /// A peek hashes long prompts in groups of blocks, and the index remembers them in groups: they have to be the same.
    #[test]
    fn the_index_is_told_of_every_group_that_it_remembers() {
        for (common, found) in found(1) {
            assert!(found <= common && found * 17 >= common * 16, "{found} of {common}");
        }
    }

    /// A profile may have blocks of its own, which end within a peek's groups: then they count from the group's start.
    #[test]
    fn blocks_that_end_within_a_group_are_a_sixteenth_off_at_most() {
        for stride in [3, 16, 40] {
            for (common, found) in found(stride) {
                assert!(found <= common + common / 16, "{found} of {common} in {stride}");
                assert!((found + stride) * 17 >= common * 16, "{found} of {common} in {stride}");
            }
        }
    }
}
