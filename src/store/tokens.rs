//! One-time tokens, by the digest of what the link holds.

use uuid::Uuid;

use super::sql::{Connection, values};
use super::{Store, StoreError, TokenKind};
use crate::clock::Timestamp;

impl TokenKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SetUp => "set-up",
        }
    }
}

impl Store {
    /// Stores a one-time token.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_token(
        &self,
        kind: TokenKind,
        subject: Option<Uuid>,
        digest: &[u8; 32],
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO tokens (digest, kind, subject, expires_at) VALUES ($1, $2, $3, $4)";
        let values = values![digest, kind.as_str(), subject, expires_at];
        self.pool.execute(sql, values).await.map(drop)
    }

    /// Whether a one-time token is live.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_token(
        &self,
        kind: TokenKind,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let found = self.pool.read(async |connection| {
            let sql = "SELECT t.expires_at FROM tokens t \
                 WHERE t.digest = $1 AND t.kind = $2 AND t.expires_at > $3";
            connection.row(sql, values![digest, kind.as_str(), now]).await
        });
        Ok(found.await?.is_some())
    }

    /// Removes tokens past their end.
    pub(super) async fn delete_ended_tokens(&self, now: Timestamp) -> Result<(), StoreError> {
        self.delete_in_batches(
            "DELETE FROM tokens WHERE digest IN (SELECT t.digest FROM tokens t \
             WHERE t.expires_at <= $1 ORDER BY t.expires_at LIMIT 1000)",
            values![now],
        )
        .await
    }
}

/// Spends a token, whichever transaction comes first; says whether it was live.
pub(super) async fn delete_live(
    connection: &mut Connection,
    kind: TokenKind,
    digest: &[u8; 32],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "DELETE FROM tokens WHERE digest = $1 AND kind = $2 AND expires_at > $3";
    Ok(connection.execute(sql, values![digest, kind.as_str(), now]).await? > 0)
}

/// Voids every token of a kind.
pub(super) async fn delete_all(
    connection: &mut Connection,
    kind: TokenKind,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM tokens WHERE kind = $1";
    connection.execute(sql, values![kind.as_str()]).await.map(drop)
}
