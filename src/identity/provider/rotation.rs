//! Refresh tokens that replaced others. A provider takes each one once: should the question after it fail, or
//! the store, the former one is what is kept, and sending it again would look as if the provider no longer
//! vouched. Nobody says here what was stored, so what replaced a token stays known until it is pushed out.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};

use crate::identity::keys::sha256;

/// Remembered at most; what is older is lost, as it is with a restart.
const MAX_KEPT: usize = 1_000;

/// What replaced which refresh token, by the digest of the former one.
#[derive(Debug, Default)]
pub(super) struct Rotation(Mutex<VecDeque<([u8; 32], SecretString)>>);

impl Rotation {
    /// The token to use in the place of one that was kept.
    pub(super) fn newest(&self, kept: &SecretString) -> SecretString {
        let digest = digest(kept);
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = entries.iter().find(|(former, _)| *former == digest);
        found.map_or_else(|| kept.clone(), |(_, newer)| newer.clone())
    }

    /// Notes what replaced a token.
    pub(super) fn note(&self, kept: &SecretString, newer: Option<&SecretString>) {
        let Some(newer) = newer.filter(|newer| newer.expose_secret() != kept.expose_secret())
        else {
            return;
        };
        let digest = digest(kept);
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(former, _)| *former != digest);
        if entries.len() >= MAX_KEPT {
            entries.pop_front();
        }
        entries.push_back((digest, newer.clone()));
    }
}

fn digest(token: &SecretString) -> [u8; 32] {
    sha256(token.expose_secret().as_bytes())
}
