"""python -m ledger"""

from ledger import app
from ledger.settings import Settings
from millrace import service

if __name__ == "__main__":
    service.main("ledger", Settings, app.main)
