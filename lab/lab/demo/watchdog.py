"""python -m lab.demo.watchdog FOLDER: ends what a demo left behind. Started by the demo; see `processes`."""

import sys
from pathlib import Path

from lab.demo.processes import clean_up

if __name__ == "__main__":
    clean_up(Path(sys.argv[1]))
