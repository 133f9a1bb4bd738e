-- What the relay leaves for operators to see, and what proves its work.
create table cursor (
    lane        text primary key,                    -- an outbox, or a shard of it
    record      jsonb,                               -- as in the cursor topic, some seconds old; null before the first
    counts      boolean not null default false,      -- written in the mode `idempotent`: the cursor topic's is older
    term        bigint not null,                     -- grows with each leader; only the last one may write
    at          timestamptz not null default now()
);

create table audited (
    run         bigint generated always as identity primary key,
    lane        text not null,
    at          timestamptz not null default now(),
    cursor      jsonb not null,                      -- everything up to this cursor was compared, since the last run that was ok
    offsets     jsonb not null,                      -- topic → partition → offset where the next run begins
    row_count   bigint not null,                     -- committed rows of the window that were to be published
    records     bigint not null,                     -- records of the window in Kafka
    parked      bigint not null default 0,           -- rows of the window that stand in quarantine
    missing     bigint not null,                     -- rows without a record
    strange     bigint not null,                     -- records without a row
    doubled     bigint not null,                     -- records of a row that had one already
    changed     bigint not null default 0,           -- records whose payload has not the row's length
    gaps        bigint not null,                     -- numbers of a partition that no missing row explains
    inverted    bigint not null default 0,           -- records that stand behind a later one of their partition
    accepted    text,                                -- who let a difference be, and why; the next run begins behind it
    ok          boolean not null generated always as
                (missing + strange + doubled + changed + gaps + inverted = 0 or accepted is not null) stored
);
create index audited_lane on audited (lane, run);    -- the last run of a lane
create trigger audited_only_grows before update or delete or truncate on audited
    for each statement execute function refuse_change();

create function beat(key text, nonce text) returns void
    language sql security definer set search_path = $schema, pg_temp as $$
    -- A row that goes the whole way and back to the relay, which measures how long that took.
    insert into event (topic, key, hash, headers, payload)
    values ('millrace.relay.heartbeat', key, murmur2(key),
            jsonb_build_object('ce_type', 'millrace.relay.heartbeat', 'ce_id', nonce), convert_to('{}', 'UTF8'))
$$;
revoke all on function beat(text, text) from public;

grant select, insert, update on cursor to $role;
grant select, insert on audited to $role;
grant execute on function beat(text, text) to $role;
