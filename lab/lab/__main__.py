"""python -m lab up|down|logs|status|demo"""

import sys

from lab.stack.cli import app

# The demo imports every service: `up` on a running stack would no longer be instant.
if sys.argv[1:2] not in (["up"], ["down"], ["logs"], ["status"]):
    from lab.demo.cli import demo

    app.command()(demo)

app(prog_name="python -m lab")
