"""python -m lab up|down|logs|status"""

from lab.stack.cli import app

app(prog_name="python -m lab")
