-- A provider is asked by itself: one that hangs is no reason to pass over its links to find another's.
DROP INDEX linked_accounts_check;
CREATE INDEX linked_accounts_check ON linked_accounts (provider, next_check)
    WHERE next_check IS NOT NULL;

-- Nobody reads `linked_accounts.checked_at`, and only binaries of schema 5 and before write it. It stays: they
-- may run beside this one, and come back in its place.
UPDATE schema SET version = 6;
