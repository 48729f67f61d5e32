//! HTTPRouteFilters: what they make of rules, and that one that cannot be closes its rule.

use penstock_config::raw::{RawPathRewriteType, RawRule};
use penstock_translate::Translation;
use penstock_translate::world::{Kind, ObjectId};

use crate::support::{condition, translated};

/// A route whose rule refers to a filter with this body, beside others.
fn with_filter(spec: &str, others: &str, more: &str) -> Translation {
    translated(&format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: ns}}
spec:
  parentRefs: [{{name: gw}}]
  rules:
    - filters:
        - {{type: ExtensionRef, extensionRef: {{group: gateway.envoyproxy.io, kind: HTTPRouteFilter, name: f}}}}
        {others}
      backendRefs: [{{name: s, port: 80}}]
---
apiVersion: v1
kind: Service
metadata: {{name: s, namespace: ns}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: HTTPRouteFilter
metadata: {{name: f, namespace: ns}}
spec: {spec}
---
{more}"
    ))
}

fn rule(translation: &Translation) -> &RawRule {
    &translation.gateways.values().next().expect("a Gateway").document.routes[0].rules[0]
}

#[test]
fn a_path_is_changed_by_a_pattern_and_a_host_by_a_header() {
    let spec = r"{urlRewrite: {
        hostname: {type: Header, header: x-host},
        path: {type: ReplaceRegexMatch, replaceRegexMatch: {pattern: '^/a/(.*)$', substitution: '/\1'}}}}";
    let translation = with_filter(spec, "", "");
    let rewrite = rule(&translation).url_rewrite.as_ref().unwrap();
    assert_eq!(rewrite.hostname_header.as_deref(), Some("x-host"));
    let path = rewrite.path.as_ref().unwrap();
    assert_eq!(path.kind, RawPathRewriteType::ReplaceRegexMatch);
    assert_eq!(path.replace_regex_match.as_ref().unwrap().substitution, r"/\1");
    // Upstreams are called by their names in any case.
    let backend = with_filter("{urlRewrite: {hostname: {type: Backend}}}", "", "");
    assert!(rule(&backend).url_rewrite.is_none() && rule(&backend).targets[0].status.is_none());
}

#[test]
fn an_answer_takes_the_place_of_everything_else() {
    let inline = "{directResponse: {statusCode: 503, contentType: text/plain, body: {type: Inline, inline: 'back soon'}, \
                  header: {set: [{name: x-a, value: b}]}}}";
    let translation = with_filter(inline, "", "");
    let found = rule(&translation);
    let respond = found.respond.as_ref().unwrap();
    assert_eq!((respond.status, respond.body.as_str()), (503, "back soon"));
    assert_eq!(respond.content_type.as_deref(), Some("text/plain"));
    assert_eq!(found.response_headers.set[0].name, "x-a");
    assert!(found.targets.is_empty());
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: page, namespace: ns}\n\
               data: {response.body: from the map}\n---\n";
    let spec =
        "{directResponse: {body: {type: ValueRef, valueRef: {group: '', kind: ConfigMap, name: page}}}}";
    let translation = with_filter(spec, "", map);
    let respond = rule(&translation).respond.as_ref().unwrap();
    assert_eq!((respond.status, respond.body.as_str()), (200, "from the map"));
    let key = penstock_translate::world::Key::new("ns", "page");
    assert!(translation.wanted.contains(&ObjectId { kind: Kind::ConfigMap, key }));
}

