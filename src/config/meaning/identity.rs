//! Identity headers: profiles, each distinct one once.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;

use super::Cursor;
use crate::config::KeyPath;
use crate::config::route::IdentityProfile;
use crate::config::yaml::Identity;
use crate::web::headers::{Preset, Separator, check_identity_name, fold};

/// The distinct profiles; the top-level one is the first.
pub(super) struct Profiles(Vec<Arc<IdentityProfile>>);

impl Profiles {
    pub(super) fn new(top: Option<&Identity>, at: &Cursor<'_>) -> Self {
        Self(vec![Arc::new(read(top, at))])
    }

    /// The number of a route's profile. A route's own replaces the top-level one whole.
    pub(super) fn number(&mut self, own: Option<&Identity>, at: &Cursor<'_>) -> usize {
        let Some(own) = own else { return 0 };
        let profile = read(Some(own), at);
        let same = |known: &Arc<IdentityProfile>| {
            let known = known.as_ref().clone();
            IdentityProfile { at: profile.at.clone(), ..known } == profile
        };
        self.0.iter().position(same).unwrap_or_else(|| {
            self.0.push(Arc::new(profile));
            self.0.len() - 1
        })
    }

    pub(super) fn into_list(self) -> Vec<Arc<IdentityProfile>> {
        self.0
    }
}

fn read(written: Option<&Identity>, at: &Cursor<'_>) -> IdentityProfile {
    let Some(written) = written else {
        return IdentityProfile {
            preset: Preset::Portcullis,
            user: Preset::Portcullis.default_user(),
            separator: Separator::Comma,
            headers: Vec::new(),
            at: KeyPath { path: String::new(), ..at.path() },
        };
    };
    let preset = written.preset.as_ref().map_or(Preset::Portcullis, |preset| preset.0);
    let mut headers = Vec::new();
    let mut folded: BTreeMap<String, &str> = BTreeMap::new();
    for (text, field) in &written.headers.entries {
        let at = at.key("headers").key(text);
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            at.report("not a header name");
            continue;
        };
        if let Err(reason) = check_identity_name(&name) {
            at.report(format!("cannot carry an identity: {reason}"));
        } else if let Some(other) = folded.insert(fold(text), text) {
            at.report(format!(
                "folds to the same name as `{other}`: applications take `-`, `_` and \
                 letters of either case for the same"
            ));
        } else {
            headers.push((name, field.0));
        }
    }
    headers.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    IdentityProfile {
        preset,
        user: written.user.as_ref().map_or_else(|| preset.default_user(), |user| user.0),
        separator: written.separator.as_ref().map_or(Separator::Comma, |separator| separator.0),
        headers,
        at: at.path(),
    }
}
