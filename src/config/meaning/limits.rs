//! Limits on what is tried from outside.

use super::{Cursor, read_duration};
use crate::config::settings::{AuthLimits, LONGEST_WINDOW, Rate};
use crate::config::yaml::spelling::Text;
use crate::config::yaml::{AuthLimits as AuthLimitsFile, AuthLimitsMap, Limits};

pub(super) fn read(written: Option<&Limits>, at: &Cursor<'_>) -> AuthLimits {
    match written {
        None => AuthLimits::default(),
        Some(Limits::Off(_)) => AuthLimits::OFF,
        Some(Limits::Map(map)) => match &map.auth {
            None => AuthLimits::default(),
            Some(AuthLimitsFile::Off(_)) => AuthLimits::OFF,
            Some(AuthLimitsFile::Map(map)) => read_map(map, &at.key("auth")),
        },
    }
}

fn read_map(map: &AuthLimitsMap, at: &Cursor<'_>) -> AuthLimits {
    let mut limits = AuthLimits::default();
    for (key, written, limit) in [
        ("failures_per_address", &map.failures_per_address, &mut limits.failures_per_address),
        (
            "failures_per_account_and_address",
            &map.failures_per_account_and_address,
            &mut limits.failures_per_account_and_address,
        ),
        ("failures_per_account", &map.failures_per_account, &mut limits.failures_per_account),
        ("links_per_address", &map.links_per_address, &mut limits.links_per_address),
        (
            "registrations_per_address",
            &map.registrations_per_address,
            &mut limits.registrations_per_address,
        ),
        ("letters_per_address", &map.letters_per_address, &mut limits.letters_per_address),
        ("letters_per_recipient", &map.letters_per_recipient, &mut limits.letters_per_recipient),
    ] {
        if let Some(written) = written {
            *limit = rate(written, &at.key(key));
        }
    }
    limits
}

/// Reads a rate whose shape the schema has checked; `None` is no limit.
fn rate<K>(written: &Text<K>, at: &Cursor<'_>) -> Option<Rate> {
    let (times, within) = written.text.split_once('/')?;
    let Ok(within) = read_duration(within) else {
        at.report("longer than 1d");
        return None;
    };
    if within > LONGEST_WINDOW {
        at.report("longer than 1d");
    }
    Some(Rate { times: times.parse().ok()?, within })
}
