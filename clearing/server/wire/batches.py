"""Batches of trades whose every field is surely sound: told by one look, so that bulk is not checked rule by rule.

The rules are those in the proto and no others. What is not surely sound goes through protovalidate, which alone says
what is wrong; a property test holds this module against it.
"""

import re

from clearinghouse.v1 import trade_service_pb2 as pb

TRADES_MAX = 1_000
SECONDS_MAX = 253_402_300_799
"""The last second of the year 9999."""
_NANOS_IN_SECOND = 1_000_000_000

_NAME = "[a-z0-9][a-z0-9-]{0,31}"
_ID = "[a-z0-9][a-z0-9-]{0,63}"
_ACCOUNT = f"members/{_NAME}/accounts/{_NAME}"
_INSTRUMENT = "instruments/[A-Z0-9][A-Z0-9.-]{0,31}"
_POSITIVE = "(?=[0.]*[1-9])(?:0|[1-9][0-9]{0,38})(?:[.][0-9]{1,38})?"
_MAYBE_ID = f"(?:{_ID})?"
_FIELDS = (_ID, _INSTRUMENT, _ACCOUNT, _ACCOUNT, _POSITIVE, _POSITIVE, _MAYBE_ID, _MAYBE_ID)
_TRADE = re.compile("\n".join(_FIELDS), re.ASCII)
"""The fields of a trade, one a line: none of them may have a line feed."""
_PARENT = re.compile(f"members/{_NAME}", re.ASCII)
_REQUEST_ID = re.compile("[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}", re.ASCII)


def surely_sound(request: pb.SubmitTradesRequest) -> bool:
    """Whether ``request`` breaks no rule of its proto."""
    return (
        _PARENT.fullmatch(request.parent) is not None
        and _REQUEST_ID.fullmatch(request.request_id) is not None
        and 0 < len(request.trades) <= TRADES_MAX
        and all(map(_is_sound, request.trades))
    )


def _is_sound(trade: pb.NewTrade) -> bool:
    texts = (trade.trade_id, trade.instrument, trade.buyer, trade.seller, trade.size, trade.price)
    if _TRADE.fullmatch("\n".join((*texts, trade.trade_ref, trade.group))) is None:
        return False
    time = trade.execute_time
    in_our_era = 0 <= time.seconds <= SECONDS_MAX and 0 <= time.nanos < _NANOS_IN_SECOND
    return in_our_era and trade.HasField("execute_time")
