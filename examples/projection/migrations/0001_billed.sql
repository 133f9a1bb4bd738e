-- What each customer was billed in each month, before tax, in minor units of each currency.
create table billed (
    account       text not null,
    customer      text not null,
    month         date not null check (extract(day from month) = 1),
    currency      text not null,
    amount_minor  bigint not null,                 -- credit notes and refunds are taken off
    primary key (account, customer, month, currency)
);

grant select, insert, update on billed to $role;
