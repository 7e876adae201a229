"""The migration linter: renders an Alembic history to the SQL that will run and judges it. `run.lint` is the way in."""
