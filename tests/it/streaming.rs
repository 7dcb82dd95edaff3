//! Bodies pass as they come, connections are kept, and every wait has an end.

use std::time::Duration;

use crate::harness::{Gateway, report};
use crate::raw::Raw;
use crate::upstream::{self, Gate, Upstream};

const YAML: &str = r#"
workers: 1
upstreams:
  app: { targets: ["${APP}"], response_timeout: "${RESPONSE:-60s}", idle_timeout: "${IDLE:-5m}", keep_alive: "${KEEP:-60s}", connect_timeout: 1s }
  quick: { targets: ["${APP}"] }
routes:
  - { path: "/**", upstream: app, allow: public }
  - { path: "/guarded/**", upstream: app, allow: authenticated }
  - { path: "/hurried", upstream: quick, allow: public, timeout: 1s }
"#;

const GIBIBYTE: u64 = 1024 * 1024 * 1024;

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_byte_of_an_answer_arrives_while_the_second_is_withheld() {
    let (upstream, gateway) = start().await;
    let gate = Gate::new();
    let held = gate.clone();
    upstream.at("/slow", move |exchange| upstream::withhold(exchange, "1", held.clone(), "2"));
    let mut raw = gateway.client().get("/slow").open().await;
    assert_eq!(raw.head().await.status, 200);
    assert_eq!(raw.read_chunk().await, b"1");
    gate.open();
    assert_eq!(raw.read_chunk().await, b"2");
    assert_eq!(raw.read_chunk().await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_byte_of_a_request_arrives_while_the_second_is_withheld() {
    let (upstream, gateway) = start().await;
    for framing in ["Content-Length: 2\r\n\r\n1", "Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n"] {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send(format!("POST /up HTTP/1.1\r\nHost: {}\r\n{framing}", gateway.address)).await;
        upstream.wait_for(|seen| seen.body == b"1").await;
        let rest = if framing.starts_with('C') { "2" } else { "1\r\n2\r\n0\r\n\r\n" };
        raw.send(rest).await;
        raw.response("POST").await.expect(200);
        assert_eq!(upstream.last().body, b"12");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_begin_before_the_request_has_ended() {
    let (upstream, gateway) = start().await;
    upstream.at("/both", |mut exchange| async move {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        exchange.write(head).await;
        while let Some(piece) = exchange.read_some().await {
            let text = String::from_utf8_lossy(&piece).to_uppercase();
            exchange.write(format!("{:x}\r\n{text}\r\n", text.len())).await;
        }
        exchange.write("0\r\n\r\n").await.then_some(exchange)
    });
    let mut raw = Raw::connect(gateway.address).await;
    let head = "POST /both HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    raw.send(head).await;
    assert_eq!(raw.head().await.status, 200);
    for word in ["one", "two"] {
        raw.send(format!("3\r\n{word}\r\n")).await;
        assert_eq!(raw.read_chunk().await, word.to_uppercase().as_bytes());
    }
    raw.send("0\r\n\r\n").await;
    assert_eq!(raw.read_chunk().await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_passes_each_way_in_little_memory() {
    let upstream = Upstream::start();
    upstream.at("/down", |exchange| upstream::download(exchange, GIBIBYTE));
    upstream.at("/up", upstream::count_body);
    let process = Gateway::builder(YAML).with("APP", &upstream.url()).spawn().await;
    // What the first requests cost once (buffers, pools) is no growth.
    upstream.at("/warm", |exchange| upstream::download(exchange, 8 * 1024 * 1024));
    process.client().get("/warm").send().await.expect(200);
    let warm = vec![b'u'; 8 * 1024 * 1024];
    process.client().call("POST", "/up").body("text/plain", warm).send().await.expect(200);
    let before = process.memory_kib();

    let mut raw = process.client().get("/down").open().await;
    assert_eq!(raw.head().await.header("content-length"), Some(&*GIBIBYTE.to_string()));
    let mut peak = before;
    for _ in 0..16 {
        assert_eq!(raw.discard(GIBIBYTE / 16).await, GIBIBYTE / 16);
        peak = peak.max(process.memory_kib());
    }
    let down = peak - before;

    let mut raw = Raw::connect(process.address).await;
    raw.send(format!("POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: {GIBIBYTE}\r\n\r\n")).await;
    let chunk = vec![b'u'; 1024 * 1024];
    for sent in 0..1024 {
        raw.send(&chunk).await;
        if sent % 64 == 0 {
            peak = peak.max(process.memory_kib());
        }
    }
    assert_eq!(raw.response("POST").await.expect(200).text(), GIBIBYTE.to_string());
    peak = peak.max(process.memory_kib());
    report(&format!(
        "1 GiB each way: memory grew by {down} KiB down, {} KiB in all",
        peak - before
    ));
    assert!(peak - before < 16 * 1024, "memory grew by {} KiB", peak - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_on_both_sides() {
    let (upstream, gateway) = start().await;
    let mut raw = Raw::connect(gateway.address).await;
    for _ in 0..3 {
        gateway.client().get("/x").send_on(&mut raw).await.expect(200);
    }
    let used: Vec<_> = upstream.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(used, [0, 0, 0]);
    // Another client's request goes over the same upstream connection.
    gateway.client().get("/x").send().await.expect(200);
    assert_eq!(upstream.last().connection, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_connection_that_sat_idle_too_long_is_not_used_again() {
    let (upstream, gateway) = start().await;
    gateway.client().get("/x").send().await.expect(200);
    gateway.pass(Duration::from_secs(61)).await;
    gateway.client().get("/x").send().await.expect(200);
    assert_eq!(upstream.last().connection, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_could_not_be_repeated_takes_a_fresh_connection() {
    let (upstream, gateway) = start().await;
    gateway.client().get("/x").send().await.expect(200);
    gateway.pass(Duration::from_millis(1_500)).await;
    gateway.client().call("POST", "/x").body("text/plain", "a").send().await.expect(200);
    assert_eq!(upstream.last().connection, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_before_the_answer_is_tried_once_more() {
    let (upstream, gateway) = start().await;
    upstream.at("/dies", |exchange| async move {
        if exchange.seen.connection == 0 {
            return None;
        }
        upstream::echo(exchange).await
    });
    gateway.client().get("/x").send().await.expect(200);
    gateway.client().get("/dies").send().await.expect(200);
    let requests = upstream.seen().iter().filter(|seen| seen.target() == "/dies").count();
    assert_eq!(requests, 2);
    upstream.at("/dies", |_| async { None });
    gateway.client().get("/dies").send().await.expect(502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_its_upstream_request_along() {
    let (upstream, gateway) = start().await;
    upstream.at("/silent", upstream::silence);
    let raw = gateway.client().get("/silent").open().await;
    upstream.wait_for(|seen| seen.target() == "/silent").await;
    upstream.wait_for_connections(1).await;
    drop(raw);
    upstream.wait_for_connections(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_answer_in_time_is_504() {
    let (upstream, gateway) = start().await;
    upstream.at("/silent", upstream::silence);
    let mut raw = gateway.client().get("/silent").open().await;
    upstream.wait_for(|seen| seen.target() == "/silent").await;
    gateway.pass(Duration::from_secs(59)).await;
    assert!(raw.is_silent_for(Duration::from_millis(400)).await, "60 s are not over");
    gateway.pass(Duration::from_secs(2)).await;
    let answer = raw.response("GET").await.expect(504);
    assert!(answer.detail().contains("Gateway Timeout"), "{}", answer.text());
    upstream.wait_for_connections(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstreams_time_begins_with_the_last_byte_of_the_request() {
    let (upstream, gateway) = start().await;
    upstream.at("/silent", upstream::silence);
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("POST /silent HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n1").await;
    for sent in ["1", "12", "123"] {
        upstream.wait_for(|seen| seen.body == sent.as_bytes()).await;
        gateway.pass(Duration::from_secs(25)).await;
        raw.send("123456".chars().nth(sent.len()).unwrap().to_string()).await;
    }
    upstream.wait_for(|seen| seen.complete).await;
    assert!(raw.is_silent_for(Duration::from_millis(400)).await);
    gateway.pass(Duration::from_secs(61)).await;
    raw.response("POST").await.expect(504);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routes_own_timeout_counts_from_the_head() {
    let (upstream, gateway) = start().await;
    upstream.at("/hurried", upstream::silence);
    gateway.client().get("/hurried").send().await.expect(504);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_the_upstream_that_stalls_is_cut() {
    let (upstream, gateway) = start().await;
    upstream.at("/stalls", |exchange| upstream::withhold(exchange, "1", Gate::new(), ""));
    let mut raw = gateway.client().get("/stalls").open().await;
    raw.head().await;
    assert_eq!(raw.read_chunk().await, b"1");
    gateway.pass(Duration::from_secs(301)).await;
    assert_eq!(raw.read_to_end().await, b"", "no orderly end");
    upstream.wait_for_connections(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_cannot_be_reached_is_502() {
    let (upstream, gateway) = start().await;
    drop(upstream);
    let answer = gateway.client().get("/x").send().await.expect(502);
    assert!(answer.detail().contains("Bad Gateway"), "{}", answer.text());
    let page = gateway.client().visit("/x").send().await.expect(502);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_speaks_nonsense_is_502_and_its_connection_is_dropped() {
    let (upstream, gateway) = start().await;
    let nonsense = [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
    ];
    for answer in nonsense {
        upstream.answers("/nonsense", answer);
        let got = gateway.client().get("/nonsense").send().await;
        assert_eq!(got.status, 502, "{answer:?}");
    }
    let extra = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\
                 Content-Length: 6\r\n\r\npoison";
    upstream.answers("/nonsense", extra);
    assert_eq!(gateway.client().get("/nonsense").send().await.text(), "ok");
    assert!(!gateway.client().get("/x").send().await.expect(200).text().contains("poison"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_ten_seconds_for_its_first_byte_and_ten_for_its_head() {
    let (_upstream, gateway) = start().await;
    let mut mute = Raw::connect(gateway.address).await;
    let mut slow = Raw::connect(gateway.address).await;
    slow.send("GET /x HTTP/1.1\r\nHo").await;
    assert!(slow.is_silent_for(Duration::from_millis(300)).await);
    gateway.pass(Duration::from_secs(9)).await;
    assert!(mute.is_silent_for(Duration::from_millis(300)).await);
    gateway.pass(Duration::from_secs(2)).await;
    assert!(mute.is_closed_within(Duration::from_secs(3)).await);
    assert!(slow.is_closed_within(Duration::from_secs(3)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_body_may_pause_for_thirty_seconds() {
    let (upstream, gateway) = start().await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n1").await;
    upstream.wait_for(|seen| seen.body == b"1").await;
    gateway.pass(Duration::from_secs(29)).await;
    raw.send("2").await;
    upstream.wait_for(|seen| seen.body == b"12").await;
    gateway.pass(Duration::from_secs(29)).await;
    assert!(raw.is_silent_for(Duration::from_millis(300)).await);
    gateway.pass(Duration::from_secs(2)).await;
    assert!(raw.is_closed_within(Duration::from_secs(3)).await);
    upstream.wait_for_connections(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_client_connection_is_closed_after_seventy_five_seconds() {
    let (_upstream, gateway) = start().await;
    let mut raw = Raw::connect(gateway.address).await;
    gateway.client().get("/x").send_on(&mut raw).await.expect(200);
    gateway.pass(Duration::from_secs(74)).await;
    assert!(raw.is_silent_for(Duration::from_millis(300)).await);
    gateway.pass(Duration::from_secs(2)).await;
    assert!(raw.is_closed_within(Duration::from_secs(3)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_after_sixty_seconds() {
    let (upstream, gateway) = start().await;
    upstream.at("/down", |exchange| upstream::download(exchange, GIBIBYTE));
    let mut raw = gateway.client().get("/down").open().await;
    raw.head().await;
    // The sockets' buffers fill within this time; then no byte is taken any more.
    tokio::time::sleep(Duration::from_millis(500)).await;
    gateway.pass(Duration::from_secs(61)).await;
    upstream.wait_for_connections(0).await;
    assert!(raw.discard(GIBIBYTE).await < GIBIBYTE);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_targets_have_limits() {
    let (upstream, gateway) = start().await;
    let long = |bytes: usize| gateway.client().get("/x").header("X-Long", &"l".repeat(bytes));
    long(60 * 1024).send().await.expect(200);
    long(70 * 1024).send().await.expect(431);
    let many = |count: usize| {
        (0..count).fold(gateway.client().get("/x"), |call, n| call.header(&format!("X-{n}"), "v"))
    };
    many(90).send().await.expect(200);
    many(101).send().await.expect(431);
    let target = |bytes: usize| format!("/{}", "t".repeat(bytes - 1));
    gateway.client().get(&target(8 * 1024)).send().await.expect(200);
    gateway.client().get(&target(8 * 1024 + 1)).send().await.expect(414);
    assert_eq!(upstream.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_was_refused_is_never_read_as_a_request() {
    let (upstream, gateway) = start().await;
    let inner = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let outer = format!(
        "POST /guarded/x HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    );
    let mut raw = Raw::connect(gateway.address).await;
    raw.send(&outer).await;
    raw.response("POST").await.expect(401);
    let next = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n";
    if raw.try_send(next.as_bytes()).await.is_ok()
        && let Some(answer) = raw.try_response("GET").await
    {
        assert!(answer.text().starts_with("GET /next "), "{}", answer.text());
    }
    assert!(!upstream.seen().iter().any(|seen| seen.target() == "/smuggled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_has_the_headers_of_a_get_and_no_body() {
    let (upstream, gateway) = start().await;
    let mut raw = Raw::connect(gateway.address).await;
    let answer = gateway.client().call("HEAD", "/x").send_on(&mut raw).await.expect(200);
    assert!(answer.header("content-length").is_some());
    gateway.client().get("/x").send_on(&mut raw).await.expect(200);
    let methods: Vec<_> = upstream.seen().iter().map(crate::upstream::Seen::method).collect();
    assert_eq!(methods, ["HEAD", "GET"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_leave_to_send_gets_it() {
    let (upstream, gateway) = start().await;
    let mut raw = Raw::connect(gateway.address).await;
    let head = "POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    raw.send(head).await;
    assert_eq!(raw.head().await.status, 100);
    raw.send("abc").await;
    raw.response("POST").await.expect(200);
    assert_eq!(upstream.last().body, b"abc");
    // Whoever may not send is not told to.
    let mut raw = Raw::connect(gateway.address).await;
    raw.send(head.replace("/up", "/guarded/up")).await;
    raw.response("POST").await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_is_served_and_its_connection_closed() {
    let (upstream, gateway) = start().await;
    upstream.at("/slow", |exchange| upstream::withhold(exchange, "1", Gate::opened(), "2"));
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("GET /slow HTTP/1.0\r\nHost: x\r\n\r\n").await;
    let head = raw.head().await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("transfer-encoding"), None);
    assert_eq!(raw.read_to_end().await, b"12");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_is_reset_is_tried_once_more() {
    let (upstream, gateway) = start().await;
    upstream.at("/reset", |exchange| async move {
        if exchange.seen.connection == 0 {
            exchange.reset();
            return None;
        }
        upstream::echo(exchange).await
    });
    let requests = |target: &str| {
        let seen = upstream.seen();
        seen.iter().filter(|seen| seen.target() == target).count()
    };
    gateway.client().get("/x").send().await.expect(200);
    gateway.client().get("/reset").send().await.expect(200);
    assert_eq!(upstream.last().connection, 1);
    assert_eq!(requests("/reset"), 2);
    // Once: then it is the upstream's fault.
    let always = |exchange: upstream::Exchange| async move {
        exchange.reset();
        None
    };
    upstream.at("/always", always);
    gateway.client().get("/always").send().await.expect(502);
    assert!(requests("/always") <= 2);
    // What could happen twice is not sent twice.
    upstream.at("/post", always);
    gateway.client().get("/x").send().await.expect(200);
    gateway.client().call("POST", "/post").body("text/plain", "a").send().await.expect(502);
    assert_eq!(requests("/post"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_takes_no_upload_is_504() {
    let (upstream, gateway) = start().await;
    let gate = Gate::new();
    let held = gate.clone();
    upstream.at("/deaf", move |mut exchange| {
        let gate = held.clone();
        async move {
            // Its body is not read: the sockets' buffers fill, and then nothing goes on.
            gate.wait().await;
            exchange.read_body().await;
            Some(exchange)
        }
    });
    let mut raw = Raw::connect(gateway.address).await;
    raw.send(format!("POST /deaf HTTP/1.1\r\nHost: x\r\nContent-Length: {GIBIBYTE}\r\n\r\n")).await;
    upstream.wait_for(|seen| seen.target() == "/deaf").await;
    let chunk = vec![b'u'; 1024 * 1024];
    let stall = Duration::from_millis(500);
    while tokio::time::timeout(stall, raw.try_send(&chunk)).await.is_ok() {}
    gateway.pass(Duration::from_secs(58)).await;
    assert!(raw.is_silent_for(Duration::from_millis(400)).await, "60 s are not over");
    gateway.pass(Duration::from_secs(3)).await;
    let answer = raw.response("POST").await.expect(504);
    assert!(answer.detail().contains("Gateway Timeout"), "{}", answer.text());
    gate.open();
    upstream.wait_for_connections(0).await;
    assert!(!upstream.last().complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_ends_late_leaves_the_answer_its_time() {
    let (upstream, gateway) = start().await;
    let gate = Gate::new();
    let held = gate.clone();
    upstream.at("/early", move |mut exchange| {
        let gate = held.clone();
        async move {
            exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n").await;
            exchange.read_body().await;
            gate.wait().await;
            exchange.write("1\r\n2\r\n0\r\n\r\n").await.then_some(exchange)
        }
    });
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na").await;
    assert_eq!(raw.head().await.status, 200);
    assert_eq!(raw.read_chunk().await, b"1");
    raw.send("b").await;
    upstream.wait_for(|seen| seen.complete).await;
    // Longer than an upstream may take to begin its answer, shorter than it may pause within.
    gateway.pass(Duration::from_secs(200)).await;
    assert!(raw.is_silent_for(Duration::from_millis(400)).await, "300 s are not over");
    gate.open();
    assert_eq!(raw.read_chunk().await, b"2");
    assert_eq!(raw.read_chunk().await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_pauses_is_cut_in_time_whenever_its_upload_ended() {
    let (upstream, gateway) = start().await;
    upstream.at("/early", |mut exchange| async move {
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n").await;
        exchange.read_body().await;
        exchange.wait_for_close().await;
        None
    });
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na").await;
    assert_eq!(raw.read_until("1\r\n1\r\n").await.matches("200 OK").count(), 1);
    raw.send("b").await;
    upstream.wait_for(|seen| seen.complete).await;
    gateway.pass(Duration::from_secs(301)).await;
    assert!(raw.is_closed_within(Duration::from_secs(3)).await);
    upstream.wait_for_connections(0).await;
}

/// An upstream may answer at once and read on: a log sink, for instance. What comes behind the answer is
/// still the body, neither a head with a head's ten seconds nor a request line.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_may_outlive_its_answer() {
    let (upstream, gateway) = start().await;
    upstream.at("/sink", |mut exchange| async move {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        exchange.read_body().await;
        None
    });
    upstream.at("/after", |mut exchange| async move {
        exchange.reply("200 OK", "", "after").await.then_some(exchange)
    });
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc").await;
    assert_eq!(raw.response("POST").await.status, 200);
    for piece in ["d#e", "f\n#"] {
        gateway.pass(Duration::from_secs(15)).await;
        raw.send(piece).await;
    }
    upstream.wait_for(|seen| seen.complete && seen.body == b"abcd#ef\n#").await;
    raw.send("GET /after HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(raw.response("GET").await.expect(200).text(), "after");
    // Its end is where the next request is waited for.
    gateway.pass(Duration::from_secs(76)).await;
    assert!(raw.is_closed_within(Duration::from_secs(3)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_none_does_not_begin_upstream() {
    let (upstream, gateway) = start().await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await;
    assert_eq!(raw.response("POST").await.status, 400);
    assert_eq!(upstream.count(), 0);
}
