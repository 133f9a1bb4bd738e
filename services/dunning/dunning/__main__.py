"""python -m dunning"""

from dunning import app
from dunning.settings import Settings
from millrace import service

if __name__ == "__main__":
    service.main("dunning", Settings, app.main)
