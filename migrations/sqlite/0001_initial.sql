-- Times are microseconds since 1970-01-01T00:00:00Z, ids are bytes, addresses are text.

CREATE TABLE schema (
    version INTEGER NOT NULL,
    oldest_compatible INTEGER NOT NULL
) STRICT;
INSERT INTO schema (version, oldest_compatible) VALUES (1, 1);

-- The database's own clock, by which the window of the change log is cut.
CREATE VIEW database_time AS
    SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS micros;

CREATE TABLE users (
    id BLOB NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    email_folded TEXT NOT NULL,
    username TEXT,
    username_folded TEXT,
    password_hash TEXT,
    password_kind TEXT,
    first_name TEXT,
    last_name TEXT,
    organization TEXT,
    department TEXT,
    phone TEXT,
    is_active INTEGER NOT NULL,
    is_superuser INTEGER NOT NULL,
    is_verified INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_login_at INTEGER,
    last_address TEXT,
    login_count INTEGER NOT NULL DEFAULT 0,
    failed_login_count INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX users_email ON users (email_folded);
CREATE UNIQUE INDEX users_username ON users (username_folded);
CREATE INDEX users_password_kind ON users (password_kind);
CREATE INDEX users_superuser ON users (id) WHERE is_superuser AND is_active;

CREATE TABLE roles (
    name TEXT NOT NULL PRIMARY KEY,
    name_folded TEXT NOT NULL,
    description TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX roles_folded ON roles (name_folded);

CREATE TABLE role_permissions (
    role TEXT NOT NULL REFERENCES roles (name) ON DELETE CASCADE,
    permission TEXT NOT NULL,
    PRIMARY KEY (role, permission)
) STRICT;

-- No reference to roles: a grant may name a role of the configuration file, or one yet to come.
CREATE TABLE user_roles (
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    ends_at INTEGER,
    PRIMARY KEY (user_id, role)
) STRICT;
CREATE INDEX user_roles_role ON user_roles (role, ends_at);

CREATE TABLE sessions (
    id BLOB NOT NULL PRIMARY KEY,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    method TEXT NOT NULL,
    kind TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    idle INTEGER,
    expires_at INTEGER NOT NULL,
    address TEXT,
    -- The address as limits count it: IPv6 by its /64.
    network TEXT,
    agent TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id, created_at);
CREATE INDEX sessions_network ON sessions (user_id, network);
CREATE INDEX sessions_created ON sessions (created_at);
CREATE INDEX sessions_expires ON sessions (expires_at);
-- An eighth more than `idle`: uses of the last tenth may not have been written yet.
CREATE INDEX sessions_idle ON sessions ((last_seen + idle + idle / 8));

CREATE TABLE tokens (
    digest BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    subject BLOB REFERENCES users (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX tokens_expires ON tokens (expires_at);
CREATE INDEX tokens_subject ON tokens (subject);
CREATE INDEX tokens_kind ON tokens (kind);

CREATE TABLE password_kinds (
    kind TEXT NOT NULL PRIMARY KEY,
    cost INTEGER
) STRICT;

-- Never reuses a number: readers remember which they have applied.
CREATE TABLE changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    kind TEXT NOT NULL,
    subject BLOB NOT NULL
) STRICT;
CREATE INDEX changes_at ON changes (at);

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    user_id BLOB,
    actor TEXT NOT NULL,
    address TEXT,
    agent TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX events_at ON events (at, id);
CREATE INDEX events_user ON events (user_id, at, id);
