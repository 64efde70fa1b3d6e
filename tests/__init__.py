"""Tests. Shared worlds and values stand in ``tests.builders``; pytest finds the rest by path."""
