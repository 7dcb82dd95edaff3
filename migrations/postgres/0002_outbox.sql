-- Mail that is to go out. Never a link or a token: those are made for each attempt.
-- `recipient` is the folded e-mail somebody asked for, whether or not there is such an account;
-- `subject` is the account, once it was looked up.
CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    recipient TEXT COLLATE "C" NOT NULL,
    language TEXT COLLATE "C" NOT NULL,
    subject BYTEA REFERENCES users (id) ON DELETE CASCADE,
    queued_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    next_attempt BIGINT NOT NULL,
    -- Who is at it, and until when by the database's clock.
    holder BYTEA,
    held_until BIGINT NOT NULL
);
CREATE UNIQUE INDEX outbox_recipient ON outbox (recipient, kind);
CREATE INDEX outbox_next ON outbox (next_attempt, id);
CREATE INDEX outbox_held ON outbox (held_until);
CREATE INDEX outbox_subject ON outbox (subject);

UPDATE schema SET version = 2;
