//! Every way an application could read an irregular path.
//!
//! Applications differ in what they decode, cut and merge, and in which order. A route that permits
//! an irregular form is decided on all these readings, so none of them may be missing here; a reading
//! no application makes costs at most a needless refusal.

use super::target::{Forms, MAX_READINGS, Segments, TooManyReadings};

/// One byte of a path and how it was written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Data(u8),
    Slash,
    EncodedSlash,
    EncodedBackslash,
    Semicolon,
    EncodedSemicolon,
}

/// How bytes that are not UTF-8 are taken.
#[derive(Clone, Copy)]
enum Decoding {
    Kept,
    /// As decoders do that do not refuse overlong forms: `%c0%af` is a slash.
    Overlong,
    /// Each byte a character, when the path is no UTF-8.
    Latin1,
    /// Left out.
    Cut,
}

/// What is cut from a semicolon to the end of its segment, or of the path.
#[derive(Clone, Copy)]
enum Cut {
    Nothing,
    /// Behind `;` alone, before or after further slashes are found.
    Raw(Order),
    /// Behind `;` and `%3b`.
    Both(Order),
    /// All the rest behind the first `;`.
    RestRaw,
    /// All the rest behind the first `;` or `%3b`.
    RestBoth,
}

#[derive(Clone, Copy)]
enum Order {
    BeforeSlashes,
    AfterSlashes,
}

/// Which encoded bytes are taken for slashes.
#[derive(Clone, Copy)]
struct Slashes {
    slash: bool,
    backslash: bool,
}

/// What happens to empty and dot segments.
#[derive(Clone, Copy)]
enum Tidying {
    Nothing,
    Merge,
    Resolve,
    MergeThenResolve,
    ResolveThenMerge,
}

const DECODINGS: [Decoding; 4] =
    [Decoding::Kept, Decoding::Overlong, Decoding::Latin1, Decoding::Cut];
const SLASHES: [Slashes; 4] = [
    Slashes { slash: false, backslash: false },
    Slashes { slash: true, backslash: false },
    Slashes { slash: false, backslash: true },
    Slashes { slash: true, backslash: true },
];
const CUTS: [Cut; 7] = [
    Cut::Nothing,
    Cut::Raw(Order::BeforeSlashes),
    Cut::Raw(Order::AfterSlashes),
    Cut::Both(Order::BeforeSlashes),
    Cut::Both(Order::AfterSlashes),
    Cut::RestRaw,
    Cut::RestBoth,
];
const TIDYINGS: [Tidying; 5] = [
    Tidying::Nothing,
    Tidying::Merge,
    Tidying::Resolve,
    Tidying::MergeThenResolve,
    Tidying::ResolveThenMerge,
];

/// The distinct readings of a path that [`super::target::Target::parse`] accepted, the received one
/// first. Only forms in `found` are read in several ways.
pub(super) fn read(
    received: &Segments,
    path: &[u8],
    found: Forms,
) -> Result<Vec<Segments>, TooManyReadings> {
    let mut readings = vec![received.clone()];
    let mut wholes = Vec::new();
    let pieces = split_pieces(path);
    let decodings = if found.contains(Forms::NON_UTF8) { &DECODINGS[..] } else { &DECODINGS[..1] };
    for decoding in decodings {
        let decoded = decode(&pieces, *decoding);
        for slashes in SLASHES.iter().filter(|slashes| is_possible(**slashes, found)) {
            let cuts = if found.contains(Forms::SEMICOLON) { &CUTS[..] } else { &CUTS[..1] };
            for cut in cuts {
                let whole = apply(&decoded, *slashes, *cut);
                if !wholes.contains(&whole) {
                    add_tidied(&mut readings, &split_segments(&whole))?;
                    wholes.push(whole);
                }
            }
        }
    }
    Ok(readings)
}

fn is_possible(slashes: Slashes, found: Forms) -> bool {
    (!slashes.slash || found.contains(Forms::ENCODED_SLASH))
        && (!slashes.backslash || found.contains(Forms::ENCODED_BACKSLASH))
}

/// Adds a path in every tidiness, and what follows the authority where it reads like one with an
/// authority.
fn add_tidied(readings: &mut Vec<Segments>, segments: &[Vec<u8>]) -> Result<(), TooManyReadings> {
    for tidying in TIDYINGS {
        let tidied = tidy(segments.to_vec(), tidying);
        add(readings, &tidied)?;
        for path in cut_authority(&tidied) {
            for tidying in TIDYINGS {
                add(readings, &tidy(path.clone(), tidying))?;
            }
        }
    }
    Ok(())
}

