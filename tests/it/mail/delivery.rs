//! Whatever becomes of the mail server, of the gateway or of the way between them.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::{FORGOT, VERIFY, by, counted, promised, resets, start};
use crate::harness::{Gateway, Process, Stopwatch};
use crate::mail::server::MailServer;
use crate::postgres::Postgres;

/// Longer than the pause after the first failed attempts.
const A_WHILE: Duration = Duration::from_mins(20);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_now_or_cut_off_is_sent_later_with_another_link() {
    for mode in ["rcpt 450 later", "drop", "rcpt 421 closing"] {
        let (server, gateway) = start(&["ann"]).await;
        server.mode(mode);
        promised(&gateway.client(), FORGOT, "ann").await;
        server.wait_until(mode, 1).await;
        server.mode("accept");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(server.messages().len(), 0, "{mode}: tried again at once");
        gateway.advance(A_WHILE);
        let message = &server.wait_for(1).await[0];
        assert!(resets(&gateway.client(), message.link()).await, "{mode}");
        counted(&[&gateway], "failed", 1.0).await;
        counted(&[&gateway], "sent", 1.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_void_once_a_later_attempt_made_another() {
    let (server, gateway) = start(&["ann"]).await;
    server.mode("keep-silent");
    promised(&gateway.client(), FORGOT, "ann").await;
    server.wait_until("keep-silent", 1).await;
    let first = server.wait_for(1).await;
    // The server is gone before it said that it has kept the message, so it is sent once more.
    let gateway = {
        let second = MailServer::start().await;
        drop(server);
        gateway.advance(A_WHILE);
        let gateway = gateway.restart_with(&[("SMTP", &second.url())]).await;
        let later = second.wait_for(1).await;
        assert_ne!(first[0].header("message-id"), later[0].header("message-id"));
        assert!(!resets(&gateway.client(), first[0].link()).await);
        assert!(resets(&gateway.client(), later[0].link()).await);
        gateway
    };
    drop(gateway);
}

async fn events(gateway: &Gateway, kind: &str) -> Vec<String> {
    let events = gateway.running.store().list_events(None, 100).await.unwrap();
    let found = events.into_iter().filter(|event| event.kind == kind);
    found.map(|event| format!("{} {}", event.actor, event.detail)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_given_up_with_an_event_and_holds_nobody_up() {
    let (server, gateway) = start(&["ann", "bob"]).await;
    server.mode("rcpt 550 5.1.1 no such mailbox");
    promised(&gateway.client(), FORGOT, "ann").await;
    server.wait_until("rcpt 550 5.1.1 no such mailbox", 1).await;
    server.mode("accept");
    promised(&gateway.client(), FORGOT, "bob").await;
    assert_eq!(server.wait_for(1).await[0].to(), "bob@example.com");
    let told = events(&gateway, "mail-failed").await;
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("ann@example.com reset: ") && told[0].contains("no such mailbox"));
    gateway.advance(A_WHILE);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(server.messages().len(), 1);
    counted(&[&gateway], "given_up", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_nobody_takes_is_given_up_after_a_day_with_an_event() {
    let (server, gateway) = start(&[]).await;
    gateway.person("ann").unverified().create().await;
    server.mode("rcpt 451 try again");
    promised(&gateway.client(), VERIFY, "ann").await;
    promised(&gateway.client(), FORGOT, "ann").await;
    server.wait_until("rcpt 451 try again", 2).await;
    gateway.advance(Duration::from_hours(23));
    server.wait_until("rcpt 451 try again", 4).await;
    assert_eq!(events(&gateway, "mail-failed").await.len(), 0);
    gateway.advance(Duration::from_hours(2));
    for _ in 0..250 {
        let mut told = events(&gateway, "mail-failed").await;
        told.sort();
        if told.len() == 2 {
            let reason = "it could not be sent within a day";
            assert_eq!(told[0], format!("ann@example.com reset: {reason}"));
            assert_eq!(told[1], format!("ann@example.com verify: {reason}"));
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no event");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_hangs_keeps_nobody_from_being_answered() {
    let (server, gateway) = start(&["ann", "bob"]).await;
    server.mode("hang");
    promised(&gateway.client(), FORGOT, "ann").await;
    server.wait_until("hang", 1).await;
    let watch = Stopwatch::start();
    promised(&gateway.client(), FORGOT, "bob").await;
    promised(&gateway.client(), FORGOT, "nobody").await;
    assert!(watch.elapsed() < Duration::from_secs(3), "{:?}", watch.elapsed());
    assert_eq!(server.messages().len(), 0);
}

/// Kills a gateway at a point of sending, starts it again and waits for the mail.
async fn killed_at(mode: &'static str, times: usize) {
    let server = MailServer::start().await;
    let mut process = by(&server.url()).spawn().await;
    process.create_user("ann", &[]);
    server.mode(mode);
    promised(&process.client(), FORGOT, "ann").await;
    if times > 0 {
        server.wait_until(mode, times).await;
    }
    let kept = server.messages().len();
    process.kill_and_start_again().await;
    server.mode("accept");
    let messages = server.wait_for(kept + 1).await;
    assert!(resets(&process.client(), messages[kept].link()).await, "{mode}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_by_a_kill_at_any_point() {
    let at_once = killed_at("hang", 0);
    let connected = killed_at("hang", 1);
    let handed_over = killed_at("hang-data", 1);
    let taken_and_not_heard_of = killed_at("keep-silent", 1);
    let refused = killed_at("rcpt 450 later", 1);
    tokio::join!(at_once, connected, handed_over, taken_and_not_heard_of, refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_hangs_delays_no_other() {
    let people = ["ann", "bob", "cyd", "dan", "eve"];
    let (server, gateway) = start(&people).await;
    server.mode("hang-for ann@example.com");
    promised(&gateway.client(), FORGOT, "ann").await;
    server.wait_until("hang-for ann@example.com", 1).await;
    let watch = Stopwatch::start();
    for who in &people[1..] {
        promised(&gateway.client(), FORGOT, who).await;
    }
    let messages = server.wait_for(4).await;
    assert!(watch.elapsed() < Duration::from_secs(20), "{:?}", watch.elapsed());
    let mut to: Vec<_> = messages.iter().map(|message| message.to()[..3].to_owned()).collect();
    to.sort();
    assert_eq!(to, people[1..]);
    // Held all the while, it is not sent a second time beside the first, however late it is.
    gateway.advance(A_WHILE);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(server.seen("hang-for ann@example.com"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_by_a_kill_while_several_are_under_way() {
    let server = MailServer::start().await;
    let mut process = by(&server.url()).spawn().await;
    let people: Vec<_> = (0..6).map(|number| format!("p{number}")).collect();
    for who in &people {
        process.create_user(who, &[]);
    }
    server.mode("hang-data");
    for who in &people {
        promised(&process.client(), FORGOT, who).await;
    }
    server.wait_until("hang-data", 4).await;
    process.kill_and_start_again().await;
    server.mode("accept");
    let messages = server.wait_for(6).await;
    let mut to: Vec<_> = messages.iter().map(|message| message.to()[..2].to_owned()).collect();
    to.sort();
    assert_eq!(to, people);
    for message in &messages {
        assert!(resets(&process.client(), message.link()).await, "{}", message.to());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_nodes_sends_at_a_time_a_few_letters_at_once_and_each_once() {
    let server = MailServer::start().await;
    let url = Postgres::start().database().await;
    let node = async |name: &str| {
        let yaml = super::YAML.replace("no-reply@", name);
        let builder = Gateway::builder(&yaml).with("SMTP", &server.url());
        builder.postgres(&url).start().await
    };
    let (first, second) = (node("first@").await, node("second@").await);
    for number in 0..16 {
        let who = format!("p{number}");
        first.person(&who).create().await;
        let node = [&first, &second][number % 2];
        promised(&node.client(), FORGOT, &who).await;
    }
    let messages = server.wait_for(16).await;
    let mut to: Vec<_> = messages.iter().map(|message| message.to().to_owned()).collect();
    to.sort();
    to.dedup();
    assert_eq!(to.len(), 16);
    assert_eq!(messages[15].0["most_senders"], 1, "two nodes sent at the same time");
    let at_once = messages[15].0["most_open"].as_u64().unwrap();
    assert!((1..=4).contains(&at_once), "{at_once} at once");
    counted(&[&first, &second], "sent", 16.0).await;
}

/// A gateway that believes the mail server's authority.
async fn trusting(server: &MailServer, url: &str) -> Process {
    let authority = server.authority();
    let process = by(url).with("SSL_CERT_FILE", authority.to_str().unwrap()).spawn().await;
    process.create_user("ann", &[]);
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_over_tls_with_a_password() {
    for (option, scheme) in [("--starttls", "smtp"), ("--tls", "smtps")] {
        let server = MailServer::start_with(&[option, "--user", "quay:p@ss/word"]).await;
        let url = format!("{scheme}://quay:p%40ss%2Fword@127.0.0.1:{}", server.port);
        let process = trusting(&server, &url).await;
        promised(&process.client(), FORGOT, "ann").await;
        let message = &server.wait_for(1).await[0];
        assert_eq!(message.0["is_tls"], true, "{scheme}");
        assert_eq!(message.0["user"], "quay", "{scheme}");
        assert!(!process.stderr().contains("p@ss/word"), "{}", process.stderr());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_mail_nor_password_goes_to_a_server_that_cannot_be_trusted() {
    let unknown = MailServer::start_with(&["--starttls", "--user", "quay:word"]).await;
    let other = MailServer::start_with(&["--tls"]).await;
    let plain = MailServer::start_with(&["--user", "quay:word"]).await;
    for (server, scheme) in
        [(&unknown, "smtp"), (&unknown, "smtps"), (&plain, "smtp"), (&plain, "smtps")]
    {
        let url = format!("{scheme}://quay:word@127.0.0.1:{}", server.port);
        let process = trusting(&other, &url).await;
        promised(&process.client(), FORGOT, "ann").await;
        process.word_with("mail.attempt=1").await;
        assert!(!process.stderr().contains("word@"), "{}", process.stderr());
        assert_eq!((server.messages().len(), server.seen("password")), (0, 0), "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_the_operators_to_mend_and_loses_no_mail() {
    let server = MailServer::start_with(&["--user", "quay:word"]).await;
    let with = |word: &str| format!("smtp://quay:{word}@127.0.0.1:{}?tls=none", server.port);
    let gateway = by(&with("wrong")).start().await;
    gateway.person("ann").create().await;
    promised(&gateway.client(), FORGOT, "ann").await;
    counted(&[&gateway], "failed", 1.0).await;
    gateway.advance(A_WHILE);
    counted(&[&gateway], "failed", 2.0).await;
    gateway.advance(A_WHILE);
    let gateway = gateway.restart_with(&[("SMTP", &with("word"))]).await;
    let message = &server.wait_for(1).await[0];
    assert_eq!(message.0["user"], "quay");
    assert!(resets(&gateway.client(), message.link()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_gets_one_private_file_a_message() {
    let yaml = super::YAML.replace("smtp: \"${SMTP}\"", "directory: out/mail");
    let gateway = Gateway::builder(&yaml).start().await;
    gateway.person("ann").create().await;
    promised(&gateway.client(), FORGOT, "ann").await;
    let directory = gateway.file.parent().unwrap().join("out/mail");
    let mut files = Vec::new();
    for _ in 0..500 {
        files = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "eml"));
        if !files.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let text = std::fs::read_to_string(&files[0]).unwrap();
    assert!(text.contains("To: ann@example.com\r\n"), "{text}");
    assert!(text.contains("/auth/reset-password?token="), "{text}");
}
