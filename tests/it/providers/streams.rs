//! Open streams, `WebSocket`s among them, end within a second of the session that allowed them: by a new
//! password, another e-mail, a link that goes, a provider's word.

use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis::accounts::LinkKind;
use portcullis::store::Event;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;

use super::double::{Double, Said, gateway_of, gitlab};
use super::{me, parameter};
use crate::harness::{Gateway, Stopwatch};
use crate::raw::{Client, PATIENCE, Raw};
use crate::upstream::{self, Upstream};
use crate::websocket::{echoes, handshake, open, time_to_end};

/// How soon what ended counts.
const PROMISE: Duration = Duration::from_secs(1);
const NEW: &str = "nine herons over the weir";

/// What somebody holds open.
struct Open {
    socket: WebSocketStream<TcpStream>,
    events: Raw,
}

impl Open {
    async fn by(client: &Client) -> Self {
        let call = handshake(client, "/ws").header("Origin", &client.origin());
        let socket = open(call).await;
        let mut events = client.get("/events").open().await;
        assert_eq!(events.head().await.status, 200);
        events.read_until("data: 1\n").await;
        Self { socket, events }
    }

    async fn time_to_end(&mut self) -> Duration {
        let watch = Stopwatch::start();
        let (socket, ()) = tokio::join!(time_to_end(&mut self.socket), async {
            self.events.read_to_end().await;
        });
        socket.max(watch.elapsed())
    }

    /// Whether both are open, also after whatever could have cut them has had its time.
    async fn lives(&mut self) -> bool {
        let is_cut = self.events.is_closed_within(PROMISE).await;
        !is_cut && echoes(&mut self.socket, "still here").await
    }
}

/// Does something while all of these hold streams open: it ends those of the latter alone, and at once.
async fn strike(what: &str, kept: &[&Client], ended: &[&Client], blow: impl Future<Output = ()>) {
    let mut kept = join_all(kept.iter().map(|client| Open::by(client))).await;
    let mut ended = join_all(ended.iter().map(|client| Open::by(client))).await;
    blow.await;
    for took in join_all(ended.iter_mut().map(Open::time_to_end)).await {
        assert!(took < PROMISE, "{what}: {took:?}");
    }
    for alive in join_all(kept.iter_mut().map(Open::lives)).await {
        assert!(alive, "{what}: one's own session, or another's");
    }
}

async fn change(client: &Client, body: Value) {
    let call = client.call("PATCH", "/auth/users/me");
    call.body("application/json", body.to_string()).send().await.expect(200);
}

/// A gateway with GitLab, before an application that streams.
async fn start(more: &str) -> (Upstream, Double, Gateway) {
    let mut service = gitlab();
    service.keys.push_str(more);
    let (app, double) = (Upstream::start(), Double::start(service));
    app.at("/ws", upstream::echo_websocket);
    app.at("/events", |exchange| upstream::event_stream(exchange, Duration::from_millis(50)));
    let gateway = gateway_of(&app, &[&double]).await;
    (app, double, gateway)
}

/// Signs Ann in by the provider, in a session of its own there.
async fn by_provider(double: &Double, gateway: &Gateway, session: &str) -> Client {
    let sid = Said { id_token: json!({ "sid": session }), userinfo: Value::Null };
    double.says(double.service().ann.with(&sid));
    let client = gateway.client();
    double.sign_in(&client).await.expect(204);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_what_their_owner_changes_and_those_of_the_own_session_stay() {
    let (_app, double, gateway) = start("").await;
    let own = gateway.person("ann").sign_in().await;
    let bob = gateway.person("bob").sign_in().await;
    let other = gateway.sign_in_with_bearer("ann").await;
    let provider = by_provider(&double, &gateway, "first").await;
    assert_eq!(me(&provider).await["id"], me(&own).await["id"]);
    strike("unlink", &[&own, &other, &bob], &[&provider], async {
        own.call("DELETE", "/auth/associate/gitlab").send().await.expect(204);
    })
    .await;
    let provider = by_provider(&double, &gateway, "second").await;
    strike("password", &[&own, &bob], &[&other, &provider], async {
        change(&own, json!({ "password": NEW })).await;
    })
    .await;
    let provider = by_provider(&double, &gateway, "third").await;
    strike("e-mail", &[&own, &bob], &[&provider], async {
        change(&own, json!({ "email": "anna@example.com" })).await;
    })
    .await;
    let reset = gateway.link("anna", LinkKind::Reset).await;
    strike("reset", &[&bob], &[&own], async {
        let body = json!({ "token": parameter(&reset, "token"), "password": "ten lanterns lit the harbour wall" });
        let call = gateway.client().post("/auth/reset-password");
        call.body("application/json", body.to_string()).send().await.expect(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_by_the_word_of_the_provider_that_allowed_them() {
    let (_app, double, gateway) = start(", recheck: 1s").await;
    let own = gateway.person("ann").sign_in().await;
    let first = by_provider(&double, &gateway, "first").await;
    let second = by_provider(&double, &gateway, "second").await;
    strike("back-channel logout", &[&own, &second], &[&first], async {
        let token = double.logout_token("first");
        let call = gateway.client().post("/auth/gitlab/backchannel-logout");
        call.form(&[("logout_token", &token)]).send().await.expect(200);
    })
    .await;
    let turned_away = Box::pin(async {
        double.says(double.service().ann.with(&double.service().foreign));
        let store = gateway.running.store();
        let is_asked = |event: &Event| event.detail == "gitlab: no longer among `who`";
        let waiting = async {
            while !store.list_events(None, 10).await.unwrap().iter().any(is_asked) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("nobody is asked again");
    });
    strike("recheck", &[&own], &[&second], turned_away).await;
}
