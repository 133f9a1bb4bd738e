-- From here on nothing personal rests in the clear: the bytes as they came are compressed, then sealed under the
-- data key of their customer. Events of an earlier version cannot stay: import them again.
do $$ begin
    if exists (select from event) then
        raise exception 'ingest.event holds events in the clear, which this version does not keep'
              using hint = 'start with an empty database and bring them in with `millrace import`';
    end if;
end $$;

alter table event drop constraint raw_is_zstd;
alter table event add constraint raw_is_sealed check (get_byte(raw, 0) = 1);   -- the version of the sealed form
alter table event
    add column endpoint text not null,         -- where it came in; of an import, how it was named
    add column secret   text not null,         -- the place of the secret that verified it; '' where none was asked
    add column cards    int  not null default 0 check (cards >= 0);  -- card numbers cut out; else byte for byte

alter table event_default set (toast_tuple_target = 8160);   -- a body beside its row: a side table costs as much again

-- As before, and with the bodies of the month kept beside their rows.
create or replace function make_partition(month date) returns boolean
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
    execute format('create table %I partition of event for values from (%L) to (%L)'
                   ' with (toast_tuple_target = 8160)', name, starts, ends);
    execute format('create trigger event_is_not_emptied before truncate on %I'
                   ' for each statement execute function refuse_event_change()', name);
    return true;
end $$;
