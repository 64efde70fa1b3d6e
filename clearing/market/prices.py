"""What a price source signs (rulebook §6).

The signed text, UTF-8, each line ended by a line feed::

    clearinghouse price v1
    <house>
    <source>
    <observed, UTC milliseconds>
    <sequence>
    <feed> <price in ticks>          one line a feed, in the order given
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from clearing.model.commands import ApplyPrices, PriceObservation
from clearing.model.ids import SourceId


def signed_bytes(
    house: str, source: SourceId, observed_ms: int, sequence: int, prices: tuple[PriceObservation, ...]
) -> bytes:
    """The bytes that the signature of a publication covers."""
    lines = ["clearinghouse price v1", house, source, str(observed_ms), str(sequence)]
    lines += [f"{price.feed} {price.price_ticks}" for price in prices]
    return "".join(f"{line}\n" for line in lines).encode()


def signature_holds(house: str, command: ApplyPrices, public_key: str) -> bool:
    """Whether the publication carries a valid signature under the source's key (hex).

    Text that has no bytes (a feed with a lone surrogate) was signed by nobody.
    """
    try:
        signed = signed_bytes(house, command.source, command.observed_ms, command.sequence, command.prices)
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(
            bytes.fromhex(command.signature), signed
        )
    except (InvalidSignature, ValueError):
        return False
    return True
