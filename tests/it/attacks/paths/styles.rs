//! How applications read a path, each written from what it is known to do and not from anything of ours:
//! what one of them takes for guarded must not have come past the rule.

/// The segments of a path as somebody reads it.
pub type Reading = Vec<Vec<u8>>;

/// Every reading of a path as received, without the query.
pub fn readings(path: &str) -> Vec<(&'static str, Reading)> {
    let path = path.as_bytes();
    vec![
        ("RFC 3986", rfc_3986(path)),
        ("nginx", nginx(path)),
        ("Tomcat", tomcat(path)),
        ("IIS", iis(path)),
        ("PHP", php(path)),
        ("WHATWG URL", whatwg(path)),
        ("matrix, cut late", matrix_cut_late(path)),
    ]
}

/// Splits, resolves, and decodes each segment by itself: an encoded slash stays within its segment.
fn rfc_3986(path: &[u8]) -> Reading {
    let segments: Reading =
        split(path, |byte| byte == b'/').iter().map(|part| decode(part)).collect();
    resolve(segments)
}

/// Decodes all, merges slashes, resolves.
fn nginx(path: &[u8]) -> Reading {
    resolve(merge(split(&decode(path), |byte| byte == b'/')))
}

/// Cuts parameters off each segment, decodes, resolves; of old, a backslash is a slash.
fn tomcat(path: &[u8]) -> Reading {
    let cut: Vec<Vec<u8>> =
        split(path, |byte| byte == b'/').iter().map(|part| cut_parameters(part)).collect();
    let decoded = decode(&[b"/", &*cut.join(&b'/')].concat());
    resolve(merge(split(&decoded, is_any_slash)))
}

/// Decodes, takes a backslash for a slash, merges, resolves.
fn iis(path: &[u8]) -> Reading {
    resolve(merge(split(&decode(path), is_any_slash)))
}

/// Decodes, ends at a NUL, resolves without merging.
fn php(path: &[u8]) -> Reading {
    let decoded = decode(path);
    let end = decoded.iter().position(|byte| *byte == 0).unwrap_or(decoded.len());
    resolve(split(&decoded[..end], |byte| byte == b'/'))
}

/// Reads what begins with two slashes as an authority and a path.
fn whatwg(path: &[u8]) -> Reading {
    let slashes = path.iter().take_while(|byte| is_any_slash(**byte)).count();
    let rest = if slashes < 2 { path } else { after_authority(&path[slashes..]) };
    let segments = split(rest, is_any_slash).iter().map(|part| decode(part)).collect();
    resolve(segments)
}

fn after_authority(rest: &[u8]) -> &[u8] {
    let end = rest.iter().position(|byte| is_any_slash(*byte)).unwrap_or(rest.len());
    if end == rest.len() { b"/" } else { &rest[end..] }
}

/// Decodes first and cuts parameters off afterwards, encoded ones as well.
fn matrix_cut_late(path: &[u8]) -> Reading {
    let decoded = decode(path);
    let segments =
        split(&decoded, |byte| byte == b'/').iter().map(|part| cut_parameters(part)).collect();
    resolve(merge(segments))
}

const fn is_any_slash(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

/// The segments behind the first slash.
fn split(path: &[u8], is_slash: impl Fn(u8) -> bool) -> Reading {
    let rest = path.get(1..).unwrap_or_default();
    rest.split(|byte| is_slash(*byte)).map(<[u8]>::to_vec).collect()
}

fn cut_parameters(segment: &[u8]) -> Vec<u8> {
    segment.split(|byte| *byte == b';').next().unwrap_or_default().to_vec()
}

/// Decodes once. What is no triplet stays.
pub fn decode(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

fn merge(segments: Reading) -> Reading {
    let last = segments.len() - 1;
    let kept = segments.into_iter().enumerate();
    kept.filter(|(at, segment)| *at == last || !segment.is_empty())
        .map(|(_, segment)| segment)
        .collect()
}

fn resolve(segments: Reading) -> Reading {
    let mut resolved = Reading::new();
    let last = segments.len() - 1;
    for (at, segment) in segments.into_iter().enumerate() {
        match &*segment {
            b".." => {
                resolved.pop();
            }
            b"." => {}
            _ => {
                resolved.push(segment);
                continue;
            }
        }
        if at == last {
            resolved.push(Vec::new());
        }
    }
    resolved
}
