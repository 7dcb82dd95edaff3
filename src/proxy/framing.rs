//! Where the body of an upstream's answer ends (RFC 9112 section 6), and its pieces until there.

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderName;

/// A chunk's size line, its extension included.
const SIZE_LINE: usize = 1024;
/// A trailer section. It is read and dropped.
const TRAILERS: usize = 16 * 1024;

/// What is still to come of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// This many bytes; none when the body is at its end.
    Length(u64),
    /// Chunks (RFC 9112 section 7.1).
    Chunked(Chunked),
    /// Everything until the connection ends.
    UntilClose,
}

/// Where in a chunked body the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Chunked {
    /// In a size line.
    Size,
    /// In a chunk of which this much is still to come.
    Data(u64),
    /// Behind a chunk's data.
    DataEnd,
    /// In the trailer section, of which this much has come.
    Trailers(usize),
    /// Behind the body.
    Done,
    /// Nothing that comes is believed any more.
    Broken(FramingError),
}

/// A chunked body that is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FramingError {
    /// A size line that is none.
    #[error("the size of a chunk cannot be read")]
    Size,
    /// A chunk's data are not followed by a line's end.
    #[error("a chunk does not end where its size says")]
    DataEnd,
    /// A trailer section without end, or that holds something else than fields.
    #[error("the trailers cannot be read")]
    Trailers,
}

impl Framing {
    /// A chunked body of which nothing has come.
    pub(super) const CHUNKED: Self = Self::Chunked(Chunked::Size);

    /// Whether the body has come to its end.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunked::Done))
    }

    /// Whether a connection that ends here ends the body.
    pub(super) const fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// The bytes still to come, where the head said so.
    pub(super) const fn remaining(&self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(*length),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Takes the next piece out of what has arrived; an empty one says that more must come, or that the
    /// body [is done](Self::is_done). What stands behind the body stays.
    ///
    /// # Errors
    /// [`FramingError`].
    pub(super) fn take(&mut self, arrived: &mut BytesMut) -> Result<Bytes, FramingError> {
        match self {
            Self::Length(length) => Ok(take_up_to(length, arrived)),
            Self::UntilClose => Ok(arrived.split().freeze()),
            Self::Chunked(state) => {
                state.advance(arrived)?;
                let Chunked::Data(length) = state else { return Ok(Bytes::new()) };
                let piece = take_up_to(length, arrived);
                // So that the last piece is known to be the last. What is wrong behind it is told when the
                // next is asked for.
                let _told_later = state.advance(arrived);
                Ok(piece)
            }
        }
    }
}

fn take_up_to(length: &mut u64, arrived: &mut BytesMut) -> Bytes {
    let most = usize::try_from(*length).unwrap_or(usize::MAX).min(arrived.len());
    *length -= most as u64;
    arrived.split_to(most).freeze()
}

impl Chunked {
    /// Reads on to the next data, or as far as what has arrived goes. What is wrong once stays wrong.
    fn advance(&mut self, arrived: &mut BytesMut) -> Result<(), FramingError> {
        self.step(arrived).inspect_err(|error| *self = Self::Broken(*error))
    }

    fn step(&mut self, arrived: &mut BytesMut) -> Result<(), FramingError> {
        loop {
            *self = match *self {
                Self::Data(0) => Self::DataEnd,
                Self::Data(_) | Self::Done => return Ok(()),
                Self::Broken(error) => return Err(error),
                Self::DataEnd => match &arrived[..] {
                    [b'\r', b'\n', ..] => {
                        arrived.advance(2);
                        Self::Size
                    }
                    [] | [b'\r'] => return Ok(()),
                    _ => return Err(FramingError::DataEnd),
                },
                Self::Size => {
                    let line = take_line(arrived, SIZE_LINE).ok_or(FramingError::Size)?;
                    if line.is_empty() {
                        return Ok(());
                    }
                    match size(&line).ok_or(FramingError::Size)? {
                        0 => Self::Trailers(0),
                        length => Self::Data(length),
                    }
                }
                Self::Trailers(seen) => {
                    let room = TRAILERS.saturating_sub(seen);
                    let line = take_line(arrived, room).ok_or(FramingError::Trailers)?;
                    if line.is_empty() {
                        return Ok(());
                    }
                    if line.as_ref() == b"\r\n" {
                        Self::Done
                    } else if is_field(&line) {
                        Self::Trailers(seen + line.len())
                    } else {
                        return Err(FramingError::Trailers);
                    }
                }
            };
        }
    }
}

/// A whole line with its end; nothing while it has not come whole. `None`: it is too long, or ends with
/// LF alone.
fn take_line(arrived: &mut BytesMut, longest: usize) -> Option<Bytes> {
    let seen = &arrived[..arrived.len().min(longest)];
    match memchr::memchr(b'\n', seen) {
        Some(end) => seen[..end].ends_with(b"\r").then(|| arrived.split_to(end + 1).freeze()),
        None => (arrived.len() < longest).then(Bytes::new),
    }
}

/// Whether a line begins like a field.
fn is_field(line: &[u8]) -> bool {
    let colon = line.iter().position(|byte| *byte == b':');
    colon.is_some_and(|colon| HeaderName::from_bytes(&line[..colon]).is_ok())
}

