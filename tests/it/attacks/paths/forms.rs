//! Dots, slashes, semicolons, backslashes: forms of a path that applications read in several ways.

use super::spelt;
use super::tables::{Fate, Maze};

#[tokio::test(flavor = "multi_thread")]
async fn pth_01_dot_segments_are_refused_in_every_spelling() {
    let maze = Maze::start().await;
    let dots = ["..", ".", "%2e%2e", "%2E.", ".%2e", "%2e", "%2e%2E"];
    let templates = [
        "/public/D/admin/secrets",
        "/D/admin/x",
        "/admin/D",
        "/admin/D/",
        "/public/D",
        "/D",
        "/public/x/D/D/admin",
        "/public/D//admin/x",
        "/info/D/private",
        "/public/D/admin?a=b",
        "//D/admin",
        "/public%2fx/D/admin",
        "/D/D/D/admin",
    ];
    maze.walk(&spelt(&templates, &dots), Fate::Refused).await;
    // With a parameter it is one to those who cut parameters off.
    maze.walk(&spelt(&["/x/D;y/admin", "/public/D;/admin/x", "/D;/admin"], &dots), Fate::Ruled)
        .await;
    // What only looks like one is a name.
    let names = [
        "...",
        "..x",
        ".x",
        "x..",
        "%2e%2e%2e",
        "..%20",
        ".%20",
        "%252e%252e",
        "..%2520",
        "-.",
        "~..",
    ];
    let templates = ["/public/D/admin/x", "/D/admin/x", "/admin/D", "/D"];
    maze.walk(&spelt(&templates, &names), Fate::Ruled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_02_an_encoded_slash_leads_nowhere_its_readings_may_not() {
    let maze = Maze::start().await;
    let templates = [
        "/public/..Dadmin/secret.txt",
        "/publicDadmin",
        "/public/Dadmin",
        "/publicD..Dadmin",
        "/Dadmin/x",
        "/adminDx",
        "/adminD",
        "/xD..D..Dadmin/x",
        "/api/validate/..D..Dadmin/x/",
        "/public/..D..D..Dadmin",
        "/public/x/..DyD..Dadmin",
        "/D..Dadmin",
        "/public/.Dadmin",
        "/..Dadmin",
        "/public/..Dpublic/x",
        "/publicDx/y",
        "/public/aDb",
        "/D",
        "/DDadmin",
        "/%61dminDx",
        "/publicD%2e%2eDadmin",
    ];
    maze.walk(&spelt(&templates, &["%2f", "%2F"]), Fate::Ruled).await;
    // Encoded twice it is data, to everybody who decodes once.
    maze.walk(&spelt(&templates[..8], &["%252f", "%252F", "%25252f"]), Fate::Ruled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_05_slashes_that_an_application_merges_or_reads_as_an_authority() {
    let maze = Maze::start().await;
    let templates = [
        "Dadmin/secret",
        "Dadmin",
        "DhDadmin/x",
        "DhDadminDx",
        "Dpublic/admin",
        "/publicDadmin",
        "/adminDx",
        "/aDbDc",
        "D",
        "/public/xD",
        "Du:p@h:80/admin",
        "D%61dmin/x",
        "DADMIN/x",
        "Dadmin:80/public/x",
        "Dpublic@admin/public/x",
        "DpublicDadmin",
        "DhD..x/admin",
        "D?/public/admin",
    ];
    let slashes = ["//", "///", "////", "//////"];
    maze.walk(&spelt(&templates, &slashes), Fate::Ruled).await;
    maze.walk(&spelt(&["D[::1]/admin", "Dh/../admin", "D\\h/admin"], &slashes), Fate::Refused)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_07_a_semicolon_cuts_nothing_off_a_rule() {
    let maze = Maze::start().await;
    let templates = [
        "/publicDabc/admin/x",
        "/public/..D/admin",
        "/adminDx=1",
        "/adminDx",
        "/admin/D/",
        "/D/admin",
        "/Dadmin",
        "/aDx/..Dy/admin",
        "/public/xD/../admin",
        "/realmsDabc/master/account",
        "/adminD/../public",
        "/adminD",
        "/public/aDv=1/b",
        "/aDmin/x",
        "/aD;dmin",
        "/admin/xDjsessionid=1",
        "/public/.D/admin",
        "/public/..Dx=1/admin",
        "/ADMINDx/y",
        "/public/%2e%2eD/admin",
    ];
    let dotted: Vec<_> =
        templates.into_iter().filter(|template| template.contains("/../")).collect();
    let others: Vec<_> =
        templates.into_iter().filter(|template| !template.contains("/../")).collect();
    maze.walk(&spelt(&others, &[";", "%3b", "%3B", ";;"]), Fate::Ruled).await;
    maze.walk(&spelt(&dotted, &[";", "%3b", "%3B"]), Fate::Refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_10_a_backslash_is_refused_and_an_encoded_one_leads_nowhere_its_readings_may_not() {
    let maze = Maze::start().await;
    let templates = [
        "/publicD..Dadmin",
        "/adminD",
        "/Dadmin/x",
        "/public/..Dadmin",
        "/public/xD..D..Dadmin/x",
        "/adminDx/y",
        "/publicDx",
        "/DhDadmin",
        "/DDhDadmin/x",
        "/D",
        "/public/..D..Dadmin",
        "/public/.Dadmin",
        "/..Dadmin/x",
        "/ADMINDx",
    ];
    maze.walk(&spelt(&templates, &["\\", "\\\\"]), Fate::Refused).await;
    maze.walk(&spelt(&["Dadmin", "\\Dadmin/x", "/public?D", "/admin?x=D"], &["\\"]), Fate::Refused)
        .await;
    maze.walk(&spelt(&templates, &["%5c", "%5C", "%5c%5C"]), Fate::Ruled).await;
    maze.walk(&spelt(&templates[..6], &["%255c"]), Fate::Ruled).await;
}

/// Several forms in one path: each by itself might be harmless.
#[tokio::test(flavor = "multi_thread")]
async fn pth_02_forms_together_lead_nowhere_their_readings_may_not() {
    let maze = Maze::start().await;
    let parts = [
        "%2f",
        "//",
        ";x",
        "%3b",
        "%5c",
        "%c0%ae%c0%ae",
        "%c0%af",
        "..",
        "admin",
        "public",
        "%ff",
        "x",
    ];
    let mut targets = Vec::new();
    // A walk through the combinations that visits each pair: enough, and the same every time.
    for one in parts {
        for other in parts {
            for last in ["admin", "public/x", "%2fadmin/x"] {
                targets.push(format!("/public/{one}{other}/{last}"));
                targets.push(format!("/{one}{other}{last}"));
            }
        }
    }
    let targets: Vec<_> = targets
        .into_iter()
        .filter(|target| !target.split('/').any(|part| matches!(part, ".." | ".")))
        .enumerate()
        .filter_map(|(index, target)| (index % 4 == 1).then_some(target))
        .collect();
    maze.walk(&targets, Fate::Ruled).await;
}
