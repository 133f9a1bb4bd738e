"""python -m lab.stack.watchdog FOLDER: stops the servers of a folder when its last owner has ended.

Started by `lab.stack.owned`; see there. Everything it will need is imported at once, so that it can do
its work even when the checkout has been removed meanwhile.
"""

import sys
from pathlib import Path

from lab.stack.ownership import wait_for_owners

if __name__ == "__main__":
    wait_for_owners(Path(sys.argv[1]))
