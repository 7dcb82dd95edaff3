//! `examples/bokeh` run for real: a Bokeh server, whose own check of origins and whose subprotocol are
//! nobody else's business, and Chromium.

use std::process::Command;

use serde_json::Value;

use crate::application::{Application, Start, bearer};
use crate::browser::{Browser, python};
use crate::harness::{PASSWORD, Process};
use crate::raw::{Call, Client};

/// Bokeh about to be started as the README says.
fn bokeh(origin: &str) -> Start {
    Application::prepare("bokeh", &["-m", "bokeh", "serve", "app.py"])
        .argument("--address=127.0.0.1")
        .argument("--port={port}")
        .argument("--session-ids=signed")
        .argument(&format!("--allow-websocket-origin={origin}"))
        .with("BOKEH_SECRET_KEY", "a secret of the test's own")
}

async fn start(origin: &str) -> (Application, Process) {
    let server = bokeh(origin).start().await;
    let process = server.behind_the_gateway().await;
    process.create_user("ann", &["--first-name", "Ann", "--last-name", "<Ømer>"]);
    (server, process)
}

/// The token the page hands to its script, which goes into the handshake as a subprotocol.
async fn token(client: &Client) -> String {
    let forged = client.get("/app").header("X-Auth-Name", "root").header("X_Auth_Name", "root");
    let page = forged.send().await.expect(200).text();
    let token = page.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next());
    token.unwrap_or_else(|| panic!("no token: {page}")).to_owned()
}

fn handshake(client: &Client, token: &str) -> Call {
    client
        .get("/app/ws")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Origin", &client.origin())
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Protocol", &format!("bokeh, {token}"))
}

/// What Bokeh put into a token.
fn payload(token: &str) -> Value {
    let program = "import json, sys; from bokeh.util.token import get_token_payload; \
                   print(json.dumps(get_token_payload(sys.argv[1])))";
    let output = Command::new(python()).args(["-c", program, token]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_a_widget_moves_python_and_python_the_page() {
    let (_server, process) = start("127.0.0.1:{gateway}").await;
    let site = format!("http://{}", process.address);
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/app")).await;
    assert!(browser.address().await.starts_with(&format!("{site}/auth/login?next=%2Fapp")));
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address == format!("{site}/app")).await;
    browser.wait_to_show("Hello, Ann <Ømer>. You see 1 wave.").await;
    let focus = "const find = (root) => {
            for (const node of root.querySelectorAll('*')) {
                if (node.matches('.noUi-handle')) return node;
                const inner = node.shadowRoot && find(node.shadowRoot);
                if (inner) return inner;
            }
        };
        find(document).focus();";
    browser.script(focus, Vec::new()).await;
    for waves in [2, 3] {
        browser.press(thirtyfour::Key::Right + "").await;
        browser.wait_to_show(&format!("Hello, Ann <Ømer>. You see {waves} waves.")).await;
    }
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bokehs_token_and_subprotocol_pass_untouched() {
    let (server, process) = start("127.0.0.1:{gateway}").await;
    let ann = process.sign_in("ann").await;
    let token = token(&ann).await;
    let mut raw = handshake(&ann, &token).open().await;
    let head = raw.head().await;
    assert_eq!((head.status, head.header("sec-websocket-protocol")), (101, Some("bokeh")));
    raw.read_until("\"msgtype\": \"ACK\"").await;

    // What the application reads of the page's request stands in the token.
    let payload = payload(&token);
    let headers = &payload["headers"];
    assert_eq!(headers["Host"], process.address.to_string());
    assert_eq!(headers["X-Auth-Name"], "Ann <%C3%98mer>");
    assert_eq!(headers["X-Auth-Email"], "ann@example.com");
    assert!(!payload.to_string().contains("root"), "{payload}");
    assert!(!payload.to_string().contains("portcullis"), "the session's cookie: {payload}");

    // So a token somebody wrote must be refused, which Bokeh does when it signs them.
    let unsigned = token.split('.').next().unwrap();
    let mut raw = handshake(&ann, unsigned).open().await;
    assert_eq!(raw.head().await.status, 101);
    let rest = String::from_utf8_lossy(&raw.read_to_end().await).into_owned();
    assert!(!rest.contains("ACK"), "{rest}");
    server.wait_for("Invalid token signature").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bokehs_own_check_of_origins_stands_beside_the_gateways() {
    let (server, process) = start("friend.example:80").await;
    let ann = process.sign_in("ann").await;
    let token = token(&ann).await;
    // The page's origin is the host it asked for, which Bokeh learns, so it needs no listing.
    let mut raw = handshake(&ann, &token).open().await;
    assert_eq!(raw.head().await.status, 101);
    // What a bearer vouches for may come from anywhere, as far as the gateway goes. Bokeh looks too.
    let script = process.client().with_bearer(&bearer(&process, "ann").await);
    let friend = handshake(&script, &token).with("Origin", "http://friend.example");
    assert_eq!(friend.open().await.head().await.status, 101);
    let evil = handshake(&script, &token).with("Origin", "https://evil.example");
    assert_eq!(evil.send().await.expect(403).text(), "Cross origin websockets not allowed");
    server.wait_for("Refusing websocket connection from Origin 'https://evil.example'").await;

    // The other way about: an origin Bokeh would take is refused before it is asked.
    let handshakes = || server.said().matches("WebSocket connection opened").count();
    let before = handshakes();
    let friend = handshake(&ann, &token).with("Origin", "http://friend.example");
    assert_eq!(friend.send().await.expect(403).detail(), "Cross-site request");
    let nobody = handshake(&process.client(), &token);
    nobody.send().await.expect(401);
    assert_eq!(handshakes(), before, "something reached Bokeh");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_host_is_not_preserved_bokehs_list_decides_alone() {
    let target = "\"http://127.0.0.1:${APP_PORT:-5006}\"";
    let other_host = format!("{{ targets: [{target}], host: upstream }}");
    let server = bokeh("friend.example:80").start().await;
    let process = server.behind_the_gateway_with(|yaml| yaml.replace(target, &other_host)).await;
    process.create_user("ann", &[]);
    let ann = process.sign_in("ann").await;
    let token = token(&ann).await;
    let own = handshake(&ann, &token).send().await.expect(403);
    assert_eq!(own.text(), "Cross origin websockets not allowed");
    let script = process.client().with_bearer(&bearer(&process, "ann").await);
    let listed = handshake(&script, &token).with("Origin", "http://friend.example");
    assert_eq!(listed.open().await.head().await.status, 101);
}
