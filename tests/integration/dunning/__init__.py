"""Dunning on a real PostgreSQL."""
