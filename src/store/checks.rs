//! When providers are to be asked again about the accounts that are linked.

use std::time::Duration;

use super::links::{link_columns, read_link};
use super::sql::{Connection, values};
use super::{LinkKey, LinkRow, SessionRow, Store, StoreError};
use crate::clock::Timestamp;

/// A link whose provider is to be asked again, taken by whoever got it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueCheck {
    /// The link.
    pub link: LinkRow,
    /// Whether a session lives that came from it, or has roles by it.
    pub has_session: bool,
}

/// When a link is to be asked about that is due while nobody is signed in: at the next sign-in.
const ASLEEP: Timestamp = Timestamp::from_seconds(253_402_300_799);

impl Store {
    /// Takes links whose providers are to be asked again, at most `limit`: nobody else gets them before
    /// `retry` has passed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_due_checks(
        &self,
        now: Timestamp,
        retry: Duration,
        limit: u32,
    ) -> Result<Vec<DueCheck>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            link_columns!(),
            ", l.next_check, EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = l.user_id \
             AND s.expires_at > $1 AND ((s.provider = l.provider AND s.provider_subject = l.subject) \
             OR EXISTS (SELECT 1 FROM provider_roles v WHERE v.provider = l.provider \
             AND v.subject = l.subject))) FROM linked_accounts l \
             WHERE l.next_check <= $1 ORDER BY l.next_check LIMIT $2"
        );
        let rows =
            self.pool.read(async |connection| connection.rows(SQL, values![now, limit]).await);
        let mut taken = Vec::new();
        for row in rows.await? {
            let mut cells = row.cells();
            let (link, due) = (read_link(&mut cells)?, cells.time()?);
            let has_session = cells.bool()?;
            let next = if has_session { now.after(retry) } else { ASLEEP };
            let sql = "UPDATE linked_accounts SET next_check = $4 \
                 WHERE provider = $1 AND subject = $2 AND next_check = $3";
            let values = values![&*link.key.provider, &*link.key.subject, due, next];
            if self.pool.execute(sql, values).await? > 0 {
                taken.push(DueCheck { link, has_session });
            }
        }
        Ok(taken)
    }

    /// Has a provider asked no more about a link, unless other tokens are kept meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_check(&self, link: &LinkRow) -> Result<(), StoreError> {
        let sql = "UPDATE linked_accounts SET next_check = NULL \
             WHERE provider = $1 AND subject = $2 AND tokens = $3";
        let LinkKey { provider, subject } = &link.key;
        let tokens = super::sql::Value::Bytes(link.tokens.clone());
        let values = [provider.as_str().into(), subject.as_str().into(), tokens];
        self.pool.execute(sql, &values).await.map(drop)
    }
}

/// Has the providers asked about whoever signs in, by whatever way, where that is overdue: nobody was
/// signed in when it fell due, or it is just being put to sleep.
pub(super) async fn wake(
    connection: &mut Connection,
    session: &SessionRow,
) -> Result<(), StoreError> {
    let sql = "UPDATE linked_accounts SET next_check = $2 \
         WHERE user_id = $1 AND (next_check < $2 OR next_check = $3)";
    let values = values![session.user, session.created_at, ASLEEP];
    connection.execute(sql, values).await.map(drop)
}
