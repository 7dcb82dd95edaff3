-- Whose invitation it is: they go when somebody stops being an active superuser. NULL: the command line's.
ALTER TABLE invitations ADD COLUMN inviter BYTEA;
UPDATE invitations SET inviter = (SELECT u.id FROM users u WHERE u.email = invitations.invited_by);
CREATE INDEX invitations_inviter ON invitations (inviter);

UPDATE schema SET version = 5;
