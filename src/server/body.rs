//! The bodies of answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use super::stream_leave::StreamLeave;
use crate::proxy::download::{Download, DownloadError};
use crate::proxy::wire::ClientState;

/// An answer's body: the gateway's own, or what an upstream sends.
pub(super) enum Content {
    Own(Full<Bytes>),
    /// An upstream's that is here already.
    Whole(Full<Bytes>),
    Proxied(Box<Download<StreamLeave>>),
}

/// A body that tells its connection when it is done with.
pub(super) struct Answered {
    content: Content,
    client: Arc<ClientState>,
}

impl Answered {
    pub(super) fn new(content: Content, client: &Arc<ClientState>) -> Self {
        Self { content, client: Arc::clone(client) }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        match &mut self.content {
            Content::Own(body) | Content::Whole(body) => {
                Pin::new(body).poll_frame(cx).map_err(|never| match never {})
            }
            Content::Proxied(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(body) | Content::Whole(body) => body.is_end_stream(),
            Content::Proxied(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(body) | Content::Whole(body) => body.size_hint(),
            Content::Proxied(body) => body.size_hint(),
        }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.client.end_request();
    }
}
