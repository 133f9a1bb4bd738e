-- For whoever reads the log: a customer's events without reading seven years, and what fell beside the months.

-- "What happened to this customer?" Without it every partition is read whole. One column only: equal values then
-- share an entry, and the index stays a fraction of its table. What it costs a webhook is in docs/runbook/event-log.md.
create index event_customer on event (customer) where customer is not null;

grant select on event_default to $role;  -- whoever makes the partitions warns of what lies in none
