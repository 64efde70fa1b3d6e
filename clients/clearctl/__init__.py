"""The command line of administrators, members and regulators."""
