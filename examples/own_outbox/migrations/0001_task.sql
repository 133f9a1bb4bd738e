-- What has to be done for a new subscription.
create table task (
    id            bigint generated always as identity primary key,
    subscription  text not null,
    customer      text not null,
    opened_at     timestamptz not null
);

grant insert, select on task to $role;
