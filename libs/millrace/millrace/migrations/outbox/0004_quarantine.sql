-- Rows that cannot be published as they are, kept whole, so that everything behind them flows on.
-- The relay writes it before the Kafka transaction that steps over the row; operators decide what becomes of it.
create table quarantine (
    id          bigint primary key,                  -- the outbox row's
    topic       text not null,
    key         text not null,
    hash        int not null,
    headers     jsonb not null,
    payload     bytea not null,
    unpacked    int,
    written_at  timestamptz not null,                -- when the row was written
    reason      text not null,                       -- a word: too_large, bad_headers, …; 'behind' an earlier one of its key
    detail      text not null,                       -- a sentence that quotes nothing of the row
    parked_at   timestamptz not null default now(),
    status      text not null default 'parked' check (status in ('parked', 'retry', 'drop', 'published', 'dropped')),
    decision    bigint,                              -- the number of what an operator decided; grows
    decided_by  text,
    why         text,
    ended_at    timestamptz,                         -- when the relay had carried the decision out
    constraint decided_is_numbered check ((status = 'parked') or decision is not null)
);
create index quarantine_decision on quarantine (decision) where status in ('retry', 'drop');  -- what the relay has to do
create index quarantine_key on quarantine (topic, key) where ended_at is null;               -- keys that are blocked
alter table quarantine alter payload set storage external;
create sequence quarantine_decision_number;

create function next_decision() returns bigint language sql volatile set search_path = $schema, pg_temp as $$
    -- Numbers become visible in their order: whoever takes the next one waits until the last one's writer has ended.
    -- A lower number that came to light after a higher one was carried out would never be looked at.
    select pg_advisory_xact_lock(hashtext('$schema.next_decision'));
    select nextval('$schema.quarantine_decision_number')
$$;

grant select, insert, update (reason, detail, status, decision, decided_by, why, ended_at) on quarantine to $role;
grant usage on sequence quarantine_decision_number to $role;
