"""`python -m ingest`: the webhook edge."""

from __future__ import annotations

import asyncio
import gc

import uvloop

from ingest import app
from ingest.settings import Settings
from millrace import service

# Each event makes some hundred small objects and drops them all: looking for rings among them, and through
# everything that was imported, over and over, was a tenth of what a webhook cost.
OBJECTS_BETWEEN_COLLECTIONS = 20_000

if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    service.main("ingest", Settings, app.main)
