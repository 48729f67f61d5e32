//! What BackendTrafficPolicies answer in place of something else.

use penstock_config::raw::{RawResponseSource, RawRule, RawScheme, RawStatusRange};
use penstock_translate::Translation;
use penstock_translate::world::{Key, Kind, ObjectId};

use crate::support::{condition, translated};

/// A route, a policy for it with these overrides, and other objects.
fn with_overrides(overrides: &str, more: &str) -> Translation {
    translated(&format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: ns}}
spec:
  parentRefs: [{{name: gw}}]
  rules: [{{backendRefs: [{{name: s, port: 80}}]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: s, namespace: ns}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: BackendTrafficPolicy
metadata: {{name: p, namespace: ns}}
spec:
  targetRefs: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}}]
  responseOverride: {overrides}
---
{more}"
    ))
}

fn rule(translation: &Translation) -> &RawRule {
    &translation.gateways.values().next().expect("a Gateway").document.routes[0].rules[0]
}

fn range(from: u16, to: Option<u16>) -> RawStatusRange {
    RawStatusRange { from, to }
}

/// That of Envoy Gateway's documentation.
#[test]
fn the_published_example_answers_by_text_and_by_a_config_map() {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: page, namespace: ns}\n\
               data: {response.body: '{\"error\": \"Internal Server Error\"}'}\n---\n";
    let translation = with_overrides(
        "
    - match: {statusCodes: [{type: Value, value: 404}]}
      response: {contentType: text/plain, body: {type: Inline, inline: 'Oops! Your request is not found.'}}
    - match: {statusCodes: [{type: Value, value: 500}, {type: Range, range: {start: 501, end: 511}}]}
      response:
        contentType: application/json
        statusCode: 503
        header: {set: [{name: x-a, value: b}]}
        body: {type: ValueRef, valueRef: {group: '', kind: ConfigMap, name: page}}
    - match: {statusCodes: [{value: 401}]}
      source: Local
      redirect: {scheme: https, hostname: login.test, path: {type: ReplaceFullPath, replaceFullPath: /in}}
    - match: {statusCodes: [{value: 403}]}
      source: Backend
      redirect: {hostname: help.test}
",
        map,
    );
    let overrides = &rule(&translation).response_overrides;
    assert_eq!(overrides.len(), 4);
    assert_eq!(overrides[0].statuses, [range(404, None)]);
    assert_eq!((&*overrides[0].body, overrides[0].status), ("Oops! Your request is not found.", None));
    assert_eq!(overrides[0].source, RawResponseSource::All);
    assert_eq!(overrides[1].statuses, [range(500, None), range(501, Some(511))]);
    assert_eq!(
        (&*overrides[1].body, overrides[1].status),
        ("{\"error\": \"Internal Server Error\"}", Some(503))
    );
    assert_eq!(overrides[1].headers.set[0].name, "x-a");
    let redirect = overrides[2].redirect.as_ref().unwrap();
    assert_eq!((redirect.scheme, redirect.status_code, redirect.port), (Some(RawScheme::Https), 302, None));
    assert_eq!(overrides[2].source, RawResponseSource::Gateway);
    assert_eq!(overrides[3].source, RawResponseSource::Upstream);
    // The port that clients came to, which the data plane does not know.
    assert_eq!(overrides[3].redirect.as_ref().unwrap().port, Some(8080));
    let (accepted, _, message) = condition(&translation, (Kind::BackendTrafficPolicy, "p"), "Accepted");
    assert!(accepted && message == "the policy is in force", "{message}");
    let key = Key::new("ns", "page");
    assert!(translation.wanted.contains(&ObjectId { kind: Kind::ConfigMap, key }));
}

#[test]
fn what_cannot_be_is_told_and_conditions_that_are_not_known_do_not_widen_what_is_replaced() {
    for (overrides, word) in [
        ("[{match: {statusCodes: [{value: 500}]}}]", "responseOverride[0].response is missing"),
        ("[{match: {statusCodes: []}, response: {}}]", "responseOverride[0].match.statusCodes"),
        (
            "[{match: {statusCodes: [{type: Range, range: {start: 5, end: 4}}]}, response: {}}]",
            "neither a value",
        ),
        (
            "[{match: {statusCodes: [{value: 500}]}, source: Moon, response: {}}]",
            "responseOverride[0].source",
        ),
        ("[{match: {statusCodes: [{value: 500}]}, response: {statusCode: 99}}]", "response.statusCode: 99"),
        ("[{match: {statusCodes: [{value: 500}]}, redirect: {scheme: ftp}}]", "redirect.scheme"),
        (
            "[{match: {statusCodes: [{value: 500}]}, response: {body: {type: ValueRef, valueRef: {kind: ConfigMap, name: gone}}}}]",
            "ns/gone",
        ),
    ] {
        let translation = with_overrides(overrides, "");
        let (accepted, reason, message) =
            condition(&translation, (Kind::BackendTrafficPolicy, "p"), "Accepted");
        assert!(!accepted && reason == "Invalid" && message.contains(word), "{overrides}: {message}");
        assert!(rule(&translation).response_overrides.is_empty(), "{overrides}");
    }
    for (overrides, left, word) in [
        (
            "[{match: {statusCodes: [{value: 500}], headers: [a]}, response: {}}]",
            0,
            "responseOverride[0].match.headers",
        ),
        ("[{match: {statusCodes: [{value: 500}]}, response: {}, later: 1}]", 0, "responseOverride[0].later"),
        (
            "[{match: {statusCodes: [{type: Range, range: {start: 100, end: 404}}]}, response: {}}]",
            1,
            "300 to 599",
        ),
        ("[{match: {statusCodes: [{value: 200}]}, response: {}}]", 0, "300 to 599"),
        (
            "[{match: {statusCodes: [{value: 500}]}, response: {body: {inline: '%RESPONSE_CODE%'}}}]",
            1,
            "what stands between % is sent as it is",
        ),
    ] {
        let translation = with_overrides(overrides, "");
        assert_eq!(rule(&translation).response_overrides.len(), left, "{overrides}");
        let (_, _, message) = condition(&translation, (Kind::BackendTrafficPolicy, "p"), "Accepted");
        assert!(message.contains(word), "{overrides}: {message}");
    }
}
