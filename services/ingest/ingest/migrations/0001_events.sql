-- Every webhook that was authentic, whole, once. Rows are only ever added, by the ingest role.

-- The ids of all events ever stored. Not partitioned: what makes an event unique must not forget.
create table event_id (
    account      text not null,
    id           text not null,                    -- Stripe's event id
    received_at  timestamptz not null,             -- where to look in `event`
    primary key (account, id)
);

create table event (
    account      text not null,                    -- Stripe account of the endpoint
    id           text not null,
    type         text not null,                    -- Stripe's type, known to us or not
    created      timestamptz not null,             -- by Stripe's clock, to the second; says nothing about order
    api_version  text not null,                    -- the version that rendered the body
    livemode     boolean not null,
    object_id    text,                             -- data.object.id; balances and upcoming invoices have none
    customer     text,
    received_at  timestamptz not null,             -- by our clock
    source       text not null check (source in ('webhook', 'sweep', 'refresh', 'import')),
    raw          bytea not null,                   -- the body, byte for byte as it was signed; zstd
    signature    text not null,                    -- the header that vouched for it
    primary key (received_at, account, id),        -- time first, so that inserts touch the last page only
    constraint raw_is_zstd check (substring(raw from 1 for 4) = '\x28b52ffd'::bytea)
) partition by range (received_at);
alter table event alter raw set storage external;  -- compressed already

-- Catches what arrives in a month that nobody prepared: an event is never refused for lack of a partition.
create table event_default partition of event default;

create function refuse_event_change() returns trigger language plpgsql as $$
begin
    raise exception '% on %.% is refused: stored events stay as they are', tg_op, tg_table_schema, tg_table_name
          using errcode = 'restrict_violation';
end $$;
create trigger event_stays before update or delete on event            -- cloned to every partition
    for each row execute function refuse_event_change();
create trigger event_is_not_emptied before truncate on event
    for each statement execute function refuse_event_change();
create trigger event_is_not_emptied before truncate on event_default
    for each statement execute function refuse_event_change();
create trigger event_id_stays before update or delete or truncate on event_id
    for each statement execute function refuse_event_change();

-- The partition of one month. The role may call this, and may create nothing itself.
-- False when it was there, or when the default partition already holds rows of that month: they stay there.
create function make_partition(month date) returns boolean
    language plpgsql security definer set search_path = $schema, pg_temp as $$
declare
    starts timestamptz := date_trunc('month', month::timestamp) at time zone 'UTC';
    ends   timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') at time zone 'UTC';
    name   text := format('event_%s', to_char(month, 'YYYY_MM'));
begin
    if to_regclass(name) is not null then
        return false;
    end if;
    perform pg_advisory_xact_lock(hashtext('ingest.make_partition'));  -- replicas start together
    if to_regclass(name) is not null
       or exists (select from event_default where received_at >= starts and received_at < ends) then
        return false;
    end if;
    execute format('create table %I partition of event for values from (%L) to (%L)', name, starts, ends);
    execute format('create trigger event_is_not_emptied before truncate on %I'
                   ' for each statement execute function refuse_event_change()', name);
    return true;
end $$;
revoke all on function make_partition(date) from public;

grant select, insert on event_id, event to $role;
grant execute on function make_partition(date) to $role;
