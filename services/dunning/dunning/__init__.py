"""Dunning: what happens between a failed payment and the end of the matter.

Invariants
- The case of an invoice is a function of what has been told about it, never of the order it was told in.
- A success recovers the case from any stage; a failure that arrives after the end never reopens it.
- Every time in a case comes from an event. The clock only decides when a timer's event is written.
- Firing a timer writes an event and nothing else; a timer fires once.
- Access is asked for by events that entitlement applies; nothing here touches access itself.
"""
