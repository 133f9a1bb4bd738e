-- The least that a consumer has to remember: which events it has met.
create table seen (
    source    text not null,
    event_id  text not null,
    primary key (source, event_id)
);
grant select, insert on seen to $role;
