"""Runs the migrations of any Alembic project on a database that is in use."""
