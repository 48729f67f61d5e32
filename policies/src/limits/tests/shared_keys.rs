//! By what the store knows counters that gateways share.

use penstock_config::{LimitSpec, PolicySpec};

use crate::limits::testing::{Request, at, policy, requests, reserve, usage};
use crate::limits::{Counters, Limiter, Stop, is_common};

/// The key of the counter of a limit.
fn key(policy_name: &str, limit: LimitSpec) -> String {
    let limit = LimitSpec { is_shared: true, ..limit };
    let policy = PolicySpec { name: policy_name.into(), ..policy([limit]) };
    let counters = Counters::new(10);
    let limiter = Limiter::new(&policy, &counters, 2, true).unwrap();
    assert!(matches!(reserve(&limiter, &Request::by("a"), usage(0, 0), at(0.0)), Err(Stop::Wait(_))));
    counters.leased().next(at(0.0)).unwrap().key.to_string()
}

#[test]
fn what_belongs_to_an_owner_is_one_counter_whatever_the_policies_are_called() {
    let key = |name: &str, owner: Option<&str>| {
        key(name, LimitSpec { shared_as: owner.map(Into::into), ..requests(1) })
    };
    assert_ne!(key("one", None), key("two", None));
    let owned = key("one", Some("quota.azure"));
    assert!(owned.starts_with("as:quota.azure/requests/") && is_common(&owned), "{owned}");
    assert_eq!(owned, key("two", Some("quota.azure")));
    assert_ne!(owned, key("one", Some("quota.aws")));
    // A policy of that name has other counters.
    let of_policy = key("quota.azure", None);
    assert!(!is_common(&of_policy));
    assert_ne!(owned.rsplit('/').next(), of_policy.rsplit('/').next());
}

#[test]
fn long_names_are_not_kept_for_each_counter_and_tell_counters_apart() {
    let limit = LimitSpec { name: "l".repeat(253).into(), ..requests(1) };
    let (long, other) = ("p".repeat(253), format!("{}q", "p".repeat(252)));
    let keys = [long, other].map(|name| key(&name, limit.clone()));
    assert!(keys.iter().all(|key| key.len() <= 200), "{keys:?}");
    assert_ne!(keys[0], keys[1]);
}
