"""`python -m entitlement`: the consumer and the access API in one process."""

from entitlement import app
from entitlement.settings import Settings
from millrace import service

if __name__ == "__main__":
    service.main("entitlement", Settings, app.main)
