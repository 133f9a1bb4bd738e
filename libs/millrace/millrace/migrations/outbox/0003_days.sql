-- A partition a day, so that what is published and audited can be dropped in one step and nothing is ever deleted;
-- and the hash of each row's key, from which its shard and its partition follow.
-- There is no default partition: beside one, PostgreSQL refuses to detach a day without stopping the writers.

create function murmur2(key text) returns int language plpgsql immutable strict parallel safe as $$
-- Kafka's own hash of a key, without its sign. Writers of ours compute it; this is for everybody else.
declare
    data  constant bytea := convert_to(key, 'UTF8');
    size  constant int := octet_length(data);
    mix   constant bigint := 1540483477;
    mask  constant bigint := 4294967295;
    h     bigint := 2538058380 # size;
    k     bigint;
    place int := 0;
begin
    while place + 4 <= size loop
        k := get_byte(data, place) | (get_byte(data, place + 1) << 8) | (get_byte(data, place + 2) << 16)
             | (get_byte(data, place + 3)::bigint << 24);
        k := k * mix & mask;
        k := (k # (k >> 24)) * mix & mask;
        h := (h * mix & mask) # k;
        place := place + 4;
    end loop;
    if place < size then
        k := 0;
        for byte in reverse size - 1 .. place loop
            k := (k << 8) | get_byte(data, byte);
        end loop;
        h := (h # k) * mix & mask;
    end if;
    h := (h # (h >> 13)) * mix & mask;
    return ((h # (h >> 15)) & 2147483647)::int;
end $$;

alter table event rename to event_whole;
alter index event_pkey rename to event_whole_pkey;
alter index event_xid rename to event_whole_xid;
create sequence event_id;

create table event (
    id          bigint not null default nextval('$schema.event_id'),
    xid         xid8 not null default pg_current_xact_id(),  -- the writer; what a snapshot sees or does not
    topic       text not null,
    key         text not null,                               -- rows of one key are published in commit order
    hash        int not null,                                -- murmur2(key): shard and partition follow from it
    headers     jsonb not null,                              -- CloudEvents attributes, trace context
    payload     bytea not null,
    unpacked    int,                                         -- bytes of the payload once unpacked; null: as it is
    created_at  timestamptz not null default clock_timestamp(),
    primary key (id, created_at),                            -- the pages of a window, along their ids
    constraint key_is_said check (key <> ''),
    constraint hash_has_no_sign check (hash >= 0),
    constraint packed_is_zstd
        check (unpacked is null or substring(payload from 1 for 4) = '\x28b52ffd'::bytea)
) partition by range (created_at);
create index event_xid on event (xid) include (id, created_at, hash);  -- the relay's scan: rows of new transactions;
                                                               -- a long backlog is sorted from here, unread
alter table event alter payload set storage external;         -- it is packed by its writer, or by the relay's batch

create function hash_key() returns trigger language plpgsql as $$
begin
    new.hash := $schema.murmur2(new.key);
    return new;
end $$;
create trigger event_is_hashed before insert on event
    for each row when (new.hash is null) execute function hash_key();
create trigger event_only_grows before update or delete or truncate on event
    for each statement execute function refuse_change();

create function make_day(day date) returns boolean
    language plpgsql security definer set search_path = $schema, pg_temp as $$
-- The table of a day (UTC), made beside the outbox and then attached: neither step waits for a writer or a reader,
-- or lets one wait. False when it is there.
declare
    name constant text := 'event_' || to_char(day, 'YYYYMMDD');
begin
    if to_regclass('$schema.' || name) is not null then
        return false;
    end if;
    execute format('create table %I (like event including defaults including constraints'
                   || ' including storage) with (toast_tuple_target = 8160)', name);  -- a row beside its payload
    execute format('create trigger event_only_grows before update or delete or truncate on %I'
                   || ' for each statement execute function refuse_change()', name);
    execute format('grant select on %I to $role', name);  -- who looks at one day alone
    execute format('alter table event attach partition %I for values from (%L) to (%L)',
                   name, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
    return true;
end $$;

create function make_days(ahead int) returns setof date
    language plpgsql security definer set search_path = $schema, pg_temp as $$
-- The days from yesterday (a clock may be set back) to `ahead` days from now; returns those that were missing.
-- Whoever writes may call it, so that the outbox depends on no one process.
begin
    if ahead not between 0 and 366 then
        raise exception 'make_days(%): between 0 and 366 days ahead', ahead using errcode = 'invalid_parameter_value';
    end if;
    perform pg_advisory_xact_lock(hashtext('$schema.make_days'));
    return query select today.day
                   from (select (now() at time zone 'UTC')::date + n as day from generate_series(-1, ahead) as n) as today
                  where make_day(today.day);
end $$;
revoke all on function make_days(int), make_day(date) from public;

create function refuse_late() returns trigger language plpgsql as $$
begin
    raise exception 'the outbox has closed %: the database''s clock says %', tg_table_name, new.created_at
          using errcode = 'check_violation', hint = 'Set the clock of the database''s host right.';
end $$;

-- What was written before keeps its number, its transaction and so its place in the cursor. Writers wait meanwhile.
do $$
declare
    writer record;
begin
    perform make_day(day) from (select distinct (created_at at time zone 'UTC')::date as day from event_whole) as days;
    insert into event (id, xid, topic, key, hash, headers, payload, unpacked, created_at)
    select id, xid, topic, key, murmur2(key), headers, payload, unpacked, created_at from event_whole;
    perform setval('event_id', coalesce(max(id), 1), max(id) is not null) from event;
    for writer in select distinct grantee from information_schema.role_table_grants
                   where table_schema = '$schema' and table_name = 'event_whole' and privilege_type = 'INSERT'
                     and grantee <> current_user loop
        execute format('grant insert (topic, key, hash, headers, payload, unpacked) on event to %I', writer.grantee);
        execute format('grant usage on sequence event_id to %I', writer.grantee);
        execute format('grant execute on function make_days(int) to %I', writer.grantee);
    end loop;
end $$;
drop table event_whole;
select make_days(7);

grant select on event to $role;
grant execute on function make_days(int) to $role;
