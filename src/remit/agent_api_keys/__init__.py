"""API keys of agents, and what they let in."""
