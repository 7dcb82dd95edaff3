-- Accounts at providers (the provider's name in the configuration, its own name for the person), each
-- linked to one account here.
CREATE TABLE linked_accounts (
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- Whose word it is: a provider configured with another address is another one, whatever its name.
    -- NULL where that is not known yet.
    issuer TEXT,
    -- What the provider said the e-mail was, when it last said so.
    email TEXT,
    linked_at INTEGER NOT NULL,
    last_sign_in INTEGER,
    -- The provider's tokens, encrypted.
    tokens BLOB,
    -- When the provider last vouched for the person, and when it is to be asked again.
    checked_at INTEGER,
    next_check INTEGER,
    PRIMARY KEY (provider, subject)
) STRICT;
CREATE INDEX linked_accounts_user ON linked_accounts (user_id);
CREATE INDEX linked_accounts_check ON linked_accounts (next_check) WHERE next_check IS NOT NULL;

-- Roles that a provider gives, apart from those that an operator granted.
CREATE TABLE provider_roles (
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    PRIMARY KEY (provider, subject, role),
    FOREIGN KEY (provider, subject) REFERENCES linked_accounts (provider, subject) ON DELETE CASCADE
) STRICT;
CREATE INDEX provider_roles_user ON provider_roles (user_id);

-- Where a session came from: the linked account, and the provider's own session.
ALTER TABLE sessions ADD COLUMN provider TEXT;
ALTER TABLE sessions ADD COLUMN provider_subject TEXT;
ALTER TABLE sessions ADD COLUMN provider_session TEXT;
CREATE INDEX sessions_subject ON sessions (provider, provider_subject) WHERE provider IS NOT NULL;
CREATE INDEX sessions_provider ON sessions (provider, provider_session) WHERE provider IS NOT NULL;

UPDATE schema SET version = 3;
