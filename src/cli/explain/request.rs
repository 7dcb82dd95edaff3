//! The request that `explain` is asked about, read as a listener would read it.

use std::net::IpAddr;

use http::header::{HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use super::ExplainArgs;
use crate::cli::failure::Failure;
use crate::config::Config;
use crate::web::authority::Authority;
use crate::web::client::{self, InvalidForwarded};
use crate::web::fields::Fields;
use crate::web::headers::is_websocket;
use crate::web::origin::{self, Origin, Scheme};

/// A request, up to its target, which may be one that is refused.
#[derive(Debug)]
pub(super) struct Asked {
    /// The method.
    pub(super) method: Method,
    /// Scheme the client used.
    pub(super) scheme: Scheme,
    /// The host asked for.
    pub(super) authority: Authority,
    /// Path and query as received, not yet judged.
    pub(super) target: String,
    /// Headers, `Host` among them.
    pub(super) headers: HeaderMap,
    /// The client's address, if it can be told; an error when a trusted proxy says it in a way that is
    /// refused.
    pub(super) client: Result<Option<IpAddr>, InvalidForwarded>,
}

impl Asked {
    /// Reads what the command line says of the request.
    ///
    /// # Errors
    /// [`Failure::Usage`] for what is no request at all.
    pub(super) fn read(args: &ExplainArgs, config: &Config) -> Result<Self, Failure> {
        let method = Method::from_bytes(args.method.as_bytes())
            .map_err(|_| Failure::Usage(format!("{}: not a method", args.method)))?;
        let (scheme, authority, target) = split(&args.url, config)?;
        let mut headers = read_headers(&args.headers)?;
        if !headers.contains_key(HOST) {
            headers.insert(HOST, authority.received().clone());
        }
        let client = match args.from {
            None => Ok(None),
            Some(peer) => {
                client::client(peer, Scheme::Http, &Fields::of(&headers), &config.trusted_proxies)
                    .map(|client| client.address)
            }
        };
        Ok(Self { method, scheme, authority, target, headers, client })
    }

    /// Whether the request would be refused as another site's doing, if a cookie or its address alone
    /// let it through.
    pub(super) fn is_cross_site(&self, config: &Config) -> bool {
        let own = Origin::of_request(self.scheme, &self.authority);
        let is_websocket = is_websocket(&self.method, &Fields::of(&self.headers));
        origin::is_cross_site(&self.method, &self.headers, is_websocket, &own, &config.origins)
    }

    /// The request as a URL.
    pub(super) fn url(&self) -> String {
        let host = String::from_utf8_lossy(self.authority.received().as_bytes());
        format!("{}://{host}{}", self.scheme.as_str(), self.target)
    }
}

/// Divides a URL without normalising anything: the very bytes are what is decided on.
fn split(url: &str, config: &Config) -> Result<(Scheme, Authority, String), Failure> {
    let refuse = || {
        Failure::Usage(format!(
            "{url}: expected a path such as /admin, or http:// or https:// with a host"
        ))
    };
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let (scheme, rest) = if url.starts_with('/') {
        (config.public_url.scheme, format!("{}{url}", config.public_url.authority()))
    } else if let Some(rest) = strip_scheme(url, "http://") {
        (Scheme::Http, rest.to_owned())
    } else if let Some(rest) = strip_scheme(url, "https://") {
        (Scheme::Https, rest.to_owned())
    } else {
        return Err(refuse());
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let authority = Authority::parse(authority.as_bytes()).map_err(|_| refuse())?;
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((scheme, authority, format!("{slash}{target}")))
}

fn strip_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = url.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn read_headers(texts: &[String]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for text in texts {
        let refuse = || Failure::Usage(format!("--header {text}: expected `Name: value`"));
        let (name, value) = text.split_once(':').ok_or_else(refuse)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| refuse())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| refuse())?;
        headers.append(name, value);
    }
    Ok(headers)
}
