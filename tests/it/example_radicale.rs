//! `examples/radicale` run for real: Radicale with its settings, behind the gateway's file, both as they
//! stand in the example.

use crate::application::{Application, bearer};
use crate::browser::Browser;
use crate::harness::{PASSWORD, Process};
use crate::raw::{Call, Client, Response};

const HERS: &str = "/ann@example.com/";
const DIARY: &str = "/ann@example.com/diary/";
const EVENT: &str = "/ann@example.com/diary/review.ics";

/// An appointment with a title.
fn event(title: &str) -> String {
    let lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Portcullis//Example//EN",
        "BEGIN:VEVENT",
        "UID:review@example.com",
        "DTSTAMP:20270104T090000Z",
        "DTSTART:20270111T130000Z",
        "DTEND:20270111T140000Z",
        &format!("SUMMARY:{title}"),
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ];
    lines.join("\r\n")
}

async fn start() -> (Application, Process) {
    let radicale = Application::prepare("radicale", &["-m", "radicale"])
        .argument("--config=radicale.ini")
        .argument("--server-hosts=127.0.0.1:{port}")
        .argument("--storage-filesystem-folder={directory}/collections")
        // Radicale answers what it refuses a second late, against guessing of passwords.
        .argument("--auth-delay=0")
        .start()
        .await;
    let process = radicale.behind_the_gateway().await;
    for who in ["ann", "bob"] {
        process.create_user(who, &[]);
    }
    (radicale, process)
}

async fn with_bearer(process: &Process, who: &str) -> Client {
    let token = bearer(process, who).await;
    process.client().with_bearer(&token)
}

/// Asks for the names of what stands in a collection, one level deep.
fn propfind(client: &Client, path: &str) -> Call {
    let body = r#"<?xml version="1.0"?><propfind xmlns="DAV:"><prop><displayname/><getetag/>
        <current-user-principal/></prop></propfind>"#;
    client.call("PROPFIND", path).header("Depth", "1").body("application/xml", body)
}

async fn make_calendar(client: &Client) {
    let body = r#"<?xml version="1.0"?><C:mkcalendar xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">
        <set><prop><displayname>Work</displayname></prop></set></C:mkcalendar>"#;
    client.call("MKCALENDAR", DIARY).body("application/xml", body).send().await.expect(201);
}

/// What was found, with names as people write them: Radicale escapes more in a path than it must.
fn found(answer: &Response) -> String {
    answer.text().replace("%40", "@")
}

fn put(client: &Client, title: &str) -> Call {
    client.call("PUT", EVENT).body("text/calendar", event(title))
}

/// As a page of the gateway's own site sends it.
fn from_own_page(call: Call, client: &Client) -> Call {
    call.header("Origin", &client.origin()).header("Sec-Fetch-Site", "same-origin")
}

