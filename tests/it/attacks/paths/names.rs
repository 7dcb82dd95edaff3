//! Names that are no form of a path but look like another one, or hold what no name does.

use super::spelt;
use super::tables::{Fate, Maze};

#[tokio::test(flavor = "multi_thread")]
async fn pth_08_a_rule_for_a_subtree_covers_its_root_and_every_end_of_it() {
    let maze = Maze::start().await;
    let ends = [
        "", "/", "/x", "/x/", "/%20", "/%20/", "%20", "%20/", ".", ".x", "%2e", "%2f", "%2F/",
        "/%2f", "//",
    ];
    maze.walk(&spelt(&["/adminD", "/publicD", "/ADMIND", "/%61dminD"], &ends), Fate::Ruled).await;
    let dots =
        spelt(&["/admin/D", "/admin/xD", "/public/D"], &[".", "..", "/.", "/..", "%2e", "/%2e"]);
    let dots: Vec<_> = dots.into_iter().filter(|target| is_dotted(target)).collect();
    maze.walk(&dots, Fate::Refused).await;
}

fn is_dotted(target: &str) -> bool {
    target.split('/').any(|part| matches!(&*part.replace("%2e", "."), "." | ".."))
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_11_no_control_byte_stands_in_a_path() {
    let maze = Maze::start().await;
    let templates = [
        "/adminD.png",
        "/publicD/x",
        "/admin/D",
        "/D",
        "/public/xD",
        "/publicD",
        "/public/x/Dadmin",
        "/Dadmin/x",
    ];
    let controls: Vec<u8> = (0..0x20).chain([0x7f]).collect();
    let mut targets = Vec::new();
    for (index, byte) in controls.iter().enumerate() {
        for spelling in [format!("%{byte:02x}"), format!("%{byte:02X}")] {
            let template = templates[(index + spelling.len() + targets.len()) % templates.len()];
            targets.push(template.replace('D', &spelling));
        }
        // Raw; a line's end would end the line.
        if !matches!(byte, b'\r' | b'\n') {
            targets.push(
                templates[index % templates.len()].replace('D', &char::from(*byte).to_string()),
            );
            targets.push(format!("/public?x={}", char::from(*byte)));
        }
    }
    maze.walk(&targets, Fate::Refused).await;
    // What a query encodes is the application's business.
    let queries = spelt(&["/public?x=D", "/admin/x?D"], &["%00", "%0a", "%0d%0a", "%7f", "%1b"]);
    maze.walk(&queries, Fate::Ruled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_13_letters_fold_by_ascii_alone_and_none_stands_raw() {
    let maze = Maze::start().await;
    let letters = [
        "\u{ff41}\u{ff44}\u{ff4d}\u{ff49}\u{ff4e}",
        "adm\u{131}n",
        "ADM\u{130}N",
        "admi\u{ff4e}",
        "\u{212a}",
        "\u{17f}",
        "public\u{ff0f}..\u{ff0f}admin",
        "public/\u{ff0e}\u{ff0e}/admin",
        "public\u{2215}admin",
        "caf\u{e9}",
        "cafe\u{301}",
        "\u{430}dmin",
        "admin\u{200b}",
        "\u{feff}admin",
        "admin\u{ad}",
        "\u{1d41a}dmin",
        "\u{f1}",
        "admin\u{2f}\u{301}",
        "public\u{ff3c}admin",
        "\u{ff05}2f",
    ];
    let raw: Vec<_> = letters.iter().map(|word| format!("/{word}/x")).collect();
    maze.walk(&raw, Fate::Refused).await;
    maze.walk(&["/public?\u{e9}".to_owned(), "/public?x=\u{212a}".to_owned()], Fate::Refused).await;
    let encoded: Vec<_> = letters.iter().map(|word| format!("/{}/x", encode(word))).collect();
    maze.walk(&encoded, Fate::Ruled).await;
    let cases = [
        "admin",
        "ADMIN",
        "Admin",
        "aDmIn",
        "%41dmin",
        "%61%44%6d%49n",
        "public",
        "PUBLIC",
        "pUbLiC",
        "%50ublic",
    ];
    maze.walk(&spelt(&["/D", "/D/x", "/D/", "/x/D", "/D/public/admin"], &cases), Fate::Ruled).await;
}

/// Every byte but ASCII letters, digits and slashes, encoded.
fn encode(word: &str) -> String {
    const KEPT: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'/').remove(b'.');
    percent_encoding::utf8_percent_encode(word, &KEPT).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_14_a_triplet_that_is_none_is_refused_wherever_it_stands() {
    let maze = Maze::start().await;
    let odd = [
        "%", "%1", "%zz", "%u0041", "%%", "%2", "%g1", "%1g", "%-1", "%+1", "%%2f", "%2%66",
        "%0x41", "%.", "%25%", "%{41}",
    ];
    let templates =
        ["/aD", "/D", "/admin/D", "/public/D/x", "/publicD", "/Dadmin", "/public?D", "/admin?x=D"];
    let targets: Vec<_> =
        spelt(&templates, &odd).into_iter().filter(|target| !is_whole(target)).collect();
    maze.walk(&targets, Fate::Refused).await;
}

/// Whether a template made the spelling whole: `%1` before `admin` is `%1a`.
fn is_whole(target: &str) -> bool {
    let mut parts = target.split('%');
    parts.next();
    parts.all(|part| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_16_an_encoded_end_of_a_path_is_a_byte_of_a_name() {
    let maze = Maze::start().await;
    let ends = ["%23", "%3f", "%3F", "%23%3f", "%3fx=%23", "%26", "%3d", "%25", "%2523", "%253f"];
    let templates = [
        "/public/secretD/admin",
        "/publicD/admin",
        "/adminD",
        "/adminD/x",
        "/admin/xD/public",
        "/D/admin",
        "/Dadmin",
        "/public/xD",
    ];
    maze.walk(&spelt(&templates, &ends), Fate::Ruled).await;
    maze.walk(&spelt(&["/publicD/../admin", "/adminD/.."], &ends), Fate::Refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pth_17_no_query_takes_part_in_a_decision() {
    let maze = Maze::start().await;
    let queries = [
        "/public",
        "path=/public/x",
        "/../public",
        "..%2fpublic",
        "%2e%2e/public",
        ";/public",
        "//public",
        "x=/admin",
        "/admin/x",
        "?/public",
        "a=b?c=/public",
        "path=/status",
        "=",
        "&",
        "[]=/public",
        "/..;/admin",
        "%5c..%5cadmin",
        "%00",
        "%ff",
        "_method=GET&path=/public",
        "@/public",
        ":80/public",
    ];
    let mut targets = Vec::new();
    for query in queries {
        for path in ["/admin", "/admin/x", "/public", "/public/x", "/", "/other"] {
            targets.push(format!("{path}?{query}"));
        }
    }
    maze.walk(&targets, Fate::Ruled).await;
    let folded =
        spelt(&["/public%3fD", "/admin%3fD", "/%3fD"], &["/admin", "/public", "x=/admin/y"]);
    maze.walk(&folded, Fate::Ruled).await;
}

/// Nothing is cut off a path or put before it: a prefix ends where a segment does.
#[tokio::test(flavor = "multi_thread")]
async fn pth_19_a_prefix_ends_with_a_segment() {
    let maze = Maze::start().await;
    let templates = [
        "/publicD/admin/x",
        "/publicDadmin",
        "/adminD/x",
        "/adminDx",
        "/xDadmin/y",
        "/publicD",
        "/adminD",
        "/Dadmin/x",
    ];
    let middles = [
        "..", ".", "...", "-", "_", "~", "x", ".admin", "%2e%2e", "..%20", "+", ":", "@", "=", ",",
        "!", "$", "*", "(", "'",
    ];
    let targets: Vec<_> =
        spelt(&templates, &middles).into_iter().filter(|target| !is_dotted(target)).collect();
    maze.walk(&targets, Fate::Ruled).await;
}
