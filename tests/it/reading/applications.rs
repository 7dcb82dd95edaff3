//! How applications known for it read a path, each in a few lines: what a route that permits an
//! irregular form must have been decided on.

use super::naive::{Segments, decode};

/// Every reading, with who reads so.
pub fn readings(path: &str) -> Vec<(&'static str, Segments)> {
    let whole = decode(path.as_bytes());
    let raw_cut = cut_parameters(path.as_bytes());
    let backslashes: Vec<u8> =
        whole.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
    let latin1: Vec<u8> = whole.iter().map(|byte| char::from(*byte)).collect::<String>().into();
    let valid: String = whole.utf8_chunks().map(|chunk| chunk.valid().to_owned()).collect();
    vec![
        ("divided, then decoded", split(path.as_bytes()).iter().map(|p| decode(p)).collect()),
        ("decoded, then divided (WSGI, CGI)", split(&whole)),
        ("decoded, dots resolved (Go's path.Clean without merging)", resolve(&split(&whole))),
        ("decoded, merged, resolved (nginx)", resolve(&merge(&split(&whole)))),
        ("decoded, backslashes as slashes, resolved (IIS)", resolve(&split(&backslashes))),
        ("the same, merged", resolve(&merge(&split(&backslashes)))),
        ("parameters cut, decoded (servlets)", split(&decode(&raw_cut))),
        ("parameters cut, decoded, merged, resolved", resolve(&merge(&split(&decode(&raw_cut))))),
        ("decoded, parameters cut (Jetty of old)", split(&cut_parameters(&whole))),
        ("decoded, parameters cut, resolved", resolve(&split(&cut_parameters(&whole)))),
        ("cut at the first semicolon", split(&decode(before(path.as_bytes(), b';')))),
        ("decoded, cut at the first semicolon", split(before(&whole, b';'))),
        ("bytes as characters", split(&latin1)),
        ("what is no UTF-8 left out", split(valid.as_bytes())),
        ("with an authority (a parser of URLs)", after_authority(path)),
    ]
}

fn before(bytes: &[u8], end: u8) -> &[u8] {
    bytes.split(|byte| *byte == end).next().unwrap_or_default()
}

/// Each segment up to its first semicolon.
fn cut_parameters(path: &[u8]) -> Vec<u8> {
    let cut: Vec<&[u8]> = path.split(|byte| *byte == b'/').map(|part| before(part, b';')).collect();
    cut.join(&b'/')
}

fn split(path: &[u8]) -> Segments {
    path.get(1..).unwrap_or_default().split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect()
}

/// Empty segments taken out, but for a last one.
fn merge(segments: &Segments) -> Segments {
    let last = segments.len() - 1;
    let kept = segments.iter().enumerate().filter(|(at, part)| !part.is_empty() || *at == last);
    kept.map(|(_, part)| part.clone()).collect()
}

/// RFC 3986 section 5.2.4.
fn resolve(segments: &Segments) -> Segments {
    let mut kept: Segments = Vec::new();
    for (at, part) in segments.iter().enumerate() {
        let is_last = at + 1 == segments.len();
        match part.as_slice() {
            b"." | b".." => {
                if part.len() == 2 {
                    kept.pop();
                }
                if is_last {
                    kept.push(Vec::new());
                }
            }
            _ => kept.push(part.clone()),
        }
    }
    kept
}

/// `//host/path` read as a reference that has an authority.
fn after_authority(path: &str) -> Segments {
    let path = match path.strip_prefix("//") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => path,
    };
    path[1..].split('/').map(|part| decode(part.as_bytes())).collect()
}
