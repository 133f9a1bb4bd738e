"""Sealing: personal data is ciphertext wherever it rests or travels, and a customer can be erased.

    key-encryption key       in files, a KMS, Vault; never in a database                     providers
      └─ wraps data keys     one a customer and account, in sealing.subject_key              keys, store
           └─ seal values    AES-256-GCM, bound to table, column and row                     box
                ├─ which     schemas/sealing.yaml, by the type of Stripe's object            policy
                └─ again     for one consumer and one purpose, each value counted            opener

To erase a customer is to destroy its data keys: whatever they sealed, in tables, topics and copies, is noise
from then on, and every hash over it stays true. What names a customer only through another object is sealed
under the account's own key and is not erased with the customer. A new key-encryption key touches no sealed
value: only the data keys are wrapped anew.
"""

from millrace.sealing.box import (
    DataKey,
    Erased,
    IndexKey,
    Place,
    Subject,
    Unopenable,
    key_id,
    token,
    untoken,
)
from millrace.sealing.keys import Keys
from millrace.sealing.opener import Opener, lookup
from millrace.sealing.policy import Policy
from millrace.sealing.providers import Files, Plain, Provider, Wrapped, new_key, provider
from millrace.sealing.rotation import Progress, rewrap
from millrace.sealing.store import OPENS, SCHEMA, SEALS, Count, counts, destroy, index

__all__ = [
    "OPENS",
    "SCHEMA",
    "SEALS",
    "Count",
    "DataKey",
    "Erased",
    "Files",
    "IndexKey",
    "Keys",
    "Opener",
    "Place",
    "Plain",
    "Policy",
    "Progress",
    "Provider",
    "Subject",
    "Unopenable",
    "Wrapped",
    "counts",
    "destroy",
    "index",
    "key_id",
    "lookup",
    "new_key",
    "provider",
    "rewrap",
    "token",
    "untoken",
]
