"""A salt stream that can be read again: for demonstrations and tests, never for production.

Production passes ``os.urandom`` (see ``system_salts`` in the store). A seeded stream makes the same
journal root out of the same commands, so that a run can be repeated by someone else.
"""

import hashlib

from ledger.leaf import ByteSource

_BLOCK_BYTES = 32


def seeded_salts(seed: bytes) -> ByteSource:
    """SHA-256 in counter mode over ``seed``, addressed by byte offset."""

    def read(offset: int, size: int) -> bytes:
        first = offset // _BLOCK_BYTES
        last = (offset + size - 1) // _BLOCK_BYTES
        blocks = (
            hashlib.sha256(b"salt" + seed + n.to_bytes(8, "big")).digest() for n in range(first, last + 1)
        )
        skipped = offset - first * _BLOCK_BYTES
        return b"".join(blocks)[skipped : skipped + size]

    return read
