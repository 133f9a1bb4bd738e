"""The same seed makes the same bytes, in any process: what Python's hashing shuffles must not reach an event."""

from __future__ import annotations

import functools
import subprocess
import sys

TELLS = """
import hashlib
import orjson
from millrace_lab.delivery.letters import envelope
from millrace_lab.storm.companies import Company
from millrace_lab.storm.lives import CAST

account = Company(seed={seed}, days=60, customers=25, cast=CAST, twins=0.02).play()
told = b"".join(orjson.dumps(envelope(account, event)) for event in account.events)
print(len(account.events), hashlib.sha256(told).hexdigest())
"""


@functools.cache
def told(seed: int, hashing: str) -> str:
    program = [sys.executable, "-c", TELLS.format(seed=seed)]
    ended = subprocess.run(program, capture_output=True, text=True, env={"PYTHONHASHSEED": hashing})
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_same_seed_tells_the_same_bytes_whatever_the_process_hashes_by() -> None:
    assert told(1, "1") == told(1, "2")


def test_another_seed_tells_another_story() -> None:
    assert told(1, "1") != told(2, "1")
