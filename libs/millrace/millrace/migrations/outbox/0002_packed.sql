-- A large payload may be stored packed: a third of the bytes to write and to keep, and most rows then fit into
-- the table itself instead of a side table, which was the larger part of what writing one cost.
alter table event add column unpacked int;                    -- bytes of the payload once unpacked; null: it is as it is
alter table event add constraint packed_is_zstd
    check (unpacked is null or substring(payload from 1 for 4) = '\x28b52ffd'::bytea);
alter table event set (toast_tuple_target = 8160);            -- beside its row as long as both fit into a page
