//! Leave of an open stream to go on: what allowed it is looked at again whenever it may have ended.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::Method;

use super::Gateway;
use crate::config::Allow;
use crate::policy::{Decision, Facts, Located};
use crate::proxy::Resource;
use crate::proxy::download::Leave;
use crate::session::Identity;

/// What a stream was allowed for.
pub(super) struct StreamLeave {
    pub(super) gateway: Arc<Gateway>,
    /// Whose identity went along; `None` for callers let in by network alone.
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) resource: Arc<Resource>,
    pub(super) method: Method,
    pub(super) address: Option<IpAddr>,
}

impl Leave for StreamLeave {
    fn ended(self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { self.wait().await })
    }
}

impl StreamLeave {
    async fn wait(mut self) {
        let gateway = Arc::clone(&self.gateway);
        let sessions = &gateway.sessions;
        let mut watch = match &self.identity {
            Some(identity) => sessions.watch(identity),
            None => sessions.watch_nobody(),
        };
        // Watched first, looked at next: what changed before the watch began is seen here.
        while self.still_holds().await {
            let identity = self.identity.as_deref();
            let has_run_out = || {
                identity.is_some_and(|identity| {
                    identity.nearest_end() <= gateway.clock.now() || !sessions.is_fresh()
                })
            };
            watch.next(has_run_out).await;
        }
    }

    /// Whether the same request, asked now, would be allowed with the same identity. A store that
    /// cannot say ends the stream: revocation has a bound, and this is it.
    async fn still_holds(&mut self) -> bool {
        if let Some(identity) = &self.identity {
            let now = self.gateway.clock.now();
            let Ok(Some(renewed)) = self.gateway.sessions.renew(identity, now).await else {
                return false;
            };
            self.identity = Some(renewed);
        }
        let live = self.gateway.live.load();
        let Resource { origin, target } = &*self.resource;
        let located = live.policy.locate(&origin.host, target, &self.method);
        let Located::Route(destination) = located else { return false };
        let caller = self.identity.as_deref().map(|identity| &identity.subject);
        let facts = Facts { caller, client: self.address };
        match live.policy.decide(&destination, &facts) {
            // The permit is not spent: what it allows is under way already. Where an identity went
            // along it must still be one that goes along, unless the route is everybody's by now.
            Decision::Allow(permit) => {
                permit.is_identified() == self.identity.is_some()
                    || live.policy.route(permit.route()).allow == Allow::Public
            }
            Decision::Challenge(_) | Decision::Deny(_) => false,
        }
    }

    /// Notes that the session is in use.
    pub(super) fn on_use(&self) -> Box<dyn Fn() + Send + Sync> {
        let Some(identity) = self.identity.clone() else { return Box::new(|| {}) };
        let gateway = Arc::clone(&self.gateway);
        Box::new(move || gateway.sessions.touch(&identity, gateway.clock.now()))
    }
}
