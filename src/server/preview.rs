//! The headers applications get for somebody, as the account page shows them.

use std::sync::Arc;

use crate::accounts::visit::Visit;
use crate::config::Config;
use crate::portal::{HeaderPreview, ShownHeaders};
use crate::proxy::identity_headers;
use crate::session::Identity;

/// Renders with the very function that renders for upstreams.
pub(super) fn preview() -> HeaderPreview {
    Arc::new(|visit: &Visit, identity: &Arc<Identity>| {
        let config = &visit.config;
        config
            .profiles
            .iter()
            .enumerate()
            .filter_map(|(index, profile)| {
                let routes = routes_of(config, index)?;
                let set = identity_headers::render(profile, identity).unwrap_or_default();
                let headers =
                    set.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
                Some(ShownHeaders { routes, headers })
            })
            .collect()
    })
}

/// Which routes use a profile, by name; nothing for the default's; `None` when none does.
fn routes_of(config: &Config, profile: usize) -> Option<String> {
    if profile == 0 {
        return Some(String::new());
    }
    let names: Vec<&str> = config
        .routes
        .iter()
        .filter(|route| route.profile == profile)
        .map(|route| route.name.as_str())
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}
