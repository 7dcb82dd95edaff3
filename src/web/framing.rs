//! What the fields of a head say of where its body ends (RFC 9112 section 6), in either direction.

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};

use super::hygiene::Unforwardable;

/// The framing fields of one head.
#[derive(Clone, Copy, Default, Debug)]
pub struct FramingFields {
    codings: usize,
    lengths: usize,
    is_chunked: bool,
    length: Option<u64>,
}

impl FramingFields {
    /// Notes a field, whichever it is.
    pub fn note(&mut self, name: &HeaderName, value: &HeaderValue) {
        if name == TRANSFER_ENCODING {
            self.codings += 1;
            self.is_chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
        } else if name == CONTENT_LENGTH {
            self.lengths += 1;
            self.length = canonical(value.as_bytes());
        }
    }

    /// Whether a `Transfer-Encoding` is there.
    #[must_use]
    pub const fn has_coding(&self) -> bool {
        self.codings > 0
    }

    /// Whether a `Content-Length` is there.
    #[must_use]
    pub const fn has_length(&self) -> bool {
        self.lengths > 0
    }

    /// The body's length in bytes, as the fields say it.
    #[must_use]
    pub const fn length(&self) -> Option<u64> {
        self.length
    }

    /// Refuses framing that another reader could take otherwise.
    ///
    /// # Errors
    /// [`Unforwardable`]: `Transfer-Encoding` other than exactly one `chunked`, a `Content-Length` that
    /// is not one plain number.
    pub const fn check(&self) -> Result<(), Unforwardable> {
        if self.codings > 1 || (self.codings == 1 && !self.is_chunked) {
            return Err(Unforwardable("the Transfer-Encoding is not exactly one chunked"));
        }
        if self.lengths > 1 || (self.lengths == 1 && self.length.is_none()) {
            return Err(Unforwardable("the Content-Length is not one plain number"));
        }
        Ok(())
    }
}

/// A decimal in the one way it is written, of at most 19 digits.
fn canonical(digits: &[u8]) -> Option<u64> {
    let is_canonical = match digits {
        b"" => false,
        [b'0', rest @ ..] => rest.is_empty(),
        digits => digits.len() < 20 && digits.iter().all(u8::is_ascii_digit),
    };
    if !is_canonical {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
