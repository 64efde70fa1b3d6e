"""The gRPC interface: who calls, what they may, and the services. Nothing below sees protobuf."""
