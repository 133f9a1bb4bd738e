"""Entitlement's tables, forward only."""