fn add(readings: &mut Vec<Segments>, parts: &[Vec<u8>]) -> Result<(), TooManyReadings> {
    let reading = Segments::collect(parts.iter().map(Vec::as_slice)).ok_or(TooManyReadings)?;
    if readings.contains(&reading) {
        return Ok(());
    }
    if readings.len() == MAX_READINGS {
        return Err(TooManyReadings);
    }
    readings.push(reading);
    Ok(())
}

/// The path without its first slash, byte by byte. Triplets were checked by the parser.
fn split_pieces(path: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(path.len());
    let mut rest = path.get(1..).unwrap_or_default();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        pieces.push(match byte {
            b'/' => Piece::Slash,
            b';' => Piece::Semicolon,
            b'%' => {
                let digits = after.get(..2).unwrap_or_default();
                rest = after.get(2..).unwrap_or_default();
                let value = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                match value {
                    Some(b'/') => Piece::EncodedSlash,
                    Some(b'\\') => Piece::EncodedBackslash,
                    Some(b';') => Piece::EncodedSemicolon,
                    Some(value) => Piece::Data(value),
                    None => Piece::Data(b'%'),
                }
            }
            byte => Piece::Data(byte),
        });
    }
    pieces
}

fn decode(pieces: &[Piece], decoding: Decoding) -> Vec<Piece> {
    match decoding {
        Decoding::Kept => pieces.to_vec(),
        Decoding::Overlong => decode_overlong(pieces),
        Decoding::Latin1 => decode_latin1(pieces),
        Decoding::Cut => cut_invalid(pieces),
    }
}

/// Takes overlong two-, three- and four-byte forms of ASCII for the ASCII byte.
fn decode_overlong(pieces: &[Piece]) -> Vec<Piece> {
    let mut decoded = Vec::with_capacity(pieces.len());
    let mut rest = pieces;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match overlong(first, after) {
            Some((byte, length)) => {
                decoded.push(match byte {
                    b'/' | b'\\' => Piece::Slash,
                    b';' => Piece::EncodedSemicolon,
                    byte => Piece::Data(byte),
                });
                rest = after.get(length..).unwrap_or_default();
            }
            None => decoded.push(first),
        }
    }
    decoded
}

/// The ASCII byte an overlong form stands for, and how many bytes continue it.
fn overlong(first: Piece, after: &[Piece]) -> Option<(u8, usize)> {
    let Piece::Data(lead) = first else { return None };
    let (mut value, length) = match lead {
        0xc0 | 0xc1 => (lead & 0x1f, 1),
        0xe0 => (0, 2),
        0xf0 => (0, 3),
        _ => return None,
    };
    for piece in after.get(..length)? {
        let Piece::Data(byte @ 0x80..=0xbf) = *piece else { return None };
        // More than seven bits is no ASCII.
        if value > 1 {
            return None;
        }
        value = value << 6 | byte & 0x3f;
    }
    value.is_ascii().then_some((value, length))
}

/// Reads a path that is no UTF-8 as ISO 8859-1.
fn decode_latin1(pieces: &[Piece]) -> Vec<Piece> {
    let mut decoded = Vec::with_capacity(pieces.len() * 2);
    for piece in pieces {
        if let Piece::Data(byte @ 0x80..) = *piece {
            let mut buffer = [0; 2];
            let text = char::from(byte).encode_utf8(&mut buffer);
            decoded.extend(text.bytes().map(Piece::Data));
        } else {
            decoded.push(*piece);
        }
    }
    decoded
}

/// Leaves out what is no UTF-8, as decoders do that ignore errors.
fn cut_invalid(pieces: &[Piece]) -> Vec<Piece> {
    // Every piece that is no data is ASCII, so it stands for itself in a byte string.
    let bytes: Vec<u8> = pieces.iter().map(|piece| byte_of(*piece)).collect();
    let mut kept = Vec::with_capacity(pieces.len());
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        let valid = at + chunk.valid().len();
        kept.extend_from_slice(pieces.get(at..valid).unwrap_or_default());
        at = valid + chunk.invalid().len();
    }
    kept
}

const fn byte_of(piece: Piece) -> u8 {
    match piece {
        Piece::Data(byte) => byte,
        Piece::Slash | Piece::EncodedSlash => b'/',
        Piece::EncodedBackslash => b'\\',
        Piece::Semicolon | Piece::EncodedSemicolon => b';',
    }
}

