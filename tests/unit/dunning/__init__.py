"""Dunning's rules, without a server."""
