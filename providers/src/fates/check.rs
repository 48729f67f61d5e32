//! The declaration is true: each sample is translated to each upstream, with the member and without.

use http::HeaderMap;
use serde_json::{Map, Value as Json};

use super::{CLIENTS, Client, Fate, Row, Upstream};
use crate::provider::{Call, Place, Provider};

/// What was left out, and the body.
type Translated = Result<(Vec<String>, Json), String>;

#[test]
fn every_member_has_the_fate_that_is_declared() {
    let mut wrong = Vec::new();
    for client in &CLIENTS {
        for row in client.rows {
            let (member, _, fates) = row;
            assert_eq!(fates.len(), client.upstreams.len(), "{member}");
            for (upstream, fate) in client.upstreams.iter().zip(*fates) {
                if let Err(found) = check(client, row, upstream, *fate) {
                    wrong.push(format!(
                        "{} {member} at {}: {fate:?}, but {found}",
                        client.path, upstream.name
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_member_is_declared_once() {
    for client in &CLIENTS {
        for (at, (member, ..)) in client.rows.iter().enumerate() {
            assert!(client.rows[..at].iter().all(|(known, ..)| known != member), "{member}");
        }
    }
}

/// Says what happens instead of `fate`.
fn check(client: &Client, (member, sample, _): &Row, upstream: &Upstream, fate: Fate) -> Result<(), String> {
    let mut with = parsed(client.minimal);
    merge(&mut with, parsed(sample));
    let mut without = with.clone();
    remove(&mut without, &steps(member));
    if with == without {
        return Err("the sample does not have it".to_owned());
    }
    let translated = translate(client, upstream, &with);
    let before = translate(client, upstream, &without);
    let found = || match (&translated, &before) {
        (Err(refused), _) => format!("refused: {refused}"),
        (Ok((dropped, body)), Ok((_, before))) => {
            format!("left out {dropped:?}, changed {}", differences("", body, before).join(" "))
        }
        (Ok((dropped, body)), Err(_)) => format!("left out {dropped:?}, {body}"),
    };
    let holds = match (&translated, fate) {
        (Err(refused), Fate::Refused(name)) => refused.starts_with(&format!("{name}:")),
        (Err(_), _) | (Ok(_), Fate::Refused(_)) => false,
        (Ok((dropped, body)), Fate::To(place)) => {
            is_said(place, body, &before) && told(dropped, &before).is_empty()
        }
        (Ok((dropped, body)), Fate::Partly(place, name)) => {
            is_said(place, body, &before) && told(dropped, &before) == [name]
        }
        (Ok((dropped, body)), Fate::Dropped(name)) => {
            told(dropped, &before) == [name] && before.as_ref().is_ok_and(|(_, before)| before == body)
        }
        (Ok((dropped, body)), Fate::Moot(_)) => {
            told(dropped, &before).is_empty() && before.as_ref().is_ok_and(|(_, before)| before == body)
        }
    };
    if holds { Ok(()) } else { Err(found()) }
}

/// What is left out because of the member.
fn told<'d>(dropped: &'d [String], before: &Translated) -> Vec<&'d str> {
    let names = dropped.iter().map(String::as_str);
    let is_new =
        |name: &&str| before.as_ref().map_or(true, |(before, _)| before.iter().all(|known| known != name));
    names.filter(is_new).collect()
}

/// Whether something is at this place that is not there without the member.
fn is_said(place: &str, body: &Json, before: &Translated) -> bool {
    let place = format!("/{}", place.replace(['.', '['], "/").replace(']', ""));
    let there = body.pointer(&place);
    there.is_some() && there != before.as_ref().ok().and_then(|(_, before)| before.pointer(&place))
}

fn translate(client: &Client, upstream: &Upstream, body: &Json) -> Translated {
    let (headers, body) = (HeaderMap::new(), body.to_string());
    let call = Call {
        model: Some(upstream.model),
        asked_model: Some("m"),
        request_id: "r",
        ..Call::new(client.path, &headers, body.as_bytes())
    };
    assert_eq!(call.api, Some(client.api));
    let provider = Provider::new(upstream.schema, Place::default(), upstream.is_engine);
    let encoded = provider.encode(&call).map_err(|refused| refused.to_string())?;
    let body = serde_json::from_slice(&encoded.body.expect("it is translated").concat(call.body));
    let body = body.expect("what is written is JSON");
    Ok((encoded.dropped.iter().map(ToString::to_string).collect(), body))
}

fn parsed(json: &str) -> Json {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn merge(request: &mut Json, sample: Json) {
    let (Json::Object(request), Json::Object(sample)) = (request, sample) else { panic!("no objects") };
    request.extend(sample);
}

/// `a[].b[x].c` as `a`, `[]`, `b`, `[x]`, `c`.
fn steps(member: &str) -> Vec<&str> {
    let steps = member.split('.').flat_map(|step| match step.split_once('[') {
        Some((name, _)) => vec![name, &step[name.len()..]],
        None => vec![step],
    });
    steps.collect()
}

fn remove(value: &mut Json, steps: &[&str]) {
    let Some((step, rest)) = steps.split_first() else { return };
    match (value, step.strip_prefix('[').and_then(|step| step.strip_suffix(']'))) {
        (Json::Array(items), Some(kind)) => {
            let is_meant = |item: &Json| kind.is_empty() || item["type"] == kind;
            if rest.is_empty() {
                items.retain(|item| !is_meant(item));
            }
            items.iter_mut().filter(|item| is_meant(item)).for_each(|item| remove(item, rest));
        }
        (Json::Object(members), None) if rest.is_empty() => drop(members.remove(*step)),
        (Json::Object(members), None) => {
            if let Some(member) = members.get_mut(*step) {
                remove(member, rest);
            }
        }
        _ => {}
    }
}

/// Places at which two documents differ.
fn differences(at: &str, one: &Json, other: &Json) -> Vec<String> {
    let none = Map::new();
    let mut places = Vec::new();
    match (one, other) {
        (Json::Object(one), other) if other.is_object() || other.is_null() => {
            let other = other.as_object().unwrap_or(&none);
            let dot = if at.is_empty() { "" } else { "." };
            for (name, value) in one {
                let other = other.get(name).unwrap_or(&Json::Null);
                places.extend(differences(&format!("{at}{dot}{name}"), value, other));
            }
            places.extend(
                other.keys().filter(|name| !one.contains_key(*name)).map(|name| format!("-{at}{dot}{name}")),
            );
        }
        (Json::Array(one), other) if other.is_array() || other.is_null() => {
            let other = other.as_array().map_or(&[][..], Vec::as_slice);
            for (index, value) in one.iter().enumerate() {
                let other = other.get(index).unwrap_or(&Json::Null);
                places.extend(differences(&format!("{at}[{index}]"), value, other));
            }
        }
        (one, other) if one != other => places.push(at.to_owned()),
        _ => {}
    }
    places
}
