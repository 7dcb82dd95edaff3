-- Text that is compared or ordered is COLLATE "C": byte order, as SQLite's.
-- Times are microseconds since 1970-01-01T00:00:00Z, ids are bytes, addresses are text.

CREATE TABLE schema (
    version BIGINT NOT NULL,
    oldest_compatible BIGINT NOT NULL
);
INSERT INTO schema (version, oldest_compatible) VALUES (1, 1);

-- The database's own clock, by which the window of the change log is cut.
CREATE VIEW database_time AS
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros;

CREATE TABLE users (
    id BYTEA NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    email_folded TEXT COLLATE "C" NOT NULL,
    username TEXT,
    username_folded TEXT COLLATE "C",
    password_hash TEXT,
    password_kind TEXT COLLATE "C",
    first_name TEXT,
    last_name TEXT,
    organization TEXT,
    department TEXT,
    phone TEXT,
    is_active BOOLEAN NOT NULL,
    is_superuser BOOLEAN NOT NULL,
    is_verified BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    last_login_at BIGINT,
    last_address TEXT,
    login_count BIGINT NOT NULL DEFAULT 0,
    failed_login_count BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX users_email ON users (email_folded);
CREATE UNIQUE INDEX users_username ON users (username_folded);
CREATE INDEX users_password_kind ON users (password_kind);
CREATE INDEX users_superuser ON users (id) WHERE is_superuser AND is_active;

CREATE TABLE roles (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name_folded TEXT COLLATE "C" NOT NULL,
    description TEXT NOT NULL
);
CREATE UNIQUE INDEX roles_folded ON roles (name_folded);

CREATE TABLE role_permissions (
    role TEXT COLLATE "C" NOT NULL REFERENCES roles (name) ON DELETE CASCADE,
    permission TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (role, permission)
);

-- No reference to roles: a grant may name a role of the configuration file, or one yet to come.
CREATE TABLE user_roles (
    user_id BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT COLLATE "C" NOT NULL,
    ends_at BIGINT,
    PRIMARY KEY (user_id, role)
);
CREATE INDEX user_roles_role ON user_roles (role, ends_at);

CREATE TABLE sessions (
    id BYTEA NOT NULL PRIMARY KEY,
    user_id BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    method TEXT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    idle BIGINT,
    expires_at BIGINT NOT NULL,
    address TEXT COLLATE "C",
    -- The address as limits count it: IPv6 by its /64.
    network TEXT COLLATE "C",
    agent TEXT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id, created_at);
CREATE INDEX sessions_network ON sessions (user_id, network);
CREATE INDEX sessions_created ON sessions (created_at);
CREATE INDEX sessions_expires ON sessions (expires_at);
-- An eighth more than `idle`: uses of the last tenth may not have been written yet.
CREATE INDEX sessions_idle ON sessions ((last_seen + idle + idle / 8));

CREATE TABLE tokens (
    digest BYTEA NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    subject BYTEA REFERENCES users (id) ON DELETE CASCADE,
    expires_at BIGINT NOT NULL
);
CREATE INDEX tokens_expires ON tokens (expires_at);
CREATE INDEX tokens_subject ON tokens (subject);
CREATE INDEX tokens_kind ON tokens (kind);

CREATE TABLE password_kinds (
    kind TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    cost BIGINT
);

-- Never reuses a number: readers remember which they have applied.
CREATE TABLE changes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL DEFAULT ((extract(epoch FROM clock_timestamp()) * 1000000)::bigint),
    kind TEXT COLLATE "C" NOT NULL,
    subject BYTEA NOT NULL
);
CREATE INDEX changes_at ON changes (at);

CREATE TABLE events (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    user_id BYTEA,
    actor TEXT NOT NULL,
    address TEXT COLLATE "C",
    agent TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX events_at ON events (at, id);
CREATE INDEX events_user ON events (user_id, at, id);
