//! The configuration in force: compiled once, swapped whole.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderName;

use crate::config::Config;
use crate::policy::{Policy, RouteId, declared_grants};
use crate::session::Settings;
use crate::telemetry::metrics::{Metrics, RouteMetrics};
use crate::web::headers::{Field, Hygiene, fold};

/// What a route needs beside its rule.
#[derive(Debug)]
pub(super) struct RouteParts {
    pub(super) hygiene: Arc<Hygiene>,
    pub(super) metrics: Arc<RouteMetrics>,
    /// As people read it, for the access log.
    pub(super) rule: String,
}

/// One state of the configuration, as requests see it.
#[derive(Debug)]
pub(super) struct Live {
    /// Never used twice in one process.
    pub(super) generation: u64,
    pub(super) config: Arc<Config>,
    pub(super) policy: Arc<Policy>,
    routes: Vec<RouteParts>,
    pub(super) portal_metrics: Arc<RouteMetrics>,
    /// Of requests that no route took.
    pub(super) nowhere_metrics: Arc<RouteMetrics>,
}

impl Live {
    pub(super) fn new(
        generation: u64,
        config: Arc<Config>,
        policy: Arc<Policy>,
        metrics: &Metrics,
    ) -> Self {
        let identity: Vec<String> = config
            .profiles
            .iter()
            .flat_map(|profile| {
                profile.headers.iter().flat_map(|(name, field)| names(name, *field))
            })
            .collect();
        let mut by_upstream: HashMap<&str, Arc<Hygiene>> = HashMap::new();
        let routes = config
            .routes
            .iter()
            .enumerate()
            .map(|(index, route)| {
                let hygiene = by_upstream.entry(&route.upstream.name).or_insert_with(|| {
                    let permitted = route.upstream.permit_headers.clone();
                    Arc::new(Hygiene { identity: identity.clone(), permitted })
                });
                RouteParts {
                    hygiene: Arc::clone(hygiene),
                    metrics: metrics.route(&route.name),
                    rule: policy.rule_text(RouteId(index)),
                }
            })
            .collect();
        Self {
            generation,
            policy,
            routes,
            portal_metrics: metrics.route("portal"),
            nowhere_metrics: metrics.route("-"),
            config,
        }
    }

    pub(super) fn parts(&self, route: RouteId) -> &RouteParts {
        &self.routes[route.0]
    }
}

/// The folded names that a header of `identity.headers` may set.
fn names(name: &HeaderName, field: Field) -> Vec<String> {
    let name = fold(name.as_str());
    // A list of permissions that is not expanded says so in a header beside it.
    let beside = (field == Field::Permissions).then(|| format!("{name}-expanded"));
    [name].into_iter().chain(beside).collect()
}

/// What sessions take of a configuration.
pub(super) fn session_settings(generation: u64, config: &Config, policy: &Policy) -> Settings {
    Settings {
        configuration: generation,
        sessions: config.sessions.clone(),
        tokens: config.tokens.clone(),
        roles: declared_grants(config),
        named: policy.named_permissions().to_vec(),
        profiles: config.profiles.len(),
    }
}
