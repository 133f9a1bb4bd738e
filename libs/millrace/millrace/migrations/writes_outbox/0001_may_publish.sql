-- This role may add rows to the outbox, and nothing else there.
grant usage on schema outbox to $role;
grant insert on outbox.event to $role;
