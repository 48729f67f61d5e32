//! Model servers come and go under a closed loop of clients.

use penstock_sim::options::Options;
use serde_json::json;

use crate::harness::{Gateway, Load, MODEL, chat, pool, post_json, sim_with, sims, until};

/// `kill -9` of one of three servers, and its return, cost no request that is not streamed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_when_a_server_is_killed_and_comes_back() {
    let [a, b, victim] = sims().await;
    let addr = victim.addr();
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [{"pool": "p"}]}]}],
        "pools": [crate::harness::with(pool("p", &[a.addr(), b.addr(), addr]), json!({
            "ejection": {"baseTime": "200ms", "maxTime": "400ms"},
        }))],
    }))
    .await;
    let load = Load::start(gateway.addr(), 64, |number| {
        // Prompts differ, so that no server is preferred for its cache.
        let mut asked = chat(MODEL, false);
        asked["messages"][0]["content"] = format!("{number}: why?").into();
        post_json("/v1/chat/completions", &asked)
    });
    let mut victim = victim;
    for round in 1..=3 {
        until(&victim, |stats| stats.completed > 50).await;
        victim.kill();
        victim.join().await;
        load.more(300).await;
        victim = sim_with(Options { listen: addr, model: MODEL.to_owned(), ..Options::default() }).await;
        until(&victim, |stats| stats.completed > 0).await;
        println!("round {round}: {} requests answered", load.answered());
    }
    let (answered, failures) = load.stop().await;
    assert_eq!(failures, [""; 0], "{answered} were answered");
    let log = gateway.log(answered).await;
    let retried = log.iter().filter(|line| line["attempts"].as_u64() > Some(1)).count();
    println!("{answered} requests answered, {retried} after more than one attempt");
    assert!(retried > 0, "nothing was in flight at the server that was killed");
    gateway.stop().await;
}
