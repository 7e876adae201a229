"""Every table of Remit, a module for each subject.

The metadata mirrors what the migrations make, name by name: a test migrates a database and compares. Statements
are written as SQL beside the code that runs them; nothing here is used to query.
"""

from remit.db.tables import agents, checkpoints, graph, identity, records, rollout, tasks
from remit.db.tables.columns import Xid8, metadata

__all__ = ["Xid8", "agents", "checkpoints", "graph", "identity", "metadata", "records", "rollout", "tasks"]
