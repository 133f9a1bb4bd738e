"""Dunning's tables, in numbered files that only go forward."""
