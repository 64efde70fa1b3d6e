"""The interface: its definition, and the page that is made of it."""
