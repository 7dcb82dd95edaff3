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

/// Links written at a time.
const PAGE: u32 = 500;

impl Store {
    /// The providers that accounts are linked to, in the order of their names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_linked_providers(&self) -> Result<Vec<String>, StoreError> {
        // One look into the index for each of the few: a `DISTINCT` reads every link.
        let sql = "SELECT l.provider FROM linked_accounts l WHERE l.provider > $1 \
             ORDER BY l.provider LIMIT 1";
        let found = self.pool.read(async |connection| {
            let mut found: Vec<String> = Vec::new();
            while let Some(row) =
                connection.row(sql, values![found.last().map_or("", String::as_str)]).await?
            {
                found.push(row.cells().text()?);
            }
            Ok(found)
        });
        found.await
    }

    /// Takes links to a provider that is to be asked again, at most `limit`: nobody else gets them before
    /// `retry` has passed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_due_checks(
        &self,
        provider: &str,
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
             WHERE l.next_check <= $1 AND l.provider = $3 ORDER BY l.next_check LIMIT $2"
        );
        let values = values![now, limit, provider];
        let rows = self.pool.read(async |connection| connection.rows(SQL, values).await);
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

    /// Has it looked at once who has sessions or roles by a provider, whether or not it was to be asked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_checks_due(
        &self,
        provider: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        const OF_ROLES: &str = "SELECT DISTINCT v.subject FROM provider_roles v \
             WHERE v.provider = $1 AND v.subject > $2 ORDER BY v.subject LIMIT $3";
        const OF_SESSIONS: &str = "SELECT DISTINCT s.provider_subject FROM sessions s \
             WHERE s.provider = $1 AND s.provider_subject > $2 ORDER BY s.provider_subject LIMIT $3";
        for sql in [OF_ROLES, OF_SESSIONS] {
            let mut last = String::new();
            // A page at a time: writing waits for nothing longer than that.
            loop {
                let values = values![provider, &*last, PAGE];
                let rows = self.pool.read(async |connection| connection.rows(sql, values).await);
                let subjects = rows.await?;
                let subjects = subjects.iter().map(|row| row.cells().text());
                let subjects = subjects.collect::<Result<Vec<_>, _>>()?;
                let Some(end) = subjects.last() else { break };
                last.clone_from(end);
                let written = self.pool.write(async |connection| {
                    for subject in &subjects {
                        let sql = "UPDATE linked_accounts SET next_check = $3 \
                             WHERE provider = $1 AND subject = $2";
                        connection.execute(sql, values![provider, &**subject, now]).await?;
                    }
                    Ok(())
                });
                written.await?;
            }
        }
        Ok(())
    }

    /// Has a provider asked no more about a link, unless other tokens are kept meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_check(&self, link: &LinkRow) -> Result<(), StoreError> {
        let sql = "UPDATE linked_accounts SET next_check = NULL \
             WHERE provider = $1 AND subject = $2 AND tokens IS NOT DISTINCT FROM $3";
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
