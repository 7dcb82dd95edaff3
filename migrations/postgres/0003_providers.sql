-- Accounts at providers (the provider's name in the configuration, its own name for the person), each
-- linked to one account here.
CREATE TABLE linked_accounts (
    provider TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    user_id BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- Whose word it is: a provider configured with another address is another one, whatever its name.
    -- NULL where that is not known yet.
    issuer TEXT,
    -- What the provider said the e-mail was, when it last said so.
    email TEXT,
    linked_at BIGINT NOT NULL,
    last_sign_in BIGINT,
    -- The provider's tokens, encrypted.
    tokens BYTEA,
    -- When the provider last vouched for the person, and when it is to be asked again.
    checked_at BIGINT,
    next_check BIGINT,
    PRIMARY KEY (provider, subject)
);
CREATE INDEX linked_accounts_user ON linked_accounts (user_id);
CREATE INDEX linked_accounts_check ON linked_accounts (next_check) WHERE next_check IS NOT NULL;

-- Roles that a provider gives, apart from those that an operator granted.
CREATE TABLE provider_roles (
    provider TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    user_id BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (provider, subject, role),
    FOREIGN KEY (provider, subject) REFERENCES linked_accounts (provider, subject) ON DELETE CASCADE
);
CREATE INDEX provider_roles_user ON provider_roles (user_id);

-- Where a session came from: the linked account, and the provider's own session.
ALTER TABLE sessions ADD COLUMN provider TEXT COLLATE "C";
ALTER TABLE sessions ADD COLUMN provider_subject TEXT COLLATE "C";
ALTER TABLE sessions ADD COLUMN provider_session TEXT COLLATE "C";
CREATE INDEX sessions_subject ON sessions (provider, provider_subject) WHERE provider IS NOT NULL;
CREATE INDEX sessions_provider ON sessions (provider, provider_session) WHERE provider IS NOT NULL;

UPDATE schema SET version = 3;
