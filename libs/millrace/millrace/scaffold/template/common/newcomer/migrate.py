"""python -m newcomer.migrate: bring the schema up to date."""

from __future__ import annotations

import asyncio
import os
import sys

from millrace.running import migrate

from newcomer.store import SCHEMA

if __name__ == "__main__":
    if not (owner := os.environ.get("MILLRACE_DATABASE", "")):
        sys.exit("MILLRACE_DATABASE is missing: the DSN of a role that may create schemas and roles")
    sys.stdout.writelines(f"{file}\n" for file in asyncio.run(migrate(owner, SCHEMA)))
