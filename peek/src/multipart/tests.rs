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
    let mut form = Multipart::new(b"b", Charset::Utf8, &Options::default());
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

/// The bytes that clients send for the field `model` and a file called `a"b.wav`, with `BOUNDARY` for what they draw.
const SENT: [(&str, &str); 7] = [
    (
        "curl",
        "--BOUNDARY\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
         --BOUNDARY\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%22b.wav\"\r\n\
         Content-Type: application/octet-stream\r\n\r\nRIFF\r\n--BOUNDARY--\r\n",
    ),
    (
        "curl --form-escape, and before 7.81",
        "--BOUNDARY\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
         --BOUNDARY\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\\\"b.wav\"\r\n\
         Content-Type: application/octet-stream\r\n\r\nRIFF\r\n--BOUNDARY--\r\n",
    ),
    (
        "Go's mime/multipart",
        "--BOUNDARY\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
         --BOUNDARY\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\\\"b.wav\"\r\n\
         Content-Type: application/octet-stream\r\n\r\nRIFF\r\n--BOUNDARY--\r\n",
    ),
    (
        "requests",
        "--BOUNDARY\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
         --BOUNDARY\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%22b.wav\"\r\n\r\n\
         RIFF\r\n--BOUNDARY--\r\n",
    ),
    (
        "httpx",
        "--BOUNDARY\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
         --BOUNDARY\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%22b.wav\"\r\n\
         Content-Type: audio/wav\r\n\r\nRIFF\r\n--BOUNDARY--\r\n",
    ),
    (
        "undici and browsers",
        "--BOUNDARY\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
         --BOUNDARY\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%22b.wav\"\r\n\
         Content-Type: audio/wav\r\n\r\nRIFF\r\n--BOUNDARY--\r\n",
    ),
    (
        "Apache HttpClient",
        "--BOUNDARY\r\nContent-Disposition: form-data; name=\"model\"\r\n\
         Content-Type: text/plain; charset=ISO-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nwhisper-1\r\n\
         --BOUNDARY\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\\\"b.wav\"\r\n\
         Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\nRIFF\r\n--BOUNDARY--\r\n",
    ),
];

#[test]
fn takes_what_each_client_sends() {
    for (client, sent) in SENT {
        for boundary in ["----formdata-undici-022894583257", "------------------------d74496d66958873e"] {
            let form = sent.replace("BOUNDARY", boundary);
            for cut in 0..form.len() {
                let (head, tail) = form.as_bytes().split_at(cut);
                let model = peek(boundary, &[head, tail]).map(|peeked| peeked.model.unwrap());
                assert_eq!(model.as_ref().map(|model| model.name.as_str()), Ok("whisper-1"), "{client}");
                assert_eq!(&form[model.unwrap().range], "whisper-1", "{client}");
            }
        }
    }
}

/// A form with one part more than the file: these headers and this value.
fn with_part(content_type: &str, headers: &str, value: &[u8]) -> Result<Peeked, PeekError> {
    let body = [b"--b\r\n", headers.as_bytes(), b"\r\n\r\n", value, b"\r\n--b--\r\n"].concat();
    let mut peek = Peek::new(Some(content_type.as_bytes()), &Options::default())?;
    peek.feed(&body)?;
    peek.finish()
}

#[test]
fn a_charset_that_has_ascii_in_its_place_may_name_a_model_in_ascii() {
    let disposition = "Content-Disposition: form-data; name=\"model\"";
    for charset in ["ISO-8859-1", "iso-8859-15", "\"latin1\"", "windows-1252"] {
        let of_part = format!("{disposition}\r\nContent-Type: text/plain; charset={charset}");
        let of_form = format!("multipart/form-data; boundary=b; charset={charset}");
        for (content_type, headers) in
            [("multipart/form-data; boundary=b", &*of_part), (&of_form, disposition)]
        {
            let model = with_part(content_type, headers, b"whisper-1").unwrap().model.unwrap();
            assert_eq!(model.name, "whisper-1", "{charset}");
            for value in [&b"caf\xE9"[..], "café".as_bytes()] {
                let refusal = with_part(content_type, headers, value).unwrap_err();
                let fault = FormFault::ModelNotPlain;
                assert!(matches!(refusal, PeekError::Form { fault: of, .. } if of == fault), "{refusal}");
            }
        }
    }
    for charset in ["utf-16", "utf-7", "cp037", "iso-2022-jp", "shift_jis", ""] {
        let headers = format!("{disposition}\r\nContent-Type: text/plain; charset={charset}");
        assert!(with_part("multipart/form-data; boundary=b", &headers, b"m").is_err(), "{charset}");
    }
}

#[test]
fn a_file_name_that_could_hide_another_parameter_is_refused() {
    let part = |filename: &str, more: &str| {
        let headers = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{filename}\"{more}");
        with_part("multipart/form-data; boundary=b", &headers, b"RIFF")
    };
    for filename in [r#"a\"b.wav"#, r#"\"a\""#, r#"a\" \"b"#, r"C:\dir\a.wav"] {
        assert!(part(filename, "").is_ok(), "{filename}");
    }
    for (filename, more) in [
        (r#"a\"; name=\"model"#, ""),
        (r#"a\"; name="model"#, ""),
        (r#"a\" name=model"#, ""),
        (r#"a\\"b"#, ""),
        (r"a\", ""),
        (r"a\\", ""),
        (r#"a\"b"#, "; name=\"model\""),
        (r#"a\"b"#, "; x=y"),
        (r#"a"b"#, ""),
    ] {
        assert!(part(filename, more).is_err(), "{filename}{more}");
    }
    // Only a file's name is nobody's to route by.
    let headers = "Content-Disposition: form-data; name=\"a\\\"b\"";
    assert!(with_part("multipart/form-data; boundary=b", headers, b"x").is_err());
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
