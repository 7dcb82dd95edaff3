-- Mail that is to go out. Never a link or a token: those are made for each attempt.
-- `recipient` is the folded e-mail somebody asked for, whether or not there is such an account;
-- `subject` is the account, once it was looked up.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    recipient TEXT NOT NULL,
    language TEXT NOT NULL,
    subject BLOB REFERENCES users (id) ON DELETE CASCADE,
    queued_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt INTEGER NOT NULL,
    -- Who is at it, and until when by the database's clock.
    holder BLOB,
    held_until INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX outbox_recipient ON outbox (recipient, kind);
CREATE INDEX outbox_next ON outbox (next_attempt, id);
CREATE INDEX outbox_held ON outbox (held_until);
CREATE INDEX outbox_subject ON outbox (subject);

UPDATE schema SET version = 2;
