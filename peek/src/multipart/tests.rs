use super::*;
use crate::Peek;

fn peek(boundary: &str, chunks: &[&[u8]]) -> Result<Peeked, PeekError> {
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let mut peek = Peek::new(Some(content_type.as_bytes()), &Options::default())?;
    for chunk in chunks {
        peek.feed(chunk)?;
    }
    peek.finish()
}

#[test]
fn keeps_the_model_and_none_of_the_file() {
    let mut form = Multipart::new(b"b", &Options::default());
    form.feed(b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n").unwrap();
    for _ in 0..64 {
        form.feed(&[b'\r'; 4_096]).unwrap();
        form.feed(&[b'-'; 4_096]).unwrap();
        form.feed(b"\r\n--\r\n-").unwrap();
    }
    assert_eq!(form.value.capacity(), 0);
    assert!(form.headers.capacity() <= 128);
    form.feed(b"\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na\r\n--b--").unwrap();
    assert_eq!(form.finish().unwrap().model.unwrap().name, "a");
}

#[test]
fn takes_what_browsers_and_libraries_send() {
    let form = "------WebKitFormBoundaryX\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"caf\u{e9} %22x%22.wav\"\r\n\
        Content-Type: audio/wav\r\n\r\nRIFF\r\n\
        ------WebKitFormBoundaryX\r\n\
        content-disposition: form-data; name=\"model\"\r\n\
        content-type: text/plain; charset=utf-8\r\n\
        content-length: 9\r\n\r\nwhisper-1\r\n\
        ------WebKitFormBoundaryX--\r\n";
    let peeked = peek("----WebKitFormBoundaryX", &[form.as_bytes()]).unwrap();
    let model = peeked.model.unwrap();
    assert_eq!(model.name, "whisper-1");
    assert_eq!(&form[model.range], "whisper-1");
    assert_eq!((peeked.shape, model.notation), (Shape::Form, Notation::FormField));
}

#[test]
fn delimiters_that_resemble_their_content_are_found() {
    for content in ["-", "--", "\r\n-", "\r\n--", "\r\n--a", "\r\r\n--a\r", "\r\n\r\n", "x--aab", "\r\n--aa-"]
    {
        let form = format!(
            "--aab\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n{content}\r\n\
             --aab\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--aab--"
        );
        for cut in 0..form.len() {
            let (head, tail) = form.as_bytes().split_at(cut);
            let model = peek("aab", &[head, tail]).map(|peeked| peeked.model.unwrap().name);
            assert_eq!(model.as_deref(), Ok("m"), "{content:?} cut at {cut}");
        }
    }
}
