-- This role may seal: read and make data keys, and fill the blind indexes. It can neither change nor destroy a key.
grant usage on schema sealing to $role;
grant select, insert (account, customer, purpose, version, kek, wrapped) on sealing.subject_key to $role;
grant select, insert on sealing.blind_index to $role;
