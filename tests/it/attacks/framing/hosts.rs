//! One host: the one that chooses the table is the one the upstream is told.

use super::super::trial::{Bench, Forwarded, MANNERS, Trial, Upstreamed, cut, turn};
use super::{smuggled, start};

/// A request with this target and these lines, and nothing else.
fn bare(target: &str, lines: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\n{lines}\r\n").into_bytes()
}

/// Targets that name another host, or none, or hold what no target does.
const ODD_TARGETS: [&str; 48] = [
    "http://evil/x/W",
    "http://a@evil/x/W",
    "http://evil@a/x/W",
    "http://a:b@a/x/W",
    "http://@a/x/W",
    "http://evil?x/W",
    "http://a?x/W",
    "http://evil#f/W",
    "http://a#f/W",
    "http://a/#/W",
    "http://a/x/W#f",
    "/x/W#f",
    "#/x/W",
    "http://a:81/x/W",
    "http://a:443/x/W",
    "https://a:80/x/W",
    "http://a:/x/W",
    "http://a:0/x/W",
    "http://a:99999/x/W",
    "http://aa/x/W",
    "http://a.evil/x/W",
    "http://b.a/x/W",
    "http:///x/W",
    "http:/x/W",
    "http:x/W",
    "http://",
    "http://a b/x/W",
    "http://[a]/x/W",
    "http://[::1]/x/W",
    "http://127.0.0.1/x/W",
    "ftp://a/x/W",
    "ws://a/x/W",
    "file:///x/W",
    "javascript:W",
    "a/x/W",
    "a:80",
    "a",
    "//a/x/W",
    "http:\\\\a/x/W",
    "http://a\\x/W",
    "http://a%2fx/W",
    "http://a%00/x/W",
    "http://a;/x/W",
    "http://a,b/x/W",
    "http://\u{e9}/x/W",
    "http://a/../x/W",
    "http://a//x/W",
    "http://a/x/W http://a/x/W",
];

#[tokio::test(flavor = "multi_thread")]
async fn smg_28_an_absolute_target_names_the_host_of_the_request_or_is_refused() {
    let (bench, _) = start().await;
    let mut trials = Vec::new();
    for (before, after, forwarded) in [
        ("http://a", "/x/W", "/x/W"),
        ("http://A", "/x/W", "/x/W"),
        ("HTTP://a", "/x/W?b", "/x/W?b"),
        ("http://a:80", "/x/W", "/x/W"),
        ("http://a.", "/x/W", "/x/W"),
        ("http://a/", "?W", "/?W"),
        ("https://a", "/x/W", "/x/W"),
    ] {
        for manner in MANNERS {
            let word = bench.word();
            let [target, forwarded] =
                [format!("{before}{after}"), forwarded.to_owned()].map(|t| t.replace('W', &word));
            let what = format!("{target}, {manner:?}");
            let pieces = cut(&bare(&target, "Host: a\r\n"), manner);
            let forwarded = Forwarded::bare("GET", &forwarded);
            trials.push(Trial::passed(&word, &what, forwarded, pieces));
        }
    }
    for target in ODD_TARGETS {
        for manner in MANNERS {
            let word = bench.word();
            let lines = turn(
                &["Host: a\r\n", "X: y\r\nHost: a\r\nConnection: keep-alive\r\n"],
                trials.len(),
            );
            let target = target.replace('W', &word);
            let bytes = [bare(&target, lines), smuggled(&word)].concat();
            let what = format!("{target}, {manner:?}");
            trials.push(Trial::refused(&word, &what, 400, cut(&bytes, manner)).by("GET"));
        }
    }
    bench.play(trials).await;
    for received in bench.received() {
        assert_eq!(received.all("host"), ["a"], "{}", received.head);
        assert_eq!(received.all("x-forwarded-host"), ["a"], "{}", received.head);
    }
}

/// In a head that came together with a former one the fragment is dropped rather than refused: what is
/// decided on is then what goes on, without it.
#[tokio::test(flavor = "multi_thread")]
async fn smg_28_a_fragment_hides_nothing_of_a_pipelined_request() {
    let (bench, _) = start().await;
    for fragment in ["#", "#/public", "#/../x", "#?a", "%23#", "?a#b", "#\\"] {
        let word = bench.word();
        let mut raw = crate::raw::Raw::connect(bench.gateway.address).await;
        let first = bare(&format!("/x/{word}"), "Host: a\r\n");
        let guarded = bare(&format!("/private/{word}{fragment}"), "Host: a\r\n");
        raw.send([first, guarded].concat()).await;
        raw.response("GET").await.expect(200);
        let status = raw.response("GET").await.status;
        assert!([400, 401].contains(&status), "{fragment}: {status}");
    }
    for received in bench.received() {
        assert!(!received.target.contains('#') && received.target.starts_with("/x/"));
    }
    // Nor is a request refused for a `#` that stands in its fields.
    let mut trials = Vec::new();
    for field in ["Referer: http://a/#f", "X: #", "Cookie: a=#", "#: x"] {
        for manner in MANNERS {
            let word = bench.word();
            let targets = ["/x/", "/x/b/", "/x/c/", "/x/d/"].map(|path| format!("{path}{word}"));
            let lines = format!("{field}\r\nHost: a\r\n{field}\r\n");
            let bytes: Vec<u8> = targets.iter().flat_map(|target| bare(target, &lines)).collect();
            let all: Vec<_> = targets.iter().map(|target| Forwarded::bare("GET", target)).collect();
            let what = format!("{field}, {manner:?}");
            let mut trial = Trial::passed(&word, &what, all[0].clone(), cut(&bytes, manner));
            trial.methods = vec!["GET".to_owned(); 4];
            trial.statuses = vec![200; 4];
            trial.upstreamed = Upstreamed::Exactly(all);
            trials.push(trial);
        }
    }
    bench.play(trials).await;
}

