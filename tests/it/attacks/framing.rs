//! Request smuggling and message framing: what both sides must read in one way.

use std::time::Duration;

use super::{start, status_of};
use crate::raw::Raw;

#[tokio::test(flavor = "multi_thread")]
async fn smg_28_an_absolute_target_without_a_path_is_the_root_and_never_empty() {
    let (upstream, gateway) = start().await;
    assert_eq!(status_of(&gateway, "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").await, 200);
    assert_eq!(upstream.last().target(), "/");
    let seen = upstream.count();
    for target in [
        "http://a#f",
        "http://a#/admin",
        "/a#b",
        "/public/#/../../admin",
        "/x?a#b",
        "http://u@a/",
        "http://b/",
        "ftp://a/",
        "a",
        "*",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(status_of(&gateway, &request).await, 400, "{target}");
    }
    assert_eq!(upstream.count(), seen, "nothing of it was forwarded");
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_25_a_body_of_unknown_length_is_framed_whatever_the_method() {
    let (upstream, gateway) = start().await;
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PROPFIND"] {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send(format!(
            "{method} /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n0\r\n\r\n"
        ))
        .await;
        raw.response(method).await.expect(200);
        let seen = upstream.last();
        assert_eq!(seen.header("transfer-encoding").as_deref(), Some("chunked"), "{method}");
        assert_eq!(seen.header("content-length"), None, "{method}");
    }
    let handshake = "GET /private HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                     Content-Length: 3\r\n\r\nabc";
    assert_eq!(status_of(&gateway, handshake).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_02_framing_that_could_be_read_in_two_ways_is_refused_for_portal_and_application_alike()
{
    let (upstream, gateway) = start().await;
    for path in ["/x", "/auth/jwt/login", "/auth/login", "/nowhere/at/all"] {
        for framing in [
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: ,chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Content-Length: 010",
            "Content-Length: +1",
            "Connection: content-length\r\nContent-Length: 0",
            "Connection: origin\r\nContent-Length: 0",
            "Connection: Sec-Fetch-Site\r\nContent-Length: 0",
        ] {
            let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n0\r\n\r\n");
            assert_eq!(status_of(&gateway, &request).await, 400, "{path}: {framing}");
        }
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn smg_26_an_answer_that_broke_off_is_no_reason_to_ask_twice() {
    let (upstream, gateway) = start().await;
    for half in ["HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Le"] {
        upstream.at("/half", move |mut exchange| async move {
            exchange.write(half).await;
            None
        });
        for method in ["GET", "PUT", "DELETE"] {
            let before = upstream.count();
            let request = format!("{method} /half HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(status_of(&gateway, &request).await, 502, "{method}, {half:?}");
            assert_eq!(upstream.count(), before + 1, "{method}, {half:?}");
        }
    }
    for framing in [
        "Content-Length: 05",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        upstream.answers("/odd", answer);
        let request = "GET /odd HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(status_of(&gateway, request).await, 502, "{framing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_head_that_came_with_the_last_request_has_ten_seconds_too() {
    let (_upstream, gateway) = start().await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HT").await;
    raw.response("GET").await.expect(200);
    gateway.advance(Duration::from_secs(9));
    assert!(raw.is_silent_for(Duration::from_millis(300)).await);
    gateway.advance(Duration::from_secs(2));
    assert!(raw.is_closed_within(Duration::from_secs(2)).await);
}
