use super::*;

fn form(boundary: &str) -> Result<Media, PeekError> {
    Ok(Media::Form { boundary: boundary.into(), charset: Charset::Utf8 })
}

#[test]
fn knows_json_by_its_types() {
    for json in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/json;charset=\"utf-8\"",
        "application/json ; odd",
        "text/json",
        "application/vnd.api+json",
    ] {
        assert_eq!(Media::parse(json.as_bytes()), Ok(Media::Json), "{json}");
    }
    for other in
        ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", "audio/wav"]
    {
        assert_eq!(Media::parse(other.as_bytes()), Ok(Media::Other), "{other}");
    }
}

#[test]
fn takes_a_boundary_that_all_parsers_agree_on() {
    for (content_type, boundary) in [
        ("multipart/form-data; boundary=abc", "abc"),
        ("Multipart/Form-Data;Boundary=\"a b'()+_,-./:=?\"".replace("a b", "ab").as_str(), "ab'()+_,-./:=?"),
        (
            "multipart/form-data; charset=utf-8; boundary=----WebKitFormBoundary7MA4YWxk",
            "----WebKitFormBoundary7MA4YWxk",
        ),
        ("multipart/form-data; boundary=abc;", "abc"),
    ] {
        assert_eq!(Media::parse(content_type.as_bytes()), form(boundary), "{content_type}");
    }
}

#[test]
fn refuses_a_boundary_that_parsers_disagree_on() {
    let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=a; BOUNDARY=a",
        "multipart/form-data; boundary*=utf-8''a",
        "multipart/form-data; boundary*0=a; boundary*1=b",
        "multipart/form-data; boundary=\"a",
        "multipart/form-data; boundary=\"a\\\"b\"",
        "multipart/form-data; boundary=\"a\"b",
        "multipart/form-data; boundary=a b",
        "multipart/form-data boundary=a",
        "multipart/form-data, application/json; boundary=a",
        "multipart/form-data; boundary=a\"b",
        "multipart/form-data; boundary=é",
        &long,
    ] {
        let refusal = PeekError::Form { at: 0, fault: FormFault::Boundary };
        assert_eq!(Media::parse(content_type.as_bytes()), Err(refusal), "{content_type}");
    }
}

#[test]
fn refuses_a_charset_that_hides_ascii() {
    for content_type in [
        "application/json; charset=utf-16",
        "application/json; charset=iso-8859-1",
        "application/json; charset=utf-7",
        "application/json; charset*=us-ascii''cp037",
        "application/json; charset=utf-8; charset=cp037",
        "application/json; \"charset=utf-16",
        "text/plain; charset=utf-32",
        "multipart/form-data; boundary=b; charset=utf-16",
    ] {
        let refusal = Media::parse(content_type.as_bytes()).unwrap_err();
        assert_eq!(refusal.reason(), "unsupported_charset", "{content_type}");
        assert_eq!(refusal.status(), 415);
    }
}

#[test]
fn knows_one_coding_at_a_time() {
    for (header, coding) in [
        ("", None),
        ("identity", None),
        ("gzip", Some(Coding::Gzip)),
        ("X-GZip", Some(Coding::Gzip)),
        (" identity, br ", Some(Coding::Brotli)),
        ("deflate,", Some(Coding::Deflate)),
        ("zstd", Some(Coding::Zstd)),
    ] {
        assert_eq!(Coding::parse(header.as_bytes()), Ok(coding), "{header}");
    }
    for header in ["compress", "gzip, br", "gzip gzip", "gzip\0", "dcb"] {
        let refusal = Coding::parse(header.as_bytes()).unwrap_err();
        assert_eq!((refusal.status(), refusal.reason()), (415, "unsupported_encoding"), "{header}");
    }
}
