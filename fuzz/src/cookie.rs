//! Cookies: which one is believed, and that no application finds one of the gateway's own in what is
//! left.

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use portcullis::proxy::sanitise::credentials;
use portcullis::session::CookieCredential;
use portcullis::web::cookies::{self, Found};
use portcullis::web::fields::Fields;

const BASE: &str = "portcullis";
const NAMES: [&str; 3] = ["portcullis", "__Host-portcullis", "__Secure-portcullis"];

type Lines = Vec<Vec<u8>>;

/// Checks the lines of the input as so many `Cookie` and `Set-Cookie` fields.
pub fn check(input: &[u8]) {
    let lines: Vec<HeaderValue> = input
        .split(|byte| *byte == b'\n')
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect();
    check_request(&lines);
    check_answer(&lines);
}

fn check_request(lines: &[HeaderValue]) {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(COOKIE, line.clone());
    }
    let before = fields(&headers);
    for name in NAMES {
        let named: Vec<Vec<u8>> = strict_pairs(&before)
            .into_iter()
            .filter_map(|pair| Some(pair.strip_prefix(format!("{name}=").as_bytes())?.to_vec()))
            .collect();
        let (all, found) = (Fields::of(&headers), cookies::find(&headers, name));
        let credential = credentials(&all, name);
        assert_eq!(cookies::read(&all, name, BASE).0, found);
        let credential = credential.expect("there is no Authorization").cookie;
        match named.as_slice() {
            [] => {
                assert_eq!(found, Found::None);
                assert!(matches!(credential, CookieCredential::None));
            }
            [one] => {
                assert_eq!(found, Found::One(one));
                assert!(matches!(credential, CookieCredential::One(value) if value == *one));
            }
            _ => {
                assert_eq!(found, Found::Several);
                assert!(matches!(credential, CookieCredential::Several));
            }
        }
    }
    let (_, share) = cookies::read(&Fields::of(&headers), NAMES[0], BASE);
    let mut also = headers.clone();
    cookies::strip_own(&mut headers, BASE);
    cookies::strip_share(&mut also, BASE, share);
    assert_eq!(also, headers);
    let after = fields(&headers);
    for (reader, names) in readers(&after) {
        for name in names {
            assert!(!is_own(&name), "{reader} finds {name:?} in {after:?}");
        }
    }
    // What is the application's is all there, in order, and untouched where nothing of ours was.
    let foreign = |lines: &Lines| {
        let pairs = strict_pairs(lines).into_iter();
        pairs.filter(|pair| !pair.is_empty() && !could_be_own(pair)).collect::<Vec<_>>()
    };
    assert_eq!(foreign(&before), foreign(&after));
    if !strict_pairs(&before).iter().any(|pair| could_be_own(pair)) {
        assert_eq!(before, after);
    }
    cookies::strip_own(&mut headers, BASE);
    assert_eq!(fields(&headers), after, "stripping twice");
}

fn check_answer(lines: &[HeaderValue]) {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(SET_COOKIE, line.clone());
    }
    cookies::strip_own_set(&mut headers, BASE);
    let sets_own = |line: &&HeaderValue| {
        let pair = line.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        could_be_own(pair)
    };
    let kept: Lines =
        lines.iter().filter(|line| !sets_own(line)).map(|line| line.as_bytes().to_vec()).collect();
    let left = headers.get_all(SET_COOKIE).iter().map(|line| line.as_bytes().to_vec());
    assert_eq!(left.collect::<Lines>(), kept);
}

fn fields(headers: &HeaderMap) -> Lines {
    headers.get_all(COOKIE).iter().map(|line| line.as_bytes().to_vec()).collect()
}

/// The pairs of all lines, only spaces and tabs around each left out (RFC 6265 section 5.2).
fn strict_pairs(lines: &Lines) -> Lines {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let trimmed = |pair: &[u8]| {
        let from = pair.iter().position(|byte| !blank(byte)).unwrap_or(pair.len());
        let to = pair.iter().rposition(|byte| !blank(byte)).map_or(from, |last| last + 1);
        pair[from..to].to_vec()
    };
    lines.iter().flat_map(|line| line.split(|byte| *byte == b';')).map(trimmed).collect()
}

/// The names that different applications find: strict ones, ones that trim what their language calls
/// white space, ones that read a nameless cookie's value as a name, ones that join the lines first.
fn readers(lines: &Lines) -> Vec<(&'static str, Lines)> {
    let name_of =
        |pair: &[u8]| pair.split(|byte| *byte == b'=').next().unwrap_or_default().to_vec();
    let strict = strict_pairs(lines);
    let first_names: Lines = strict.iter().map(|pair| name_of(pair)).collect();
    let ascii: Lines = first_names.iter().map(|name| name.trim_ascii().to_vec()).collect();
    let nameless: Lines = strict
        .iter()
        .map(|pair| {
            let from = pair.iter().position(|byte| !b"= \t".contains(byte)).unwrap_or(pair.len());
            name_of(&pair[from..]).trim_ascii().to_vec()
        })
        .collect();
    let joined = lines.join(&b"; "[..]);
    let joined = strict_pairs(&vec![joined]).iter().map(|pair| name_of(pair)).collect();
    vec![
        ("a strict one", first_names),
        ("one that trims", ascii),
        ("a browser", nameless),
        ("one that joins", joined),
    ]
}

/// Every name that, without `__Host-` or `__Secure-`, is the session cookie's or begins with it and a
/// hyphen.
fn is_own(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).into_owned();
    let lower = name.to_ascii_lowercase();
    let skipped = ["__host-", "__secure-"].iter().find(|prefix| lower.starts_with(**prefix));
    let bare = &name[skipped.map_or(0, |prefix| prefix.len())..];
    bare == BASE || bare.starts_with("portcullis-")
}

/// Whether a pair is one of ours to anybody: browsers send a cookie without a name as its value alone.
fn could_be_own(pair: &[u8]) -> bool {
    let from = pair.iter().position(|byte| !b"= \t".contains(byte)).unwrap_or(pair.len());
    let name = pair[from..].split(|byte| *byte == b'=').next().unwrap_or_default();
    let to = name.iter().rposition(|byte| !b" \t".contains(byte)).map_or(0, |last| last + 1);
    is_own(&name[..to])
}