async fn title(client: &Client) -> String {
    let text = client.get(EVENT).send().await.expect(200).text();
    let line = text.lines().find_map(|line| line.strip_prefix("SUMMARY:"));
    line.unwrap_or_else(|| panic!("no title: {text}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_is_made_read_changed_and_deleted_by_bearer_and_by_cookie() {
    let (_radicale, process) = start().await;
    let script = with_bearer(&process, "ann").await;
    let browser = process.sign_in("ann").await;

    make_calendar(&script).await;
    let created: Response = put(&script, "Design review").send().await.expect(201);
    let etag = created.header("etag").expect("no ETag").to_owned();
    assert_eq!(title(&browser).await, "Design review");
    let changed = from_own_page(put(&browser, "Budget review"), &browser);
    // Radicale's own guard against lost changes sees the conditions it is sent.
    changed.clone().header("If-Match", "\"another\"").send().await.expect(412);
    changed.header("If-Match", &etag).send().await.expect(204);
    assert_eq!(title(&script).await, "Budget review");

    for client in [&script, &browser] {
        let answer = from_own_page(propfind(client, DIARY), client).send().await.expect(207);
        let found = found(&answer);
        assert!(found.contains(EVENT), "{found}");
        assert!(found.contains("Work"), "{found}");
        assert!(found.contains(&format!("<href>{HERS}</href>")), "no principal: {found}");
        let escaped = DIARY.replace('@', "%40");
        from_own_page(propfind(client, &escaped), client).send().await.expect(207);
    }
    // Radicale compares the address in `Destination` with the host and scheme it learns from the gateway.
    let moved = format!("{}{DIARY}moved.ics", script.origin());
    script.call("MOVE", EVENT).header("Destination", &moved).send().await.expect(201);
    let back = browser.call("MOVE", &format!("{DIARY}moved.ics")).header("Destination", EVENT);
    from_own_page(back, &browser).send().await.expect(201);

    from_own_page(browser.call("DELETE", EVENT), &browser).send().await.expect(200);
    script.get(EVENT).send().await.expect(404);
    put(&script, "Again").send().await.expect(201);
    script.call("DELETE", EVENT).send().await.expect(200);
    browser.get(EVENT).send().await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_sees_nothing_of_it_and_a_forged_name_is_of_no_use() {
    let (radicale, process) = start().await;
    let ann = with_bearer(&process, "ann").await;
    make_calendar(&ann).await;
    put(&ann, "Design review").send().await.expect(201);

    let (script, browser) = (with_bearer(&process, "bob").await, process.sign_in("bob").await);
    for bob in [&script, &browser] {
        for name in ["", "X-Remote-User", "Remote-User", "X_Remote_User", "x-remote.user"] {
            let forged = |call: Call| {
                let call = from_own_page(call, bob);
                if name.is_empty() { call } else { call.header(name, "ann@example.com") }
            };
            let refused = forged(propfind(bob, DIARY)).send().await.expect(403);
            assert!(!refused.text().contains("review"), "{}", refused.text());
            let seen = found(&forged(propfind(bob, "/")).send().await.expect(207));
            assert!(!seen.contains("ann@"), "{name}: {seen}");
            assert!(seen.contains("/bob@example.com/"), "{name}: {seen}");
        }
        bob.get(EVENT).header("X-Remote-User", "ann@example.com").send().await.expect(403);
        from_own_page(put(bob, "Mine now"), bob).send().await.expect(403);
        from_own_page(bob.call("DELETE", EVENT), bob).send().await.expect(403);
    }
    assert_eq!(title(&ann).await, "Design review");
    let as_bob = radicale.said().matches("Successful login: 'bob@example.com'").count();
    assert!(as_bob > 20, "Radicale took Bob for somebody else:\n{}", radicale.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_signing_in_and_no_other_site_with_anns_cookie() {
    let (radicale, process) = start().await;
    let ann = process.sign_in("ann").await;
    from_own_page(ann.call("MKCALENDAR", DIARY), &ann).send().await.expect(201);
    from_own_page(put(&ann, "Design review"), &ann).send().await.expect(201);

    let nobody = process.client();
    let before = radicale.said();
    let forged = nobody.clone().with_bearer("made.up.token");
    for call in [
        propfind(&nobody, HERS),
        propfind(&nobody, HERS).header("X-Remote-User", "ann@example.com"),
        // What a calendar program sends that knows a name and a password alone.
        propfind(&nobody, HERS).header("Authorization", "Basic YW5uQGV4YW1wbGUuY29tOng="),
        propfind(&forged, HERS),
        put(&nobody, "Nobody's"),
        nobody.call("DELETE", EVENT),
        nobody.get("/.well-known/caldav"),
    ] {
        let answer = call.send().await.expect(401);
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
    }
    let visit = nobody.visit(HERS).send().await.expect(303);
    assert_eq!(visit.location(), "/auth/login?next=%2Fann%40example.com%2F");

    let origins = ["https://evil.example", "null", "http://127.0.0.1"];
    for origin in origins {
        for call in [put(&ann, "Theirs"), ann.call("DELETE", EVENT), propfind(&ann, DIARY)] {
            let answer = call.header("Origin", origin).send().await.expect(403);
            assert_eq!(answer.detail(), "Cross-site request");
        }
    }
    assert_eq!(radicale.said(), before, "something reached Radicale");
    assert_eq!(title(&ann).await, "Design review");
}

#[tokio::test(flavor = "multi_thread")]
async fn radicales_own_pages_work_with_the_cookie_alone() {
    let (_radicale, process) = start().await;
    make_calendar(&with_bearer(&process, "ann").await).await;
    let site = format!("http://{}", process.address);
    let browser = Browser::open().await;
    browser.goto(&site).await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.contains("/.web")).await;
    for text in ["ann@example.com", "Work"] {
        browser.wait_to_show(text).await;
    }
    browser.quit().await;
}
