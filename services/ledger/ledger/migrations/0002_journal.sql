-- The journal: facts that happen once, their transactions, and lines that sum to zero. Written only by the
-- ledger role, and only by adding: the guards are in 0003.

-- Each fact once, for ever, whatever month it was written in. A partitioned table could not promise that.
create table fact (
    fact_key     text primary key,                              -- object and transition: 'invoice:in_1:finalized'
    family       text not null,                                 -- the object whose facts must see each other
    tx_id        bigint generated always as identity unique,
    kind         text not null,
    recorded_at  timestamptz not null default now(),            -- when we learned it; finds the partition
    content_hash bytea not null                                 -- sha-256 over header and lines
);
create index fact_family on fact (family);                      -- the consumer's load

create table journal_tx (
    tx_id         bigint not null,
    recorded_at   timestamptz not null,                         -- never backdated: the month it is kept in
    xid           xid8 not null default pg_current_xact_id(),   -- what a sealer orders by
    fact_key      text not null,
    kind          text not null,
    source_event  text not null,                                -- the event that brought it first
    effective_at  timestamptz not null,                         -- when Stripe says it happened
    reverses      text,                                         -- the fact that this one undoes
    content_hash  bytea not null,
    primary key (tx_id, recorded_at)
) partition by range (recorded_at);

create table entry (
    tx_id         bigint not null,
    line_no       int not null,
    recorded_at   timestamptz not null,                         -- its header's
    account       smallint not null,
    currency      text not null,
    amount        bigint not null,                              -- minor units; debits positive, credits negative
    effective_at  timestamptz not null,
    customer      text,
    invoice       text,
    line          text,                                         -- the invoice line it came from
    sub_item      text,
    open_item     text,                                         -- what both sides of a clearing account name
    service_from  timestamptz,                                  -- the period that deferred revenue is earned over
    service_to    timestamptz,
    primary key (tx_id, line_no, recorded_at),
    constraint says_something check (amount <> 0),
    constraint currency_is_a_code check (currency ~ '^[a-z]{3}$'),
    constraint service_has_two_ends check ((service_from is null) = (service_to is null))
) partition by range (recorded_at);
create index entry_receivable on entry (invoice) where account = 1100;               -- who owes what
create index entry_open_item on entry (account, currency, open_item)
    where account in (1030, 1040, 1050);                                             -- what has not met its other side

-- What each statement added to each account: a balance is a sum of these, and no row is ever hot.
create table balance_delta (
    id           bigint generated always as identity primary key,
    account      smallint not null,
    currency     text not null,
    debit        numeric not null,                              -- minor units
    credit       numeric not null,
    entries      bigint not null,
    recorded_at  timestamptz not null default now()
);

grant select, insert on fact, journal_tx, entry to $role;
grant select on balance_delta to $role;
