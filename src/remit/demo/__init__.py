"""The demo: a story on a real server."""
