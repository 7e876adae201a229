"""Calls between clients, the server and agents."""
