"""python -m outbox_relay"""

from millrace import service
from outbox_relay import app
from outbox_relay.settings import Settings

if __name__ == "__main__":
    service.main("outbox-relay", Settings, app.main)
