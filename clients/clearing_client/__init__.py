"""The client of a clearing house. Importing this loads nothing, so that `offline` stays free of gRPC."""
