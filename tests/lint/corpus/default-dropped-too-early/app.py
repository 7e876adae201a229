"""The application."""

SIGN_UP = "INSERT INTO users (id, name) VALUES (-1, 'Ann') ON CONFLICT DO NOTHING"
