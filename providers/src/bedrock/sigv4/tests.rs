use super::*;

/// 2026-11-30 02:30:00 UTC.
const NOW: u64 = 1_796_005_800;

fn credentials(session_token: Option<&str>) -> Credentials<'_> {
    Credentials {
        access_key_id: "AKIDEXAMPLE",
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token,
    }
}

struct Case {
    name: &'static str,
    request: Request<'static>,
    region: &'static str,
    service: &'static str,
    token: Option<&'static str>,
    signed_headers: &'static str,
    signature: &'static str,
}

const JSON: (&str, &str) = ("content-type", "application/json");
const POST: Request<'static> = Request {
    method: "POST",
    host: "bedrock-runtime.eu-central-1.amazonaws.com",
    path: "/model/m/invoke",
    query: "",
    headers: &[JSON],
    body: b"{}",
};

/// Signatures that botocore's `SigV4Auth` makes of the same requests.
const CASES: [Case; 5] = [
    Case {
        name: "a model's id",
        request: Request {
            path: "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
            body: b"{\"messages\":[]}",
            ..POST
        },
        region: "eu-central-1",
        service: "bedrock",
        token: None,
        signed_headers: "content-type;host;x-amz-date",
        signature: "7f58d337d32cdd67c937f3c74b17d41fd019c11a42636f0f58f3581f145a2bf7",
    },
    Case {
        name: "an ARN in the path, a session token",
        request: Request {
            path: "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Aapplication-inference-profile%2Fabc123/\
                   converse-stream",
            headers: &[JSON, ("accept", "application/vnd.amazon.eventstream")],
            body: "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"Grüße\"}]}]}".as_bytes(),
            ..POST
        },
        region: "eu-central-1",
        service: "bedrock",
        token: Some("IQoJb3JpZ2luX2VjEXAMPLE//token=="),
        signed_headers: "accept;content-type;host;x-amz-date;x-amz-security-token",
        signature: "cf809d0e81f3e1022c25124027ebfc725c70831de414df4045c30e3928f52384",
    },
    Case {
        name: "an empty body and path",
        request: Request { method: "GET", path: "", headers: &[], body: b"", ..POST },
        region: "us-east-1",
        service: "bedrock",
        token: None,
        signed_headers: "host;x-amz-date",
        signature: "a60fb5445f2d9ae3298681679cc9f6497b14ccb82a6b415db06db90252ec5778",
    },
    Case {
        name: "a query whose pairs are not in order",
        request: Request {
            method: "GET",
            host: "sts.us-east-1.amazonaws.com",
            path: "/",
            query: "Version=2011-06-15&Action=GetCallerIdentity&b=2&b=1&empty=&path=%2Fa%20b",
            headers: &[],
            body: b"",
        },
        region: "us-east-1",
        service: "sts",
        token: Some("tok"),
        signed_headers: "host;x-amz-date;x-amz-security-token",
        signature: "8c3564e3e5e9b24a75c666e42283e9dc6542f695d9c57a1bd18f093816c8e9ae",
    },
    Case {
        name: "spaces within a header",
        request: Request { headers: &[JSON, ("x-amzn-bedrock-trace", "  ENABLED   twice  ")], ..POST },
        region: "eu-central-1",
        service: "bedrock",
        token: None,
        signed_headers: "content-type;host;x-amz-date;x-amzn-bedrock-trace",
        signature: "58fbf0b2e3b34aea0cdedc36614ea4b4de552ca82fb32f20fd9245aed25d79b6",
    },
];

#[test]
fn signatures_are_those_of_the_sdk() {
    for Case { name, request, region, service, token, signed_headers, signature } in CASES {
        let scope = Scope { region, service, now: NOW };
        let headers = sign(&request, &scope, &credentials(token)).unwrap();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261130/{region}/{service}/aws4_request, \
             SignedHeaders={signed_headers}, Signature={signature}"
        );
        let mut expected = vec![("x-amz-date", "20261130T023000Z")];
        expected.extend(token.map(|token| ("x-amz-security-token", token)));
        expected.push(("authorization", &authorization));
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(headers, expected, "{name}");
    }
}

#[test]
fn secrets_stay_out_of_logs_and_headers_out_of_credentials() {
    let scope = Scope { region: "eu-central-1", service: "bedrock", now: NOW };
    let headers = sign(&POST, &scope, &credentials(Some("tok"))).unwrap();
    let sensitive: Vec<_> = headers.iter().map(|(_, value)| value.is_sensitive()).collect();
    assert_eq!(sensitive, [false, true, true]);
    assert!(sign(&POST, &scope, &credentials(Some("tok\r\nx: y"))).is_err());
    let broken = Credentials { access_key_id: "A\nB", ..credentials(None) };
    assert!(sign(&POST, &scope, &broken).is_err());
}

#[test]
fn times_are_days_of_the_calendar() {
    for (now, written) in [
        (0, "19700101T000000Z"),
        (951_782_399, "20000228T235959Z"),
        (951_782_400, "20000229T000000Z"),
        (1_709_251_199, "20240229T235959Z"),
        (1_709_251_200, "20240301T000000Z"),
        (4_107_542_399, "21000228T235959Z"),
        (4_107_542_400, "21000301T000000Z"),
        (NOW, "20261130T023000Z"),
    ] {
        assert_eq!(timestamp(now), written);
    }
}
