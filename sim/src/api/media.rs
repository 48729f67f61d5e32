//! Sound and images: what is needed to see that a gateway passes them.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use memchr::memmem;
use serde::Deserialize;
use serde_json::json;

use super::{
    Api,
    error::ApiError,
    json as json_response,
    request::{Text, parse},
};
use crate::{
    body::SimBody,
    metrics::now,
    text::{Completion, LengthBounds, lossy},
};

/// A second of speech at 16 kHz, 16 bits.
const BYTES_PER_SECOND: usize = 32_000;
/// Bytes of a recording that count as its prompt: a recording fills the same window however long it is.
const AUDIO_PROMPT_BYTES: usize = 512;
/// Most images of one request.
const MAX_IMAGES: usize = 10;
/// A transparent PNG of one pixel.
const PIXEL: &[u8] = &[
    0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', 0, 0, 0, 13, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0,
    0, 1, 8, 6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 11, b'I', b'D', b'A', b'T', 0x78, 0x9c, 0x63, 0x60,
    0, 2, 0, 0, 5, 0, 1, 0x7a, 0x5e, 0xab, 0x3f, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
];

pub(super) async fn transcription(
    api: &Api,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<SimBody>, ApiError> {
    let parts = multipart(headers, body)?;
    let field = |name: &str| parts.iter().find(|part| part.name == name).map(|part| part.content);
    let model = field("model").map(lossy);
    let (_, lora) = api.resolve(model.as_deref())?;
    let file = field("file").ok_or_else(|| ApiError::bad_request("Field required: file"))?;
    api.read(lora, &[&file[..file.len().min(AUDIO_PROMPT_BYTES)]]).await?;
    let seconds = file.len().div_ceil(BYTES_PER_SECOND);
    let bounds = LengthBounds { max: 4 * seconds.clamp(1, 64), min: 0, ignores_end: true };
    let text = Completion::from_bank(file.len() as u64 ^ api.options.seed, bounds).text();
    if field("response_format") == Some(b"text") {
        return Ok(Response::new(SimBody::whole(text)));
    }
    Ok(json_response(&json!({"text": text.trim_end(), "usage": {"type": "duration", "seconds": seconds}})))
}

struct Part<'a> {
    name: String,
    content: &'a [u8],
}

/// The fields of a `multipart/form-data` body (RFC 7578).
fn multipart<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Vec<Part<'a>>, ApiError> {
    let broken = || ApiError::bad_request("There was an error parsing the body");
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = kind
        .starts_with("multipart/form-data")
        .then(|| kind.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary=")))
        .flatten()
        .ok_or_else(broken)?;
    let delimiter = format!("--{}", boundary.trim_matches('"'));
    let mut parts = Vec::new();
    let mut rest = body.strip_prefix(delimiter.as_bytes()).ok_or_else(broken)?;
    let closing = format!("\r\n{delimiter}");
    let finder = memmem::Finder::new(&closing);
    while !rest.starts_with(b"--") {
        let end = finder.find(rest).ok_or_else(broken)?;
        let part = rest[..end].strip_prefix(b"\r\n").ok_or_else(broken)?;
        let head = memmem::find(part, b"\r\n\r\n").ok_or_else(broken)?;
        let name = lossy(&part[..head]).split(';').find_map(|parameter| {
            parameter.trim().strip_prefix("name=\"")?.split('"').next().map(str::to_owned)
        });
        parts.push(Part { name: name.unwrap_or_default(), content: &part[head + 4..] });
        rest = &rest[end + closing.len()..];
    }
    Ok(parts)
}

#[derive(Deserialize)]
struct Speech<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    input: String,
}

/// Silence, as long as the text would take to say.
pub(super) async fn speech(api: &Api, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    let request: Speech<'_> = parse(body)?;
    let (_, lora) = api.resolve(request.model.as_ref().map(|model| &*model.0))?;
    let tokens = api.read(lora, &[request.input.as_bytes()]).await?;
    let samples = vec![0; tokens * BYTES_PER_SECOND / 4];
    let mut response = Response::new(SimBody::whole(wav(&samples)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("audio/wav"));
    Ok(response)
}

/// A WAV file of 16-bit mono samples at 16 kHz.
fn wav(samples: &[u8]) -> Bytes {
    let length = samples.len() as u32;
    let mut file = Vec::with_capacity(44 + samples.len());
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + length).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    for number in [16_u32, 1 | 1 << 16, 16_000, 32_000, 2 | 16 << 16] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    file.extend_from_slice(b"data");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(samples);
    file.into()
}

#[derive(Deserialize)]
struct Images<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    prompt: String,
    n: Option<usize>,
}

pub(super) async fn images(api: &Api, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    let request: Images<'_> = parse(body)?;
    let (_, lora) = api.resolve(request.model.as_ref().map(|model| &*model.0))?;
    let count = request.n.unwrap_or(1);
    if !(1..=MAX_IMAGES).contains(&count) {
        return Err(ApiError::bad_request(format!("n must be 1 to {MAX_IMAGES}.")));
    }
    let tokens = api.read(lora, &[request.prompt.as_bytes()]).await?;
    let image = json!({"b64_json": BASE64_STANDARD.encode(PIXEL)});
    Ok(json_response(&json!({
        "created": now() as u64,
        "data": vec![image; count],
        "usage": {"input_tokens": tokens, "output_tokens": count, "total_tokens": tokens + count},
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
    }

    #[test]
    fn fields_are_found_by_name() {
        let body = b"--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n\
            --x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\na\r\n--b\r\n--x--\r\n";
        let parts = multipart(&headers("multipart/form-data; boundary=x"), body).unwrap();
        let fields: Vec<_> = parts.iter().map(|part| (part.name.as_str(), part.content)).collect();
        assert_eq!(fields, [("model", &b"m"[..]), ("file", &b"a\r\n--b"[..])]);
    }

    #[test]
    fn what_is_no_form_is_refused() {
        assert!(multipart(&headers("application/json"), b"{}").is_err());
        assert!(multipart(&headers("multipart/form-data; boundary=x"), b"--x\r\nabc").is_err());
        assert!(multipart(&headers("multipart/form-data; boundary=x"), b"").is_err());
    }

    #[test]
    fn a_wav_file_says_how_long_it_is() {
        let file = wav(&[0; 100]);
        assert_eq!(file.len(), 144);
        assert_eq!(file[4..8], 136_u32.to_le_bytes());
        assert_eq!(file[40..44], 100_u32.to_le_bytes());
    }
}
