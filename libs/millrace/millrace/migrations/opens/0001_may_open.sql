-- This role may read data keys, to open what its purpose needs. Useless without the key-encryption keys.
grant usage on schema sealing to $role;
grant select on sealing.subject_key, sealing.blind_index to $role;