/// Heads that name no host, several, or what is none.
const ODD_HOSTS: [&str; 51] = [
    "",
    "Host:\r\n",
    "Host: \r\n",
    "Host: a\r\nHost: a\r\n",
    "Host: a\r\nHost: b\r\n",
    "Host: b\r\nX: y\r\nhOST: a\r\n",
    "Host: a\r\nHost:\r\n",
    "Host:\r\nHost: a\r\n",
    "Host: a@b\r\n",
    "Host: u:p@a\r\n",
    "Host: a/../b\r\n",
    "Host: a/\r\n",
    "Host: a b\r\n",
    "Host: a, b\r\n",
    "Host: a,a\r\n",
    "Host: a:99999\r\n",
    "Host: a:0\r\n",
    "Host: a:\r\n",
    "Host: a:+80\r\n",
    "Host: a:80:80\r\n",
    "Host: a:8x\r\n",
    "Host: .\r\n",
    "Host: .a\r\n",
    "Host: a..b\r\n",
    "Host: a?b\r\n",
    "Host: a#b\r\n",
    "Host: a\\b\r\n",
    "Host: a%2eb\r\n",
    "Host: a%00\r\n",
    "Host: a\tb\r\n",
    "Host: \u{e9}\r\n",
    "Host: \u{ff41}\r\n",
    "Host: [::1\r\n",
    "Host: ::1\r\n",
    "Host: [::1]x\r\n",
    "Host: [a]\r\n",
    "Host: 1.2.3\r\n",
    "Host: 0x7f.1\r\n",
    "Host: 256.1.1.1\r\n",
    "Host: http://a\r\n",
    "Host: //a\r\n",
    "Host: \"a\"\r\n",
    "Host: a;b\r\n",
    "Host: *\r\n",
    "Host: *.a\r\n",
    "Host: a\x0b\r\n",
    "Host: a\0\r\n",
    "X-Host: a\r\n",
    "Host_: a\r\n",
    "X-Forwarded-Host: a\r\n",
    "Host : a\r\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn smg_29_a_request_names_one_host_or_is_refused() {
    let (bench, cookie) = start().await;
    let long = format!("Host: {}\r\n", "a".repeat(4096));
    let labels = format!("Host: {}\r\n", "a.".repeat(128));
    let mut trials = Vec::new();
    let odd = ODD_HOSTS.into_iter().chain([&*long, &*labels]);
    for lines in odd {
        for manner in MANNERS {
            let word = bench.word();
            let (path, fields) = turn(
                &[("/x/", ""), ("/private/", ""), ("/private/", &*cookie), ("/auth/login?", "")],
                trials.len(),
            );
            let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
            let target = format!("{path}{word}");
            let lines = if trials.len() % 2 == 0 {
                format!("{fields}{lines}")
            } else {
                format!("{lines}{fields}")
            };
            let version = turn(&["1.1", "1.1", "1.0"], trials.len());
            let bytes = format!("GET {target} HTTP/{version}\r\n{lines}\r\n").into_bytes();
            let bytes = [bytes, smuggled(&word)].concat();
            let what = format!("{:?}, {manner:?}", &lines[..lines.len().min(60)]);
            trials.push(Trial::refused(&word, &what, 400, cut(&bytes, manner)).by("GET"));
        }
    }
    bench.play(trials).await;
}

/// The table a host chooses and the host an upstream reads are one and the same, in any spelling.
#[tokio::test(flavor = "multi_thread")]
async fn smg_29_the_host_that_chose_the_table_is_the_host_that_goes_on() {
    let bench = Bench::start(
        r#"
upstreams: { app: "${APP}" }
routes:
  - { path: "/**", upstream: app, allow: public }
  - { host: "guarded", path: "/**", upstream: app, allow: authenticated }
  - { host: "*.guarded", path: "/**", upstream: app, allow: authenticated }
"#,
    )
    .await;
    let mut trials = Vec::new();
    for host in [
        "guarded",
        "GUARDED",
        "guarded.",
        "Guarded.:80",
        "guarded:8080",
        "a.guarded",
        "A.b.GUARDED.",
        "xn--a.guarded:1",
    ] {
        for other in [
            "",
            "X-Forwarded-Host: a\r\n",
            "X-Host: a\r\nForwarded: host=a\r\n",
            "X-Original-Host: a\r\n",
        ] {
            for manner in MANNERS {
                let word = bench.word();
                let bytes = bare(&format!("/{word}"), &format!("Host: {host}\r\n{other}"));
                let what = format!("{host}, {other:?}, {manner:?}");
                let refused = Trial::refused(&word, &what, 401, cut(&bytes, manner)).by("GET");
                trials.push(refused.ending(super::super::trial::End::Kept));
            }
        }
    }
    for host in ["a", "guarded.a", "aguarded", "guarded-a", "a:80", "[::1]:80", "1.2.3.4"] {
        for manner in MANNERS {
            let word = bench.word();
            let target = format!("/{word}?host={host}");
            let lines = format!("X-Forwarded-Host: guarded\r\nHost: {host}\r\n");
            let forwarded = Forwarded::bare("GET", &target);
            let pieces = cut(&bare(&target, &lines), manner);
            trials.push(Trial::passed(&word, &format!("{host}, {manner:?}"), forwarded, pieces));
        }
    }
    bench.play(trials).await;
    for received in bench.received() {
        if let Some((_, host)) = received.target.split_once("?host=") {
            assert_eq!(received.all("host"), [host], "{}", received.head);
            assert_eq!(received.all("x-forwarded-host"), [host], "{}", received.head);
        }
    }
}
