"""The local stack: a real PostgreSQL and a real Apache Kafka, for people, the demo and the tests alike.

up(folder)      starts both, however this machine can, and returns where they are
down(folder)    stops them; with wipe=True removes their data
status(folder)  where they are, or None
owned(folder)   the same as a context: the servers never outlive the process that holds it

For tests that break things: `lab.stack.postgres.Server.at(folder)` and `lab.stack.kafka.Cluster.at(folder)`
give the servers of a native stack (`up(folder, native=True)`) to be stopped, killed and started.
"""

from lab.stack.errors import MissingPiece, StackError
from lab.stack.manage import Stack, down, status, up
from lab.stack.ownership import owned

__all__ = ["MissingPiece", "Stack", "StackError", "down", "owned", "status", "up"]
