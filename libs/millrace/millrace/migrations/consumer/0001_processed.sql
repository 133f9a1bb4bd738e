-- What this consumer has done with each event, written in the transaction of the effect.
create table processed_events (
    source        text not null,                   -- CloudEvents: source and id together name an event
    event_id      text not null,
    type          text not null,
    outcome       text not null check (outcome in ('applied', 'noop', 'parked')),
    reason        text not null,                   -- a sentence that a support agent can read
    topic         text not null,                   -- where it was read
    partition     int not null,
    kafka_offset  bigint not null,
    processed_at  timestamptz not null default now(),
    primary key (source, event_id)
);

-- Events that could not be applied yet: whole, so that nothing depends on Kafka still having them.
create table parked_event (
    id            bigint generated always as identity primary key,  -- the order in which they are redriven
    topic         text not null,
    partition     int not null,
    kafka_offset  bigint not null,
    record_key    text not null,                   -- later events of this key wait behind it where order matters
    source        text not null,                   -- '' when the record could not be read
    event_id      text not null,
    type          text not null,
    status        text not null check (status in ('poison', 'failed', 'behind', 'waiting')),
    wait_key      text,                            -- the state that a waiting event depends on
    reason        text not null,
    headers       jsonb not null,
    key           bytea,
    value         bytea,
    parked_at     timestamptz not null default now(),
    unique (topic, partition, kafka_offset),
    constraint waiting_says_for_what check ((status = 'waiting') = (wait_key is not null))
);
create index parked_event_by_key on parked_event (record_key) where status <> 'waiting';  -- "is this key held?"
create index parked_event_waiting on parked_event (wait_key) where status = 'waiting';    -- "who waits for this?"

grant select, insert, update (outcome, reason) on processed_events to $role;
grant select, insert, delete, update (status, reason, wait_key) on parked_event to $role;
