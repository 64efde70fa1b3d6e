"""A server of its own for a bench: ``clearing serve``, or what is left of it without the house, or without anything.

``house``: as it is. ``empty``: the same TLS, interceptors and messages, but SubmitTrades answers at once. ``bare``: an
empty handler of grpcio without TLS and interceptors, the ceiling of this machine.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import grpc

from clearing.cli import main
from clearing.server.interceptors import CALLS_AT_ONCE
from clearing.server.trades import Trades
from clearinghouse.v1.trade_service_pb2 import SubmitTradesRequest, SubmitTradesResponse
from clearinghouse.v1.trade_service_pb2_grpc import add_TradeServiceServicer_to_server


def nothing(_: object, request: SubmitTradesRequest, context: grpc.ServicerContext) -> SubmitTradesResponse:  # noqa: ARG001
    """Nothing became of the trades."""
    return SubmitTradesResponse()


def bare() -> None:
    """Serve an empty handler until the process is ended."""
    server = grpc.server(ThreadPoolExecutor(CALLS_AT_ONCE))
    add_TradeServiceServicer_to_server(Trades.__new__(Trades), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"serving nothing on 127.0.0.1:{port},", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    what = sys.argv.pop(1)
    if what == "house":
        main()
    with patch.object(Trades, "SubmitTrades", nothing):
        bare() if what == "bare" else main()
