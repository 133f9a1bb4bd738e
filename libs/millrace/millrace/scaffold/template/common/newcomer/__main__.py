"""python -m newcomer"""

from __future__ import annotations

from millrace import service

from newcomer import app
from newcomer.settings import Settings

if __name__ == "__main__":
    service.main("newcomer", Settings, app.main)
