-- What is known of each invoice's payment, and the case that follows from it. Written only by the dunning role.
-- A row without a stage is knowledge without a case: a decline that came before its failure, an invoice paid in time.
create table "case" (
    account        text not null,                     -- Stripe account
    invoice        text not null,                     -- Stripe's invoice id
    customer       text not null,                     -- '' until an event names it
    subscription   text not null,                     -- '' for an invoice of its own
    stage          text check (stage in ('open', 'grace', 'restricted', 'exhausted',
                                         'recovered', 'written_off', 'closed')),
    access         text not null check (access in ('given', 'restricted')),  -- what entitlement is asked for
    attempts       int not null check (attempts >= 0), -- the highest Stripe has told us; never lowered
    failed_at      timestamptz,                        -- the first failure: grace is counted from here
    grace_until    timestamptz,                        -- set while access is still given only for a time
    reason         text not null,                      -- why it stands there, for a support agent
    sold           text[] not null,                    -- prices and products on the invoice: they choose the policy
    latest         jsonb,                              -- the newest word on the attempts {number, at, event, final}
    decline        jsonb,                              -- the newest decline {at, event, code, kind}: codes only
    gave_up        boolean not null,                   -- Stripe marked it uncollectible, its attempts having run out
    grace_ended    timestamptz,                        -- the latest deadline whose timer came due; null once ended
    ended          text check (ended in ('written_off', 'customer_gone', 'credited', 'voided', 'paid')),
    version        bigint not null check (version >= 1), -- optimistic lock; grows by one a change
    last_event     text not null,                      -- the event that brought it here
    changed_at     timestamptz not null,               -- the time of that event, not of the writing
    primary key (account, invoice),
    constraint a_case_began_with_a_failure check ((stage is null) = (failed_at is null)),
    constraint grace_has_an_end check (grace_until is null or stage = 'grace'),
    constraint grace_ends_once check (stage is distinct from 'grace' or grace_until is not null),
    constraint ended_cases_have_ended check (
        stage is null or (stage in ('recovered', 'written_off', 'closed')) = (ended is not null))
);
create index case_open on "case" (failed_at)           -- "which cases are open?", oldest first
    where stage in ('open', 'grace', 'restricted', 'exhausted');
create index case_open_of_customer on "case" (account, customer)  -- "whose cases end with this customer?"
    where stage in ('open', 'grace', 'restricted', 'exhausted');

-- Customers that were deleted at Stripe: a case that opens later, out of order, is closed as well.
create table departed (
    account        text not null,
    customer       text not null,
    at             timestamptz not null,              -- when Stripe deleted the customer
    primary key (account, customer)
);

-- Deadlines. When one is due by the clock an event is written, once; what it means is decided when that event arrives.
create table timer (
    account        text not null,
    invoice        text not null,
    timer          text not null,                     -- what it was set for, with its instant: a new deadline is a new timer
    customer       text not null,                     -- the key that the event will travel under
    due_at         timestamptz not null,
    fired_at       timestamptz,                       -- by the same clock; null until the event is written
    trace          text not null,                     -- W3C traceparent of the event that set it
    primary key (account, invoice, timer)
);
create index timer_due on timer (due_at) where fired_at is null;  -- the claim's scan

grant select, insert, update on "case" to $role;
grant select, insert on departed to $role;
grant select, insert, update (fired_at) on timer to $role;
