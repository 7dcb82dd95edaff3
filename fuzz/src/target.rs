//! The request target: what is refused, what it is read as, and that no application reads an
//! irregular one in a way that was not decided on.

use portcullis::web::target::{Forms, MAX_READINGS, MAX_TARGET, Segments, Target, TargetError};

type Path = Vec<Vec<u8>>;

/// Checks one target.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let found = Target::parse(text);
    if text.len() > MAX_TARGET {
        assert_eq!(found.err(), Some(TargetError::TooLong));
        return;
    }
    assert_eq!(found.is_ok(), is_acceptable(input), "{text:?}: {found:?}");
    let Ok(target) = found else { return };
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    assert_eq!((target.raw(), target.path(), target.query()), (text, path, query));
    let received: Path = path[1..].split('/').map(|part| decode(part.as_bytes())).collect();
    assert_eq!(parts(target.segments()), received, "{text:?}");
    assert_eq!(target.forms(), forms(path, &received), "{text:?}");
    check_readings(&target, path.as_bytes());
}

fn parts(segments: &Segments) -> Path {
    segments.iter().map(<[u8]>::to_vec).collect()
}

/// Origin form of RFC 9112 section 3.2.1 in the characters of RFC 3986, without encoded control bytes
/// and dot segments; `[` and `]` in a query too.
fn is_acceptable(target: &[u8]) -> bool {
    let end = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let is_written = |part: &[u8], more: &[u8]| {
        let triplets = part.split(|byte| *byte == b'%');
        let mut is_first = true;
        triplets.fold(true, |holds, piece| {
            let digits = if is_first { &[][..] } else { piece.get(..2).unwrap_or(b"x") };
            is_first = false;
            let allowed = |byte: &u8| {
                byte.is_ascii_alphanumeric()
                    || b"-._~!$&'()*+,;=:@/".contains(byte)
                    || more.contains(byte)
            };
            holds && digits.iter().all(u8::is_ascii_hexdigit) && piece.iter().all(allowed)
        })
    };
    path.starts_with(b"/")
        && is_written(path, b"")
        && is_written(query, b"?[]")
        && path.split(|byte| *byte == b'/').map(decode).all(|part| {
            part != b"." && part != b".." && !part.iter().any(|byte| *byte < 0x20 || *byte == 0x7f)
        })
}

/// Percent-decodes what is well formed.
fn decode(mut text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    while let Some((first, rest)) = text.split_first() {
        text = rest;
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                decoded.push(byte);
                text = &rest[2..];
            }
            _ => decoded.push(*first),
        }
    }
    decoded
}

fn forms(path: &str, segments: &Path) -> Forms {
    let path = path.to_ascii_lowercase();
    let found = [
        (path.contains("%2f"), Forms::ENCODED_SLASH),
        (path.contains("%5c"), Forms::ENCODED_BACKSLASH),
        (path.contains(';') || path.contains("%3b"), Forms::SEMICOLON),
        (path.contains("//"), Forms::DOUBLE_SLASH),
        (segments.iter().any(|part| std::str::from_utf8(part).is_err()), Forms::NON_UTF8),
    ];
    found
        .iter()
        .filter(|(is_found, _)| *is_found)
        .fold(Forms::NONE, |all, (_, form)| all.with(*form))
}

fn check_readings(target: &Target, path: &[u8]) {
    assert_eq!(target.readings(Forms::NONE), Ok(vec![target.segments().clone()]));
    let Ok(readings) = target.readings(target.forms()) else { return };
    assert_eq!(readings.first(), Some(target.segments()));
    assert!(readings.len() <= MAX_READINGS);
    let readings: Vec<Path> = readings.iter().map(parts).collect();
    for (index, reading) in readings.iter().enumerate() {
        assert!(!readings[..index].contains(reading), "{reading:?} twice");
    }
    for (name, read) in applications(path) {
        let read: Path = read[1..].split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        assert!(readings.contains(&read), "{name} reads {read:?}, decided on were {readings:?}");
    }
}

/// What applications make of a path: those that decode it whole before anything else, those that
/// cut parameters first (servlets) or last, those that take `\` for `/`, and each of them tidying up
/// what it got in its own way.
fn applications(path: &[u8]) -> Vec<(String, Vec<u8>)> {
    let decoded = decode(path);
    let backslashes: Vec<u8> =
        decoded.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
    let whole = [
        ("decoding", decoded.clone()),
        ("decoding with backslashes", backslashes.clone()),
        ("cutting, then decoding", decode(&without_parameters(path))),
        ("decoding, then cutting", without_parameters(&decoded)),
        ("decoding with backslashes, then cutting", without_parameters(&backslashes)),
    ];
    let mut all = Vec::new();
    for (name, path) in whole {
        all.push((format!("{name}, resolving"), without_dots(&path)));
        all.push((format!("{name}, merging"), with_single_slashes(&path)));
        all.push((
            format!("{name}, merging, resolving"),
            without_dots(&with_single_slashes(&path)),
        ));
        all.push((
            format!("{name}, resolving, merging"),
            with_single_slashes(&without_dots(&path)),
        ));
        all.push((name.to_owned(), path));
    }
    all
}

fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/');
    let cut = segments.map(|part| part.split(|byte| *byte == b';').next().unwrap_or_default());
    cut.collect::<Vec<_>>().join(&b'/')
}

fn with_single_slashes(path: &[u8]) -> Vec<u8> {
    let mut single = Vec::new();
    for byte in path {
        if *byte != b'/' || single.last() != Some(&b'/') {
            single.push(*byte);
        }
    }
    single
}

/// `remove_dot_segments` as RFC 3986 section 5.2.4 spells it out, for a path with a slash first.
fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut input = path.to_vec();
    let mut output = Vec::new();
    while !input.is_empty() {
        if input.starts_with(b"/./") {
            input.drain(..2);
        } else if input == b"/." {
            input = b"/".to_vec();
        } else if input.starts_with(b"/../") || input == b"/.." {
            input = if input == b"/.." { b"/".to_vec() } else { input[3..].to_vec() };
            let last = output.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            output.truncate(last);
        } else {
            let next =
                input[1..].iter().position(|byte| *byte == b'/').map_or(input.len(), |at| at + 1);
            output.extend(input.drain(..next));
        }
    }
    output
}
