//! The courier, where the configuration says how mail is sent.

use std::sync::Arc;

use super::{Gateway, StartError};
use crate::accounts::LetterDesk;
use crate::mail::{Carrier, Courier, Letterhead, Stationery};

/// Makes the courier that empties the gateway's outbox, if it has one.
pub(super) fn courier(gateway: &Gateway) -> Result<Option<Courier<LetterDesk>>, StartError> {
    let config = Arc::clone(&gateway.live.load().config);
    let (Some(mail), Some(outbox)) = (&config.mail, gateway.accounts.outbox()) else {
        return Ok(None);
    };
    let carrier = Carrier::new(&mail.delivery)?;
    let host = config.public_url.host.as_str().to_owned();
    let site = config.portal.pages.title().map_or_else(|| host.clone(), str::to_owned);
    let stationery = Stationery::new(
        Letterhead { from: mail.from.clone(), site, host },
        config.portal.pages.overrides().map(|overrides| &**overrides),
    )?;
    let desk = LetterDesk::new(gateway.accounts.people().clone(), Arc::clone(&config));
    let entropy = gateway.entropy.clone();
    Ok(Some(Courier::new(outbox.clone(), desk, stationery, carrier, entropy)))
}
