//! Attack cases, named by their ids in `docs/attack-cases.md`. Each is a generator over variants, on raw
//! sockets against an upstream that records what it receives.

mod brute_force;
mod cookies;
mod credentials;
mod dependencies;
mod forwarded;
mod framing;
mod headers;
mod identities;
mod landings;
mod ledger;
mod markup;
mod origins;
mod outputs;
mod panics;
mod paths;
mod races;
mod reader;
mod redirects;
mod sessions;
mod sizes;
mod spelling;
mod timing;
mod trial;

use tokio::time::timeout;

use crate::harness::Gateway;
use crate::raw::{PATIENCE, Raw};
use crate::upstream::Upstream;

const YAML: &str = r#"
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: public }
  - { path: "/private", upstream: app, allow: authenticated }
"#;

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

/// Sends bytes on a connection of their own; the status of the first answer.
async fn status_of(gateway: &Gateway, bytes: &str) -> u16 {
    let mut raw = Raw::connect(gateway.address).await;
    raw.send(bytes).await;
    timeout(PATIENCE, raw.try_head()).await.unwrap().map_or(0, |head| head.status)
}
