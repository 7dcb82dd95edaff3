//! `examples/websockets` run for real: a server and a client on the library `websockets`, and Chromium,
//! with the gateway's file as it stands in the example.

use std::process::Command;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::application::{Application, bearer, example};
use crate::browser::{Browser, python};
use crate::harness::{PASSWORD, Process, Stopwatch, email};
use crate::raw::{Call, Client, Raw};

/// How long a revocation may take to be in force: `docs/revoke-someone.md`.
const BOUND: Duration = Duration::from_secs(1);

async fn start() -> (Application, Process) {
    let room =
        Application::prepare("websockets", &["app.py"]).with("APP_PORT", "{port}").start().await;
    let process = room.behind_the_gateway().await;
    for who in ["ann", "bob"] {
        process.create_user(who, &["--role", "guest"]);
    }
    (room, process)
}

/// A handshake as the room's own page sends it.
fn handshake(client: &Client) -> Call {
    client
        .get("/socket")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Origin", &client.origin())
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// Enters the room; the welcome is still to be read.
async fn enter(call: Call) -> Raw {
    let mut raw = call.open().await;
    let head = raw.head().await;
    assert_eq!(head.status, 101, "{head:?}");
    raw
}

type Socket = WebSocketStream<TcpStream>;

/// Somebody in the room, who has been welcomed by name.
async fn guest(client: &Client, who: &str) -> Socket {
    let mut raw = enter(handshake(client)).await;
    let (opcode, _, welcome) = frame(&mut raw).await;
    let welcome = String::from_utf8(welcome).unwrap();
    assert_eq!(
        (opcode, &*welcome),
        (TEXT, &*format!("Welcome, {}. Your roles: guest.", email(who)))
    );
    WebSocketStream::from_raw_socket(raw.into_stream(), Role::Client, None).await
}

async fn next(socket: &mut Socket) -> Option<Message> {
    let next = tokio::time::timeout(Duration::from_secs(20), socket.next()).await;
    next.expect("nothing is heard").and_then(Result::ok)
}

async fn hears(socket: &mut Socket, expected: &str) {
    assert_eq!(next(socket).await, Some(Message::text(expected)));
}

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Reads one frame as it is: what a library would put together is seen apart (RFC 6455 section 5.2).
async fn frame(raw: &mut Raw) -> (u8, bool, Vec<u8>) {
    let head = raw.read_exact(2).await;
    let length = match head[1] {
        126 => u64::from(u16::from_be_bytes(raw.read_exact(2).await.try_into().unwrap())),
        127 => u64::from_be_bytes(raw.read_exact(8).await.try_into().unwrap()),
        short => u64::from(short),
    };
    let payload = raw.read_exact(usize::try_from(length).unwrap()).await;
    (head[0] & 0x0f, head[0] & 0x80 != 0, payload)
}

/// Writes one frame, masked by zeros, which leave the payload as it is.
async fn send_frame(raw: &mut Raw, opcode: u8, is_final: bool, payload: &[u8]) {
    let mut bytes = vec![opcode | if is_final { 0x80 } else { 0 }, 0x80 | 127];
    if payload.len() < 126 {
        bytes[1] = 0x80 | u8::try_from(payload.len()).unwrap();
    } else {
        bytes.extend((payload.len() as u64).to_be_bytes());
    }
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
    raw.send(bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_and_pings_pass_both_ways_and_the_room_knows_who_speaks() {
    let (_room, process) = start().await;
    let (ann, bob) = (process.sign_in("ann").await, process.sign_in("bob").await);
    let (mut hers, mut his) = (guest(&ann, "ann").await, guest(&bob, "bob").await);
    hers.send(Message::text("good morning")).await.unwrap();
    for socket in [&mut hers, &mut his] {
        hears(socket, "ann@example.com: good morning").await;
    }

    // Every byte has a place of its own, so a block lost or changed about would be seen.
    let large: Vec<u8> =
        (0..5 * 1024 * 1024 + 17_u32).map(|at| (at / 7 + at / 65_537).to_le_bytes()[0]).collect();
    hers.send(Message::binary(large.clone())).await.unwrap();
    assert!(next(&mut hers).await == Some(Message::binary(large)), "not what was sent");

    hers.send(Message::Ping("still there?".into())).await.unwrap();
    assert_eq!(next(&mut hers).await, Some(Message::Pong("still there?".into())));
    hers.send(Message::text("/ping")).await.unwrap();
    assert_eq!(next(&mut hers).await, Some(Message::Ping("are you there?".into())));
    let answered = next(&mut hers).await.unwrap().into_text().unwrap();
    assert!(answered.starts_with("You answered within "), "{answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_stay_apart_as_they_were_sent() {
    let (_room, process) = start().await;
    let ann = process.sign_in("ann").await;
    let forged = handshake(&ann).header("X-Auth-Email", "bob@example.com");
    let mut raw = enter(forged.header("X-Auth-Roles", "admin")).await;
    let (_, _, welcome) = frame(&mut raw).await;
    let welcome = String::from_utf8(welcome).unwrap();
    assert_eq!(welcome, "Welcome, ann@example.com. Your roles: guest.");

    let parts: [Vec<u8>; 4] = [vec![1; 300_000], Vec::new(), vec![2; 1], vec![3; 70_000]];
    send_frame(&mut raw, BINARY, false, &parts[0]).await;
    send_frame(&mut raw, CONTINUATION, false, &parts[1]).await;
    // What is said between the parts of a message is heard between them.
    send_frame(&mut raw, PING, true, b"in between").await;
    assert_eq!(frame(&mut raw).await, (PONG, true, b"in between".to_vec()));
    send_frame(&mut raw, CONTINUATION, false, &parts[2]).await;
    send_frame(&mut raw, CONTINUATION, true, &parts[3]).await;
    for (at, part) in parts.into_iter().enumerate() {
        let opcode = if at == 0 { BINARY } else { CONTINUATION };
        assert!(frame(&mut raw).await == (opcode, false, part), "part {at}");
    }
    // The library ends what it sends in parts with an empty one.
    assert_eq!(frame(&mut raw).await, (CONTINUATION, true, Vec::new()));

    send_frame(&mut raw, TEXT, false, "Grü".as_bytes()).await;
    send_frame(&mut raw, CONTINUATION, true, "ße".as_bytes()).await;
    assert_eq!(frame(&mut raw).await, (TEXT, true, "ann@example.com: Grüße".as_bytes().to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_learns_with_which_code_the_other_has_closed() {
    let (_room, process) = start().await;
    let (ann, bob) = (process.sign_in("ann").await, process.sign_in("bob").await);
    let mut his = guest(&bob, "bob").await;
    for (code, reason) in [(1000, ""), (4001, "lunch")] {
        let mut hers = guest(&ann, "ann").await;
        let code = CloseCode::from(code);
        hers.close(Some(CloseFrame { code, reason: reason.into() })).await.unwrap();
        let Some(Message::Close(Some(echo))) = next(&mut hers).await else { panic!("no answer") };
        assert_eq!(echo.code, code);
        assert_eq!(next(&mut hers).await, None);
        drop(hers);
        hears(&mut his, &format!("ann@example.com has left ({code} {reason})")).await;
    }
    let mut hers = guest(&ann, "ann").await;
    hers.send(Message::text("/leave")).await.unwrap();
    let Some(Message::Close(Some(shown_out))) = next(&mut hers).await else { panic!("not closed") };
    assert_eq!((u16::from(shown_out.code), &*shown_out.reason), (4002, "good bye"));
    assert_eq!(next(&mut hers).await, None);
    drop(hers);
    hears(&mut his, "ann@example.com has left (4002 good bye)").await;
    // Somebody who goes without a word is not waited for.
    drop(guest(&ann, "ann").await);
    hears(&mut his, "ann@example.com has left (1006 )").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_never_reaches_the_room() {
    let (room, process) = start().await;
    process.create_user("eve", &[]);
    let (ann, eve) = (process.sign_in("ann").await, process.sign_in("eve").await);
    let foreign_port = format!("http://127.0.0.1:{}", process.address.port() ^ 1);
    let own = ann.origin();
    for (call, status) in [
        (handshake(&ann).with("Origin", "https://evil.example"), 403),
        (handshake(&ann).with("Origin", &own.replace("http:", "https:")), 403),
        (handshake(&ann).with("Origin", &foreign_port), 403),
        (handshake(&ann).with("Origin", "null"), 403),
        (handshake(&ann).without("Origin"), 403),
        (handshake(&process.client()), 401),
        (handshake(&process.client()).header("X-Auth-Email", "ann@example.com"), 401),
        (handshake(&eve), 403),
        (handshake(&eve).header("X-Auth-Permissions", "room:enter"), 403),
    ] {
        let head = call.open().await.head().await;
        assert_eq!(head.status, status, "{}", String::from_utf8_lossy(&call.bytes()));
    }
    assert_eq!(room.said(), "", "something reached the room");
    let mut socket = guest(&ann, "ann").await;
    room.wait_for("ann@example.com asks for /socket").await;
    socket.send(Message::text("alone")).await.unwrap();
    hears(&mut socket, "ann@example.com: alone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_ends_within_a_second_of_the_session_or_the_role_that_allowed_it() {
    let (_room, process) = start().await;
    let bob = process.sign_in("bob").await;
    let mut his = guest(&bob, "bob").await;
    let by_command = |arguments: &[&str]| {
        let output = process.run(arguments, "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    for way in ["sign-out", "bearer sign-out", "session revoke", "user revoke"] {
        let ann = match way {
            "bearer sign-out" => process.client().with_bearer(&bearer(&process, "ann").await),
            _ => process.sign_in("ann").await,
        };
        let mut hers = guest(&ann, "ann").await;
        let signs_out = async |path| ann.post(path).send().await.expect(204);
        match way {
            "sign-out" => drop(signs_out("/auth/cookie/logout").await),
            "bearer sign-out" => drop(signs_out("/auth/jwt/logout").await),
            "session revoke" => by_command(&["session", "revoke", "--user", "ann@example.com"]),
            _ => by_command(&["user", "revoke", "ann@example.com", "guest"]),
        }
        let began = Stopwatch::start();
        assert_eq!(next(&mut hers).await, None, "{way}");
        assert!(began.elapsed() < BOUND, "{way}: {:?}", began.elapsed());
        // The room is told at once, too: it holds no place for somebody who has gone.
        hears(&mut his, "ann@example.com has left (1006 )").await;
        assert!(began.elapsed() < BOUND, "{way}: {:?}", began.elapsed());
    }
    his.send(Message::text("I am still here")).await.unwrap();
    hears(&mut his, "bob@example.com: I am still here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_librarys_own_client_speaks_with_a_bearer_token() {
    let (_room, process) = start().await;
    let output = Command::new(python())
        .args(["say.py", "hello", "/leave", "never said"])
        .current_dir(example("websockets"))
        .env("ROOM", format!("ws://{}/socket", process.address))
        .env("TOKEN", bearer(&process, "ann").await)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    let expected = [
        "Welcome, ann@example.com. Your roles: guest.",
        "ann@example.com: hello",
        "closed: 4002 good bye",
    ];
    assert_eq!(lines, expected, "{}", String::from_utf8_lossy(&output.stderr));
    // Compression is between the two: it is offered, accepted, and nobody on the way minds.
    let ann = process.client().with_bearer(&bearer(&process, "ann").await);
    let offer = handshake(&ann).header("Sec-WebSocket-Extensions", "permessage-deflate");
    let head = offer.open().await.head().await;
    let accepted = head.header("sec-websocket-extensions").unwrap_or_default();
    assert!(accepted.starts_with("permessage-deflate"), "{head:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_one_enters_the_room_until_the_session_ends() {
    let (_room, process) = start().await;
    let browser = Browser::open().await;
    browser.goto(&format!("http://{}/", process.address)).await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_to_show("Welcome, ann@example.com.").await;
    browser.fill("input[name=text]", "hello\n").await;
    browser.wait_to_show("ann@example.com: hello").await;
    let revoked = process.run(&["session", "revoke", "--user", "ann@example.com"], "");
    assert!(revoked.status.success());
    browser.wait_to_show("closed: 1006").await;
    browser.quit().await;
}
