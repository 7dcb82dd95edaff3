-- A provider is asked by itself: one that hangs is no reason to pass over its links to find another's.
DROP INDEX linked_accounts_check;
CREATE INDEX linked_accounts_check ON linked_accounts (provider, next_check)
    WHERE next_check IS NOT NULL;

-- Nobody read it.
ALTER TABLE linked_accounts DROP COLUMN checked_at;

UPDATE schema SET version = 6, oldest_compatible = 6;
