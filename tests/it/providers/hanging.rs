//! A provider that takes requests and never answers.

use std::time::Duration;

use super::double::{Double, KEYS, discord, gateway_of, gitlab};
use super::me;
use crate::harness::{Gateway, Stopwatch};
use crate::raw::{Client, Raw};
use crate::upstream::Upstream;

/// Callbacks that a provider is asked about at a time.
const PLACES: usize = 64;
/// How long a provider may take, and what answering it takes beyond that here.
const IN_TIME: Duration = Duration::from_secs(13);

/// So many people come back at once, each with a good state and code; their open requests, and a watch of how long
/// these take.
async fn come_back(gateway: &Gateway, double: &Double, count: usize) -> (Vec<Raw>, Stopwatch) {
    let mut backs: Vec<(Client, String)> = Vec::new();
    for _ in 0..count {
        let client = gateway.client();
        let back = double.go(&client).await;
        backs.push((client, back));
    }
    let watch = Stopwatch::start();
    let mut waiting = Vec::new();
    for (client, back) in backs {
        waiting.push(client.get(&back).open().await);
    }
    (waiting, watch)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_holds_up_its_own_people_alone_and_costs_nobody_a_try() {
    let app = Upstream::start();
    let (slow, other) = (Double::start(discord()), Double::start(gitlab()));
    let gateway = gateway_of(&app, &[&slow, &other]).await;
    gateway.person("bob").create().await;
    let late = gateway.client();
    let late_back = slow.go(&late).await;
    slow.hangs(slow.service().token);
    let (waiting, watch) = come_back(&gateway, &slow, PLACES).await;
    slow.server.wait_for_connections(PLACES).await;
    // One more finds no place, and may come again with what it has.
    let full = late.get(&late_back).send().await.expect(429);
    assert!(full.header("retry-after").is_some());
    // Nobody else waits.
    let ann = gateway.client();
    other.sign_in(&ann).await.expect(204);
    me(&ann).await;
    me(&gateway.sign_in("bob").await).await;
    for mut raw in waiting {
        assert_eq!(raw.response("GET").await.expect(502).detail(), "Bad Gateway");
    }
    let took = watch.elapsed();
    assert!(took > Duration::from_secs(9) && took < IN_TIME, "{took:?}");
    // Every place is free again, also of those whose client goes away.
    let (waiting, _watch) = come_back(&gateway, &slow, PLACES).await;
    slow.server.wait_for_connections(PLACES).await;
    drop(waiting);
    slow.server.wait_for_connections(0).await;
    // Of all these no try was counted.
    slow.recovers();
    late.get(&late_back).send().await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_never_come_are_asked_for_once_and_tell_everybody_in_time() {
    let app = Upstream::start();
    let (slow, other) = (Double::start(gitlab()), Double::start(discord()));
    let gateway = gateway_of(&app, &[&slow, &other]).await;
    slow.hangs(KEYS);
    let (waiting, watch) = come_back(&gateway, &slow, 24).await;
    let is_for_keys = |seen: &crate::upstream::Seen| seen.target() == KEYS;
    slow.server.wait_for(is_for_keys).await;
    other.sign_in(&gateway.client()).await.expect(204);
    for mut raw in waiting {
        assert_eq!(raw.response("GET").await.expect(502).detail(), "Bad Gateway");
    }
    let took = watch.elapsed();
    assert!(took < IN_TIME, "{took:?}");
    assert_eq!(slow.server.seen().iter().filter(|seen| is_for_keys(seen)).count(), 1);
    slow.recovers();
    gateway.pass(Duration::from_secs(2)).await;
    slow.sign_in(&gateway.client()).await.expect(204);
}
