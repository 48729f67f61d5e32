//! Tests of the notations.

use super::*;

#[test]
fn durations_are_those_of_gep_2257() {
    let sound = [
        ("0s", 0),
        ("250ms", 250),
        ("10s", 10_000),
        ("1m30s", 90_000),
        ("1h1m1s1ms", 3_661_001),
        ("99999h", 359_996_400_000),
    ];
    for (text, ms) in sound {
        assert_eq!(Span::parse(text), Ok(Span::ms(ms)), "{text}");
    }
    for text in ["", "10", "s", "1.5s", "-1s", "1 s", "1d", "100000s", "1s1s1s1s1s", "1S", "١s", "1s "] {
        assert_eq!(Span::parse(text), Err(QuantityError::Duration), "{text}");
    }
}

#[test]
fn durations_read_back_as_they_are_written() {
    for ms in [0, 1, 999, 1_000, 60_000, 61_001, 3_600_000, 90_061_007] {
        assert_eq!(Span::parse(&Span::ms(ms).to_string()), Ok(Span::ms(ms)), "{ms}");
    }
}

#[test]
fn sizes_have_binary_units() {
    for (text, bytes) in
        [("0", 0), ("65536", 65_536), ("64B", 64), ("64KiB", 65_536), ("4MiB", 4 << 20), ("1GiB", 1 << 30)]
    {
        assert_eq!(Size::parse(text), Ok(Size(bytes)), "{text}");
        assert_eq!(Size::parse(&Size(bytes).to_string()), Ok(Size(bytes)), "{text}");
    }
    for text in
        ["", "KiB", "1KB", "1K", "1.5MiB", "-1", "1 KiB", "99999999999999999999", "18446744073709551615GiB"]
    {
        assert_eq!(Size::parse(text), Err(QuantityError::Size), "{text}");
    }
}

#[test]
fn addresses_are_ip_and_port() {
    for text in ["127.0.0.1:0", "[::1]:8080", "[::]:80"] {
        assert!(Address::parse(text).is_ok(), "{text}");
    }
    for text in ["", ":80", "127.0.0.1:65536", "localhost", "a:b:80", "localhost:"] {
        assert_eq!(Address::parse(text), Err(QuantityError::Address), "{text}");
    }
}

#[test]
fn what_is_written_instead_of_an_address_is_recognised() {
    for text in ["http://10.0.0.1:8000", "https://localhost", "http://[::1]:80/v1"] {
        assert_eq!(Address::parse(text), Err(QuantityError::AddressIsUrl), "{text}");
    }
    for text in ["localhost:8000", "vllm-0.models.svc:80"] {
        assert_eq!(Address::parse(text), Err(QuantityError::AddressIsName), "{text}");
    }
    for text in ["127.0.0.1", "::1", "::1:80"] {
        assert_eq!(Address::parse(text), Err(QuantityError::AddressWithoutPort), "{text}");
    }
}
