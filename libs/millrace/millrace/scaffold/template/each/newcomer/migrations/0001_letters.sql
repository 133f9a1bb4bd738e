-- The first letter of each customer. Written only by the newcomer role.
create table letter (
    account    text not null,                        -- Stripe account
    customer   text not null,                        -- Stripe's customer id
    day        date not null,                        -- when it goes out
    primary key (account, customer)                  -- one letter a customer
);

grant select, insert, delete on letter to $role;
