-- Payloads too large for Kafka. The record carries a claim check (CloudEvents' `dataref`); who holds it gets the payload.
create table claim (
    ref         uuid primary key default gen_random_uuid(),  -- not to be guessed: it is the right to read
    outbox_id   bigint not null unique,
    topic       text not null,
    payload     bytea not null,
    unpacked    int,
    sha256      bytea not null,                               -- of the payload as it rests here
    claimed_at  timestamptz not null default now()            -- the claim outlives its record in Kafka, then is dropped
);
alter table claim alter payload set storage external;

create function claimed(ref uuid, out payload bytea, out unpacked int)
    language sql stable security definer set search_path = $schema, pg_temp as $$
    select payload, unpacked from claim where claim.ref = claimed.ref
$$;
revoke all on function claimed(uuid) from public;

grant select, insert on claim to $role;
