//! Another configuration in place of the one in force, whole or not at all.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Gateway;
use super::live::{Live, session_settings};
use crate::config::{Config, Problem};
use crate::identity::provider::ProviderError;
use crate::policy::Policy;

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// Changed keys that take effect only after a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Why a reload was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The routes do not compile.
    #[error("the configuration has errors")]
    Configuration(Vec<Problem>),
    /// No connection to a provider can be made at all.
    #[error("providers cannot be asked")]
    Providers(#[source] ProviderError),
}

impl Gateway {
    /// Puts a configuration in force. Keys that need a restart keep what they had.
    pub(super) fn reload(&self, config: Config) -> Result<Reloaded, ReloadError> {
        let current = self.live.load_full();
        let needs_restart = current.config.restart_keys(&config);
        let config = current.config.with_reloadable(config);
        let (policy, findings) = Policy::compile(&config, &self.interner);
        let Some(policy) = policy else {
            let first = findings.errors.first().map(|problem| problem.message.clone());
            self.refuse_reload(&first.unwrap_or_default());
            return Err(ReloadError::Configuration(findings.errors));
        };
        if let Err(error) = self.accounts.vouching().configure(&config.providers, &self.clock) {
            self.refuse_reload(&error.to_string());
            return Err(ReloadError::Providers(error));
        }
        let generation = current.generation + 1;
        self.account_rules.store(Arc::new(config.accounts.clone()));
        self.accounts.limits().configure(&config.auth_limits);
        self.sessions.configure(session_settings(generation, &config, &policy));
        let live = Live::new(generation, Arc::new(config), Arc::new(policy), &self.metrics);
        self.live.store(Arc::new(live));
        // Streams were woken with the new roles; now they see the new rules as well.
        self.sessions.look_again();
        self.metrics.counters.reloads_applied.fetch_add(1, Ordering::Relaxed);
        self.set_reload_trouble(None);
        if !needs_restart.is_empty() {
            let keys = needs_restart.join(", ");
            tracing::warn!(config.keys = keys, "these keys take effect after a restart");
        }
        Ok(Reloaded { needs_restart })
    }

    /// Notes a refused configuration: the former one serves on.
    pub(super) fn refuse_reload(&self, why: &str) {
        self.metrics.counters.reloads_refused.fetch_add(1, Ordering::Relaxed);
        self.set_reload_trouble(Some(format!("the changed file was refused: {why}")));
    }
}
