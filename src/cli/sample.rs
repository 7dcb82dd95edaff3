//! The sample application of `portcullis demo`: five pages that show who the gateway says is asking.
//! It stands for an application that knows nothing of signing in: it reads headers, nothing else.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// The pages: path, who may see it, and what it is.
pub(super) const PAGES: [(&str, &str, &str); 5] = [
    ("/", "everybody", "Public page"),
    ("/protected", "anybody signed in", "Protected page"),
    ("/admin", "role admin", "Administration"),
    ("/dashboard", "permission dashboard:read", "Dashboard"),
    ("/users/manage", "permission users:write", "Managing users"),
];

/// Serves the sample application on a thread of its own until the process ends.
///
/// # Errors
/// What keeps the thread or its runtime from starting.
pub(super) fn start(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = move || runtime.block_on(accept(listener));
    std::thread::Builder::new().name("sample".to_owned()).spawn(serve)?;
    Ok(())
}

async fn accept(listener: TcpListener) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            // A connection that breaks is the other side's to notice.
            let _ = connection.await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let page = PAGES.iter().find(|(path, ..)| *path == request.uri().path());
    let (status, title) = match page {
        Some((_, _, title)) => (StatusCode::OK, *title),
        None => (StatusCode::NOT_FOUND, "No such page"),
    };
    let body = render(title, request.uri().path(), request.headers());
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    Ok(response)
}

fn render(title: &str, path: &str, headers: &HeaderMap) -> String {
    let link = |(path, who, _): &(&str, &str, &str)| {
        format!("<li><a href=\"{path}\">{path}</a> <small>{who}</small></li>")
    };
    let links = PAGES.iter().map(link).collect::<Vec<_>>().concat();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>:root{{color-scheme:light dark;background:Canvas}}\
         body{{font-family:system-ui,sans-serif;line-height:1.5;max-width:44rem;margin:2rem auto;\
         padding:0 1rem}}td,th{{text-align:left;padding:.2rem 1rem .2rem 0;\
         overflow-wrap:anywhere}}</style></head>\n<body><main><h1>{title}</h1>\n\
         <p>This is the sample application, at <code>{path}</code>.</p>\n{identity}\n\
         <h2>Its pages</h2><ul>{links}</ul>\n<p><a href=\"/auth/account\">Your account</a> · \
         <a href=\"/auth/logout\">Sign out</a></p></main></body></html>\n",
        path = escape(path),
        identity = identity(headers),
    )
}

/// What the gateway says of the caller. Whatever the caller sent under these names is gone.
fn identity(headers: &HeaderMap) -> String {
    let mut rows: Vec<String> = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-auth-"))
        .map(|(name, value)| {
            let value = escape(&String::from_utf8_lossy(value.as_bytes()));
            format!("<tr><th scope=\"row\"><code>{name}</code></th><td>{value}</td></tr>")
        })
        .collect();
    if rows.is_empty() {
        return "<p>The gateway named nobody.</p>".to_owned();
    }
    rows.sort();
    format!("<h2>Who the gateway says you are</h2><table>{}</table>", rows.concat())
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_identity_headers_alone_and_obeys_none_of_them() {
        let mut headers = HeaderMap::new();
        headers.insert("x-auth-email", HeaderValue::from_static("<b>ann@example.com</b>"));
        headers.insert("cookie", HeaderValue::from_static("secret"));
        let page = render("Dashboard", "/<path>", &headers);
        assert!(page.contains("&lt;b&gt;ann@example.com"));
        assert!(page.contains("/&lt;path&gt;"));
        assert!(!page.contains("secret") && !page.contains("<b>"));
        assert!(render("Public page", "/", &HeaderMap::new()).contains("named nobody"));
    }
}
