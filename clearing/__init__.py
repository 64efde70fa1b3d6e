"""The clearing house: model, margin, default management, engine, server."""
