"""The relay carries committed outbox rows to Kafka: none lost, none twice, rows of one key in commit order.

What holds, whatever dies:
- A row and the cursor that says it is published commit in one Kafka transaction.
- Before the first row every earlier relay is fenced, its last cursor is read, and nothing it left is undecided.
- A transaction is committed only when every single batch in it was acknowledged.
- After any doubt the producer is thrown away, never mended; its successor reads the cursor again.
- A row that cannot be published is never stepped over.
"""