fn apply(pieces: &[Piece], slashes: Slashes, cut: Cut) -> Vec<Piece> {
    match cut {
        Cut::Nothing => find_slashes(pieces, slashes),
        Cut::Raw(Order::BeforeSlashes) => find_slashes(&cut_parameters(pieces, false), slashes),
        Cut::Raw(Order::AfterSlashes) => cut_parameters(&find_slashes(pieces, slashes), false),
        Cut::Both(Order::BeforeSlashes) => find_slashes(&cut_parameters(pieces, true), slashes),
        Cut::Both(Order::AfterSlashes) => cut_parameters(&find_slashes(pieces, slashes), true),
        Cut::RestRaw => find_slashes(before_semicolon(pieces, false), slashes),
        Cut::RestBoth => find_slashes(before_semicolon(pieces, true), slashes),
    }
}

/// The pieces before the first semicolon.
fn before_semicolon(pieces: &[Piece], encoded_too: bool) -> &[Piece] {
    let is_semicolon = |piece: &Piece| {
        *piece == Piece::Semicolon || encoded_too && *piece == Piece::EncodedSemicolon
    };
    let end = pieces.iter().position(is_semicolon).unwrap_or(pieces.len());
    pieces.get(..end).unwrap_or_default()
}

fn find_slashes(pieces: &[Piece], slashes: Slashes) -> Vec<Piece> {
    let is_slash = |piece: Piece| {
        piece == Piece::EncodedSlash && slashes.slash
            || piece == Piece::EncodedBackslash && slashes.backslash
    };
    pieces.iter().map(|piece| if is_slash(*piece) { Piece::Slash } else { *piece }).collect()
}

/// Cuts each segment at its first semicolon.
fn cut_parameters(pieces: &[Piece], encoded_too: bool) -> Vec<Piece> {
    let mut is_cutting = false;
    let mut kept = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match piece {
            Piece::Slash => is_cutting = false,
            Piece::Semicolon => is_cutting = true,
            Piece::EncodedSemicolon => is_cutting |= encoded_too,
            Piece::Data(_) | Piece::EncodedSlash | Piece::EncodedBackslash => {}
        }
        if !is_cutting {
            kept.push(*piece);
        }
    }
    kept
}

fn split_segments(pieces: &[Piece]) -> Vec<Vec<u8>> {
    pieces
        .split(|piece| *piece == Piece::Slash)
        .map(|segment| segment.iter().map(|piece| byte_of(*piece)).collect())
        .collect()
}

fn tidy(segments: Vec<Vec<u8>>, tidying: Tidying) -> Vec<Vec<u8>> {
    match tidying {
        Tidying::Nothing => segments,
        Tidying::Merge => merge(segments),
        Tidying::Resolve => resolve(segments),
        Tidying::MergeThenResolve => resolve(merge(segments)),
        Tidying::ResolveThenMerge => merge(resolve(segments)),
    }
}

/// The paths of a network-path reference, `//authority/path` (RFC 3986 section 4.2), as applications
/// read it that give the target to a parser of URLs. Some of those skip any number of slashes before
/// the authority (WHATWG URL, section 4.4). None for a path that does not begin with two slashes.
fn cut_authority(segments: &[Vec<u8>]) -> impl Iterator<Item = Vec<Vec<u8>>> {
    let slashes = segments.iter().take_while(|segment| segment.is_empty()).count();
    let authorities = if slashes == 0 { [None; 2] } else { [Some(1), Some(slashes)] };
    authorities.into_iter().flatten().filter(|at| *at < segments.len()).map(|at| {
        let path = segments.get(at + 1..).unwrap_or_default();
        if path.is_empty() { vec![Vec::new()] } else { path.to_vec() }
    })
}

/// Takes empty segments out, but for the one that shows a trailing slash.
fn merge(segments: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let last = segments.len().saturating_sub(1);
    segments
        .into_iter()
        .enumerate()
        .filter(|(index, segment)| *index == last || !segment.is_empty())
        .map(|(_, segment)| segment)
        .collect()
}

/// Removes dot segments (RFC 3986 section 5.2.4).
fn resolve(segments: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let last = segments.len().saturating_sub(1);
    let mut resolved: Vec<Vec<u8>> = Vec::with_capacity(segments.len());
    for (index, segment) in segments.into_iter().enumerate() {
        let is_up = segment == b"..";
        if is_up {
            resolved.pop();
        }
        if !is_up && segment != b"." {
            resolved.push(segment);
        } else if index == last {
            resolved.push(Vec::new());
        }
    }
    resolved
}
