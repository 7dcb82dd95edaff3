-- Invitations to make an account: whom, by whom, with which roles. One per e-mail.
-- The token of its link is made for each attempt to send it; here is the digest of the last one.
CREATE TABLE invitations (
    id BYTEA PRIMARY KEY,
    email TEXT NOT NULL,
    email_folded TEXT COLLATE "C" NOT NULL,
    first_name TEXT,
    last_name TEXT,
    invited_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    digest BYTEA
);
CREATE UNIQUE INDEX invitations_email ON invitations (email_folded);
CREATE INDEX invitations_expires ON invitations (expires_at);

CREATE TABLE invitation_roles (
    invitation BYTEA NOT NULL REFERENCES invitations (id) ON DELETE CASCADE,
    role TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (invitation, role)
);

-- The node that is at a letter: one node sends at a time, several letters at once.
ALTER TABLE outbox ADD COLUMN node BYTEA;

UPDATE schema SET version = 4;
