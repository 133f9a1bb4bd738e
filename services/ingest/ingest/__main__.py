"""`python -m ingest`: the webhook edge."""

from __future__ import annotations

import asyncio

import uvloop

from ingest import app
from ingest.settings import Settings
from millrace import service

if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    service.main("ingest", Settings, app.main)