#[test]
fn requests_are_sent_with_a_secret_that_is_published() {
    let secret = |value: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: k, namespace: ns}}\nstringData: {{credential: '{value}'}}\n---\n"
        )
    };
    let spec = "{credentialInjection: {header: X-Key, overwrite: true, credential: {valueRef: {name: k}}}}";
    let translation = with_filter(spec, "", &secret("Basic aGk="));
    let credential = rule(&translation).credential.as_ref().unwrap();
    assert_eq!((credential.header.as_deref(), credential.overwrite), (Some("X-Key"), true));
    let gateway = translation.gateways.values().next().unwrap();
    let key = credential.file.strip_prefix("secret:").unwrap();
    assert!(gateway.secrets.contains_key(key), "{key} is published");
    assert!(gateway.document.secrets_from.is_some());
    let document = serde_json::to_string(&gateway.document).unwrap();
    assert!(!document.contains("aGk="), "the value itself is in no document");
    let plain =
        with_filter("{credentialInjection: {credential: {valueRef: {name: k}}}}", "", &secret("Bearer x"));
    let credential = rule(&plain).credential.as_ref().unwrap();
    assert_eq!((credential.header.as_deref(), credential.overwrite), (None, false));
    // What cannot stand in a header, or is not there, closes.
    for value in ["", "a\u{e9}b"] {
        let translation = with_filter(spec, "", &secret(value));
        assert_eq!(rule(&translation).targets[0].status, Some(500), "{value:?}");
        let (_, _, message) = condition(&translation, (Kind::HttpRoute, "r"), "Accepted");
        assert!(message.contains("the Secret ns/k has no key credential"), "{message}");
    }
}

#[test]
fn a_filter_that_cannot_be_closes_its_rule_and_the_route_says_why() {
    let rewrite = "- {type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /b}}}";
    let pattern =
        "{urlRewrite: {path: {type: ReplaceRegexMatch, replaceRegexMatch: {pattern: a, substitution: b}}}}";
    for (spec, others, word) in [
        (
            "{credentialInjection: {credential: {}}}",
            "",
            "spec.credentialInjection.credential.valueRef is missing",
        ),
        (
            "{credentialInjection: {credential: {valueRef: {name: gone}}}}",
            "",
            "the Secret ns/gone does not exist",
        ),
        (
            "{credentialInjection: {credential: {valueRef: {name: k, namespace: elsewhere}}}}",
            "",
            "spec.credentialInjection.credential.valueRef",
        ),
        ("{credentialInjection: {later: 1}}", "", "spec.credentialInjection.later"),
        ("{matches: [{}]}", "", "spec.matches is not supported"),
        ("{urlRewrite: {hostname: {type: Cookie}}}", "", "spec.urlRewrite.hostname.type"),
        ("{urlRewrite: {path: {type: ReplaceFullPath}}}", "", "spec.urlRewrite.path is not of type"),
        ("{urlRewrite: {appendXForwardedHost: true}}", "", "spec.urlRewrite.appendXForwardedHost"),
        ("{directResponse: {statusCode: 99}}", "", "spec.directResponse.statusCode"),
        (
            "{directResponse: {body: {type: ValueRef, valueRef: {kind: ConfigMap, name: gone}}}}",
            "",
            "ns/gone",
        ),
        ("{directResponse: {later: {}}}", "", "spec.directResponse.later"),
        ("{urlRewrite: {hostname: {type: Backend, later: 1}}}", "", "spec.urlRewrite.hostname.later"),
        (
            "{urlRewrite: {path: {type: ReplaceRegexMatch, later: 1, replaceRegexMatch: {pattern: a}}}}",
            "",
            "spec.urlRewrite.path.later",
        ),
        (
            "{urlRewrite: {path: {type: ReplaceRegexMatch, replaceRegexMatch: {pattern: a, later: 1}}}}",
            "",
            "spec.urlRewrite.path.replaceRegexMatch.later",
        ),
        ("{directResponse: {body: {inline: a, later: 1}}}", "", "spec.directResponse.body.later"),
        (
            "{directResponse: {body: {type: ValueRef, valueRef: {kind: ConfigMap, name: a, later: 1}}}}",
            "",
            "spec.directResponse.body.valueRef.later",
        ),
        ("{directResponse: {header: {later: []}}}", "", "spec.directResponse.header.later"),
        (
            "{directResponse: {header: {set: [{name: a, value: b, later: 1}]}}}",
            "",
            "spec.directResponse.header.later",
        ),
        ("{directResponse: 1}", "", "the HTTPRouteFilter ns/f"),
        (pattern, rewrite, "two filters change the path"),
    ] {
        let translation = with_filter(spec, others, "");
        let statuses: Vec<_> = rule(&translation).targets.iter().map(|target| target.status).collect();
        assert_eq!(statuses, [Some(500)], "{spec}");
        assert!(rule(&translation).respond.is_none(), "{spec}");
        let (_, _, message) = condition(&translation, (Kind::HttpRoute, "r"), "Accepted");
        assert!(message.contains(word), "{spec}: {message}");
    }
}
