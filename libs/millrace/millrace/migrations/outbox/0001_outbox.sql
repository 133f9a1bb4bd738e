-- The way out: whoever changes something writes what happened here, in the same transaction.
-- Append-only. The relay reads it by comparing snapshots, so a row is never marked, updated or deleted.
create table event (
    id          bigint generated always as identity primary key,
    xid         xid8 not null default pg_current_xact_id(),  -- the writer; what a snapshot sees or does not
    topic       text not null,
    key         text not null,                               -- rows of one key are published in commit order
    headers     jsonb not null,                              -- CloudEvents attributes, trace context
    payload     bytea not null,
    created_at  timestamptz not null default clock_timestamp(),
    constraint key_is_said check (key <> '')
);
create index event_xid on event (xid);                        -- the relay's scan: rows of new transactions only
alter table event alter payload set storage external;         -- JSON is compressed once, by the relay's batch

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% on %.% is refused: the outbox only grows', tg_op, tg_table_schema, tg_table_name
          using errcode = 'restrict_violation';
end $$;
create trigger event_only_grows before update or delete or truncate on event
    for each statement execute function refuse_change();

grant select on event to $role;
