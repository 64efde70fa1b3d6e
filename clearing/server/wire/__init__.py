"""Protobuf to model and back, one module a service."""
