//! The picture on every page, out of a file.

use std::fs;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Response};
use http_body_util::Full;

/// Largest file, in bytes.
const LARGEST: u64 = 512 * 1024;

/// A picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Logo {
    kind: &'static str,
    bytes: Bytes,
    /// Tells it from every other, in its address.
    version: String,
}

impl std::fmt::Debug for Logo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logo").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Logo {
    /// Reads a picture. What it is is told by its content: PNG, JPEG, WebP or SVG.
    ///
    /// # Errors
    /// Says why it cannot be used.
    pub fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let cannot = |error: std::io::Error| format!("cannot read {name}: {error}");
        let found = fs::metadata(path).map_err(cannot)?;
        if !found.is_file() {
            return Err(format!("{name} is not a file"));
        }
        if found.len() > LARGEST {
            return Err(format!("{name} is larger than 512 KiB"));
        }
        let bytes = fs::read(path).map_err(cannot)?;
        let kind = kind_of(&bytes)
            .ok_or_else(|| format!("{name} is no picture: PNG, SVG, JPEG and WebP are"))?;
        let version = URL_SAFE_NO_PAD.encode(digest(&SHA256, &bytes)).chars().take(12).collect();
        Ok(Self { kind, bytes: bytes.into(), version })
    }

    /// What its address says of it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The answer to whoever asks for it: kept by browsers, since another picture has another address;
    /// and whatever it holds, nothing in it runs when it is opened by itself.
    #[must_use]
    pub fn answer(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.bytes.clone()));
        let headers: &mut HeaderMap = response.headers_mut();
        let policy =
            "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'";
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(Self::CACHING));
        response
    }

    /// How its answer is kept.
    pub const CACHING: &str = "public, max-age=86400, immutable";
}

/// What a picture is, by how it begins (WHATWG MIME Sniffing section 6.1; SVG is XML with that element).
fn kind_of(bytes: &[u8]) -> Option<&'static str> {
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..14) == Some(b"WEBPVP");
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else if is_webp {
        Some("image/webp")
    } else {
        let text = std::str::from_utf8(bytes).ok()?;
        let text = text.trim_start_matches('\u{feff}').trim_start();
        (text.starts_with('<') && text.contains("<svg")).then_some("image/svg+xml")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_picture_is_told_by_its_content() {
        for (bytes, kind) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"RIFF1234WEBPVP8 ", Some("image/webp")),
            (
                b"<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
                Some("image/svg+xml"),
            ),
            (b"<!doctype html><script>", None),
            (b"GIF89a", None),
            (b"svg <svg", None),
            (b"", None),
        ] {
            assert_eq!(kind_of(bytes), kind, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logo");
        assert!(Logo::read(&path).unwrap_err().contains("cannot read"));
        fs::write(&path, "words").unwrap();
        assert!(Logo::read(&path).unwrap_err().contains("is no picture"));
        fs::write(&path, vec![0; 512 * 1024 + 1]).unwrap();
        assert!(Logo::read(&path).unwrap_err().contains("larger than 512 KiB"));
        fs::write(&path, "<svg></svg>").unwrap();
        let logo = Logo::read(&path).unwrap();
        let answer = logo.answer();
        assert_eq!(answer.headers()[CONTENT_TYPE], "image/svg+xml");
        assert_eq!(answer.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().contains("sandbox"));
        fs::write(&path, "<svg> </svg>").unwrap();
        assert_ne!(Logo::read(&path).unwrap().version(), logo.version());
    }
}
