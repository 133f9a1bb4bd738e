-- The data keys, each wrapped by a key-encryption key that is not in any database. Mutable where it must be:
-- a key is wrapped anew when the key-encryption key changes, and destroyed when its subject is erased.
-- It stands outside every audit chain, for those hash what these keys seal.
create table subject_key (
    id            bigint generated always as identity primary key,  -- stands in every value it sealed
    account       text not null,
    customer      text not null,                   -- '' for what belongs to the account and to no customer
    purpose       text not null check (purpose in ('data', 'index')),
    version       int not null check (version >= 1),  -- a new one now and then bounds what one key seals
    kek           text not null,                   -- version of the key-encryption key; '' where there never was a key
    wrapped       bytea,                           -- null: destroyed, and whatever it sealed is gone
    created_at    timestamptz not null default now(),
    destroyed_at  timestamptz,
    unique (account, customer, purpose, version),  -- of two processes that make one at once, one does
    constraint destroyed_holds_nothing check ((wrapped is null) = (destroyed_at is not null)),
    constraint index_is_the_accounts check (purpose <> 'index' or customer = '')
);
create index subject_key_by_kek on subject_key (kek, id) where wrapped is not null;  -- what is left to wrap anew

-- Blind indexes: which customers have a value, without the value. A keyed digest and nothing more.
create table blind_index (
    account   text not null,
    field     text not null,                       -- as the policy names it: customer.email
    digest    bytea not null check (length(digest) = 32),  -- HMAC-SHA-256 of the value, by a key of its field
    customer  text not null,
    primary key (account, field, digest, customer)
);
create index blind_index_of_customer on blind_index (account, customer);  -- what erasing takes with it

create function refuse_key_loss() returns trigger language plpgsql as $$
begin
    raise exception '% on %.% is refused: a key is destroyed in its row, which stays',
          tg_op, tg_table_schema, tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger subject_key_stays before delete or truncate on subject_key
    for each statement execute function refuse_key_loss();

create function guard_key() returns trigger language plpgsql as $$
begin
    if (new.id, new.account, new.customer, new.purpose, new.version, new.created_at)
       is distinct from (old.id, old.account, old.customer, old.purpose, old.version, old.created_at) then
        raise exception 'subject_key %: only how it is wrapped may change', old.id
              using errcode = 'restrict_violation';
    end if;
    if old.wrapped is null then
        raise exception 'subject_key %: destroyed, and stays so', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger subject_key_is_guarded before update on subject_key
    for each row execute function guard_key();

-- Erased stays erased, whoever writes: a subject whose key was destroyed gets no further one and no index.
-- Waits for an erasure under way, and keeps the next one waiting: what it will see is complete.
create function pass_over_the_erased() returns trigger
    language plpgsql security definer set search_path = $schema, pg_temp as $$
declare
    newest record;
begin
    select destroyed_at into newest
      from subject_key
     where account = new.account and customer = new.customer and purpose = 'data'
     order by version desc limit 1
       for share;
    return case when newest.destroyed_at is null then new end;
end $$;
create trigger subject_key_of_the_living before insert on subject_key
    for each row when (new.purpose = 'data' and new.version > 1) execute function pass_over_the_erased();
create trigger blind_index_of_the_living before insert on blind_index
    for each row execute function pass_over_the_erased();

grant select, insert, update (kek, wrapped, destroyed_at) on subject_key to $role;
grant select, insert, delete on blind_index to $role;
