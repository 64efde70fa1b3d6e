"""What members do with the client, as small programs that run."""
