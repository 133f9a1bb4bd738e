-- What a consumer keeps about itself: what it is, how far it has come, and what operators have asked of it.
-- None of it is needed to apply an event once: that is processed_events alone.

-- What it is. One row.
create table consumer (
    name          text primary key,                -- the consumer group
    topics        text[] not null,
    ordered       boolean not null,                -- whether later events of a parked key wait behind it
    started_at    timestamptz not null default now(),  -- when a process of it started last
    paused_at     timestamptz,                     -- an operator wants it to rest; it looks here every second
    paused_by     text,
    paused_why    text,
    constraint paused_by_somebody_for_a_reason
        check ((paused_at is null) = (paused_by is null) and (paused_at is null) = (paused_why is null))
);

-- How far it has come in each partition, written with the effects: what Kafka's committed offsets follow.
create table progress (
    topic         text not null,
    partition     int not null,
    next_offset   bigint not null check (next_offset >= 0),  -- the first record that is not decided yet
    records       bigint not null,                 -- how many were decided; its growth is the rate
    sequences     jsonb not null,                  -- a relay (millrace-outbox) → the last of its numbers (millrace-pseq)
    record_at     timestamptz not null,            -- the last record's timestamp
    advanced_at   timestamptz not null default now(),
    primary key (topic, partition)
);

-- The order in which events were met, or judged for good after an operator's redrive: what a rebuild follows.
alter table processed_events add column seq bigint generated always as identity;
alter table processed_events drop constraint processed_events_outcome_check,
    add constraint processed_events_outcome_check check (outcome in ('applied', 'noop', 'parked', 'discarded'));

-- A record that cannot be read has a name as well: no source, and its place as its id.
update parked_event set event_id = topic || '/' || partition || '/' || kafka_offset where source = '';
insert into processed_events (source, event_id, type, outcome, reason, topic, partition, kafka_offset)
select source, event_id, type, 'parked', reason, topic, partition, kafka_offset
  from parked_event where source = '' order by id;

-- Offsets begin again in a topic that is made anew; names do not.
alter table parked_event
    drop constraint parked_event_topic_partition_kafka_offset_key,
    add constraint parked_once unique (source, event_id);
drop index parked_event_by_key;
create index parked_event_by_key on parked_event (record_key, id) where status <> 'waiting';  -- "which is in front?"

alter table parked_event
    add column asked_at timestamptz,               -- an operator wants it judged again; the consumer does it
    add column asked_by text,
    add constraint asked_by_somebody check ((asked_at is null) = (asked_by is null));
create index parked_event_asked on parked_event (id) where asked_at is not null;           -- "is anything asked of me?"
create index parked_event_lately on parked_event (parked_at) where status in ('poison', 'failed');  -- the dead-letter limit

grant select, insert, update (topics, ordered, started_at) on consumer to $role;
grant select, insert, update on progress to $role;
grant update (seq) on processed_events to $role;
grant update (asked_at, asked_by) on parked_event to $role;
