-- The smallest state a fold can have: what has been applied to each key, in order.
create table tally (
    key      text primary key,
    applied  text[] not null,                       -- event ids, in the order of application
    total    bigint not null check (total < 1000)   -- a limit that the database enforces
);
grant select, insert, update on tally to $role;
