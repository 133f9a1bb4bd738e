-- What each customer may do: one row a customer, written only by the entitlement role.
create table access (
    account      text not null,                    -- Stripe account
    customer     text not null,                    -- Stripe's customer id; with the account, the Kafka key
    revision     bigint not null,                  -- optimistic lock; grows by one a batch
    version      bigint not null,                  -- of the access; grows by one a change, and is published
    catalog      text not null,                    -- the catalog version that decided
    features     jsonb not null,                   -- feature -> verdict, see domain/access.py
    as_of        timestamptz not null,             -- time of the newest event heard, by its author's clock
    cause        text not null,                    -- the event that changed the access last
    primary key (account, customer),
    constraint counted_from_one check (revision >= 1 and version >= 1)
);
create index access_by_customer on access (customer);      -- the API asks by customer alone
create index access_by_time on access (as_of);             -- "how fresh is the newest thing we know?"

-- Every access a customer ever had: since when it was true, and since when we knew. Only grows.
create table access_history (
    account      text not null,
    customer     text not null,
    version      bigint not null,
    valid_from   timestamptz not null,             -- time of the newest event it takes into account
    recorded_at  timestamptz not null default now(),
    catalog      text not null,
    features     jsonb not null,
    cause        text not null,
    primary key (account, customer, version)
);
create index access_history_by_time on access_history (customer, valid_from);   -- "what could … do at 14:03?"

create function refuse_history_change() returns trigger language plpgsql as $$
begin
    raise exception '% on %.% is refused: history only grows', tg_op, tg_table_schema, tg_table_name
          using errcode = 'restrict_violation';
end $$;
create trigger access_history_only_grows before update or delete or truncate on access_history
    for each statement execute function refuse_history_change();

-- Each subscription as it stands, and the snapshots that a late event still has to be compared with.
create table subscription (
    account           text not null,
    subscription      text not null,               -- Stripe's subscription id
    customer          text not null,
    status            text not null,               -- Stripe's word; an unknown one gives no access
    cancels_at        timestamptz,                 -- set when an end is scheduled, in whichever way
    trial_end         timestamptz,
    ended_at          timestamptz,
    pause_collection  text,                        -- its behavior; not to be confused with the status 'paused'
    created           timestamptz not null,        -- of the snapshot that stands
    event             text not null,               -- the event that told it
    doubt             text not null,               -- why the state may be wrong; '' when it cannot
    recent            jsonb not null,              -- snapshots of the two newest seconds, see domain/newer.py
    primary key (account, subscription)
);
create index subscription_by_customer on subscription (account, customer);   -- loaded by customer
create index subscription_in_doubt on subscription (account, subscription) where doubt <> '';

-- What each subscription consists of, for people and comparisons; follows subscription.recent.
create table item (
    account       text not null,
    subscription  text not null,
    item          text not null,                   -- Stripe's subscription item id
    price         text not null,
    lookup_key    text,
    product       text,
    quantity      bigint,                          -- null where usage is metered
    period_start  timestamptz,
    period_end    timestamptz,
    primary key (account, subscription, item)     -- and no foreign key: checked row by row, it was a third of
);                                                -- the write; both tables are written in one transaction

-- Dunning's newest word on each invoice, the ones that restrict nothing any more included.
create table restriction (
    account       text not null,
    invoice       text not null,
    customer      text not null,
    subscription  text,                            -- null: all of the customer's
    restricted    boolean not null,
    version       int not null,                    -- of the dunning case; only a newer word replaces an older
    reason        text not null,
    event         text not null,
    primary key (account, invoice)
);
create index restriction_by_customer on restriction (account, customer);     -- loaded by customer

grant select, insert, update on access, subscription, restriction to $role;
grant select, insert, delete on item to $role;
grant select, insert on access_history to $role;
