"""`arena`: an outbox and topics of one's own."""

from tests.integration.outbox_relay.arena import make_arena

__all__ = ["make_arena"]
