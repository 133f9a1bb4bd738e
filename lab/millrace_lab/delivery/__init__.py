"""Webhooks: signed, tried again, and as bad as a schedule wants them."""
