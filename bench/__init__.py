"""What ``make bench`` measures: medians with their spread, beside a baseline of the same run.

Ratios, not promises: the machine is shared. A bench calls the public entry that the server calls, with
hashing, idempotency and fsync on, and checks afterwards that what it wrote verifies.
"""
