-- What keeps the journal true, whoever writes to it: lines balance, belong to a header of the same
-- transaction and to an account that exists; and nothing is ever changed or taken away.
--
-- A statement trigger fires only for the table that the statement names, so every guard is attached to the
-- parents and to every partition. They end at a superuser with session_replication_role = replica.

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% on %.% is refused: the journal only grows', tg_op, tg_table_schema, tg_table_name
          using errcode = 'restrict_violation';
end $$;

-- One pass over the lines of a statement. Its owner's rights, so that balances cannot be written by hand.
create function check_entries() returns trigger language plpgsql security definer
    set search_path = $schema, pg_temp as $$
declare
    wrong text;
begin
    select format('transaction %s is off by %s %s', tx_id, sum(amount), currency) into wrong
      from added group by tx_id, currency having sum(amount) <> 0 order by tx_id, currency limit 1;
    if wrong is not null then
        raise exception '%', wrong using errcode = 'check_violation', constraint = 'entry_balances';
    end if;

    select format('account %s does not exist', a.account) into wrong
      from (select distinct account from added) a
     where not exists (select from account where code = a.account) limit 1;
    if wrong is not null then
        raise exception '%', wrong using errcode = 'foreign_key_violation', constraint = 'entry_account';
    end if;

    select format('transaction %s has no header of this transaction', a.tx_id) into wrong
      from (select distinct tx_id, recorded_at from added) a
     where not exists (select from journal_tx h                  -- offset 0: by index, one header at a time
                        where h.tx_id = a.tx_id and h.recorded_at = a.recorded_at
                          and h.xid = pg_current_xact_id() offset 0) limit 1;
    if wrong is not null then
        raise exception '%', wrong using errcode = 'foreign_key_violation', constraint = 'entry_header';
    end if;

    insert into balance_delta (account, currency, debit, credit, entries)
    select account, currency, coalesce(sum(amount) filter (where amount > 0), 0),
           coalesce(-sum(amount) filter (where amount < 0), 0), count(*)
      from added group by account, currency order by account, currency;
    return null;
end $$;

create function guard_entries(target regclass) returns void language plpgsql as $$
begin
    execute format('create trigger entry_balances after insert on %s referencing new table as added '
                   'for each statement execute function $schema.check_entries()', target);
end $$;

create function guard_growth(target regclass) returns void language plpgsql as $$
begin
    execute format('create trigger only_grows before update or delete or truncate on %s '
                   'for each statement execute function $schema.refuse_change()', target);
end $$;

select guard_growth(name::regclass)
  from unnest(array['account', 'fact', 'journal_tx', 'entry', 'balance_delta']) as name;
select guard_entries('entry');

-- The partitions of one month, guarded. Nothing happens when they are there already.
create function open_month(day date) returns void language plpgsql security definer
    set search_path = $schema, pg_temp as $$
declare
    first timestamptz := date_trunc('month', day::timestamp) at time zone 'UTC';
    next  timestamptz := (date_trunc('month', day::timestamp) + interval '1 month') at time zone 'UTC';
    name  text;
begin
    foreach name in array array['journal_tx', 'entry'] loop
        if to_regclass(format('%s_%s', name, to_char(day, 'YYYYMM'))) is null then
            execute format('create table %s_%s partition of %s for values from (%L) to (%L)',
                           name, to_char(day, 'YYYYMM'), name, first, next);
            perform guard_growth(format('%s_%s', name, to_char(day, 'YYYYMM'))::regclass);
            if name = 'entry' then
                perform guard_entries(format('entry_%s', to_char(day, 'YYYYMM'))::regclass);
            end if;
        end if;
    end loop;
end $$;

-- What no month was opened for still has a place, with the same guards.
create table journal_tx_default partition of journal_tx default;
create table entry_default partition of entry default;
select guard_growth('journal_tx_default'), guard_growth('entry_default'), guard_entries('entry_default');

select open_month((date_trunc('month', now() at time zone 'UTC') + ahead * interval '1 month')::date)
  from generate_series(0, 2) as ahead;

revoke execute on all functions in schema $schema from public;
grant execute on function open_month(date) to $role;