/// The size in a whole size line.
fn size(line: &[u8]) -> Option<u64> {
    // httparse reads no digits at all as zero.
    line.first().filter(|first| first.is_ascii_hexdigit())?;
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete((length, size))) if length == line.len() => Some(size),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    /// Reads a body that arrives in pieces of `step` bytes: its content, and what stands behind it.
    fn read(
        mut framing: Framing,
        sent: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, Vec<u8>), FramingError> {
        let (mut arrived, mut content) = (BytesMut::new(), Vec::new());
        for piece in sent.chunks(step) {
            arrived.extend_from_slice(piece);
            loop {
                let taken = framing.take(&mut arrived)?;
                if taken.is_empty() {
                    break;
                }
                content.extend_from_slice(&taken);
            }
        }
        assert!(framing.is_done() || framing.ends_with_connection() || arrived.len() < SIZE_LINE);
        Ok((content, arrived.to_vec()))
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        for step in [1, 2, 3, 7, 100] {
            let length = read(Framing::Length(5), b"helloHTTP", step);
            assert_eq!(length, Ok((b"hello".to_vec(), b"HTTP".to_vec())));
            let close = read(Framing::UntilClose, b"hello", step);
            assert_eq!(close, Ok((b"hello".to_vec(), Vec::new())));
            let sent =
                b"5\r\nhello\r\n1; a=\"b\"\r\n \r\n00A \r\n0123456789\r\n0\r\nx: y\r\n\r\nrest";
            let chunked = read(Framing::CHUNKED, sent, step);
            assert_eq!(chunked, Ok((b"hello 0123456789".to_vec(), b"rest".to_vec())));
        }
    }

    #[test]
    fn what_is_wrong_behind_a_piece_is_told_behind_it_and_stays_wrong() {
        for (sent, first) in
            [("5\r\nhello\r\nnone\r\n0\r\n\r\n", Some("hello")), ("none\r\n0\r\n\r\n", None)]
        {
            let mut framing = Framing::CHUNKED;
            let mut arrived = BytesMut::from(sent);
            if let Some(first) = first {
                assert_eq!(framing.take(&mut arrived).unwrap(), first);
            }
            for _ in 0..3 {
                assert_eq!(framing.take(&mut arrived), Err(FramingError::Size));
                assert!(!framing.is_done());
            }
        }
    }

    #[test]
    fn a_chunked_body_that_can_be_read_in_two_ways_is_none() {
        for (sent, error) in [
            (&b"\r\n"[..], FramingError::Size),
            (b"\n", FramingError::Size),
            (b"5\nhello", FramingError::Size),
            (b"-1\r\n", FramingError::Size),
            (b"+5\r\nhello", FramingError::Size),
            (b"0x5\r\nhello", FramingError::Size),
            (b" 5\r\nhello", FramingError::Size),
            (b"5 5\r\nhello", FramingError::Size),
            (b"5;a\nb\r\nhello", FramingError::Size),
            (b"11111111111111111\r\n", FramingError::Size),
            (b"5\r\nhello5\r\n", FramingError::DataEnd),
            (b"5\r\nhello\n", FramingError::DataEnd),
            (b"0\r\nx: y\n\r\n", FramingError::Trailers),
            (b"0\r\nx\r\n\r\n", FramingError::Trailers),
            (b"0\r\n: y\r\n\r\n", FramingError::Trailers),
            (b"0\r\nx : y\r\n\r\n", FramingError::Trailers),
            (b"0\r\nx: y\r\n z\r\n\r\n", FramingError::Trailers),
        ] {
            for step in [1, 2, 100] {
                assert_eq!(
                    read(Framing::CHUNKED, sent, step),
                    Err(error),
                    "{} in pieces of {step}",
                    sent.escape_ascii()
                );
            }
        }
        let endless = [b"5;".as_slice(), &vec![b'a'; SIZE_LINE]].concat();
        assert_eq!(read(Framing::CHUNKED, &endless, 100), Err(FramingError::Size));
        assert_eq!(read(Framing::CHUNKED, &vec![b'0'; SIZE_LINE], 1), Err(FramingError::Size));
        let trailers = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(TRAILERS / 6 + 1)].concat();
        assert_eq!(read(Framing::CHUNKED, &trailers, 100), Err(FramingError::Trailers));
    }

    proptest! {
        #[test]
        fn chunks_are_read_as_they_were_written(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            step in 1..50_usize,
            behind in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let mut sent = Vec::new();
            for chunk in &chunks {
                sent.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                sent.extend_from_slice(chunk);
                sent.extend_from_slice(b"\r\n");
            }
            sent.extend_from_slice(b"0\r\n\r\n");
            sent.extend_from_slice(&behind);
            let (content, rest) = read(Framing::CHUNKED, &sent, step).unwrap();
            prop_assert_eq!(content, chunks.concat());
            prop_assert_eq!(rest, behind);
        }

        #[test]
        fn nothing_that_arrives_makes_it_panic(
            sent in prop::collection::vec(prop_oneof![Just(b'0'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200),
            step in 1..20_usize,
        ) {
            let _content = read(Framing::CHUNKED, &sent, step);
        }
    }
}
