-- Who did what, why, and because of which event. Append-only; each chain's rows hash the row before,
-- so that a changed, missing or swapped row is found by anyone who reads them.
create table audit (
    chain        text not null,                    -- one writer at a time: consumer-instance, or a person's name
    seq          bigint not null,                  -- 1, 2, 3 … without a gap
    at           timestamptz not null,             -- when the fact happened, by its event
    actor        text not null,                    -- consumer or operator
    action       text not null,                    -- verb in the past tense
    subject      text not null,                    -- id of what it was done to
    event        text not null,                    -- id of the event that caused it; '' for an operator
    reason       text not null,
    hash         bytea not null,                   -- sha-256 over the previous hash and this row
    recorded_at  timestamptz not null default now(),
    primary key (chain, seq),
    constraint seq_counts_from_one check (seq >= 1)
);
create index audit_subject on audit (subject);     -- "what happened to …"

create function refuse_audit_change() returns trigger language plpgsql as $$
begin
    raise exception '% on %.% is refused: the audit log only grows', tg_op, tg_table_schema, tg_table_name
          using errcode = 'restrict_violation';
end $$;
create trigger audit_only_grows before update or delete or truncate on audit
    for each statement execute function refuse_audit_change();

grant select, insert on audit to $role;
