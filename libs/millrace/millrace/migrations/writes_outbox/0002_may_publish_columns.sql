-- Only what a writer has to say: number, transaction and time are the outbox's own.
revoke insert on outbox.event from $role;
grant insert (topic, key, hash, headers, payload, unpacked) on outbox.event to $role;
grant usage on sequence outbox.event_id to $role;
grant execute on function outbox.make_days(int) to $role;                    -- so that no writer depends on the relay
grant execute on function outbox.claimed(uuid) to $role;                     -- large payloads of the events it reads
