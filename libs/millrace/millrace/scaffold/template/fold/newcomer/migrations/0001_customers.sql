-- What each customer has paid. Written only by the newcomer role.
create table customer (
    key            text primary key,                 -- account/customer
    invoices_paid  int not null check (invoices_paid > 0),
    last_invoice   text not null,                    -- Stripe's invoice id
    last_paid_at   timestamptz not null              -- the time of the event, not of the writing
);

grant select, insert, update on customer to $role;
