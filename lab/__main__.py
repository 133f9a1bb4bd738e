"""python -m lab up|down|logs|status|demo"""

from lab.demo.cli import demo
from lab.stack.cli import app

app.command()(demo)
app(prog_name="python -m lab")
