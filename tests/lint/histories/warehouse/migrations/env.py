"""Migrations wait three seconds at most for a lock; each has a transaction of its own."""

import os

from alembic import context
from sqlalchemy import create_engine, text

url = os.environ.get("WAREHOUSE_URL") or context.config.get_main_option("sqlalchemy.url")
options = {"transaction_per_migration": True, "include_schemas": True, "version_table_schema": "public"}

if context.is_offline_mode():
    context.configure(url=url, literal_binds=True, **options)
    with context.begin_transaction():
        context.execute("SET lock_timeout = '3s'")
        context.run_migrations()
else:
    engine = create_engine(url, connect_args={"options": "-c lock_timeout=3000 -c statement_timeout=60000"})
    with engine.connect() as connection:
        connection.execute(text("SET idle_in_transaction_session_timeout = '10s'"))
        connection.commit()
        context.configure(connection=connection, **options)
        with context.begin_transaction():
            context.run_migrations()
