"""Our own rules: what needs the parse tree, the transaction, the history or the code."""

from remit.migrations.lint.catalog_squawk import BUILD_INDEX
from remit.migrations.lint.rule import Rule

OWN = (
    Rule(
        "set-not-null-scans-table", "error", "SET NOT NULL reads the whole table under an exclusive lock",
        "SET NOT NULL on {table}.{column} reads every row under an ACCESS EXCLUSIVE lock: readers and writers wait",
        "PostgreSQL must see that no row holds NULL. If a valid CHECK says so already, it believes that and reads "
        "nothing (since 12).",
        'op.execute("ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID")\n'
        "# the next revision\n"
        'op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {check}")\n'
        "# the one after\n"
        'op.execute("ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL")\n'
        'op.execute("ALTER TABLE {table} DROP CONSTRAINT {check}")',
    ),
    Rule(
        "column-type-rewrites-table", "error", "A change of type writes the whole table anew",
        "the new type of {table}.{column} writes every row and every index anew under an ACCESS EXCLUSIVE lock: "
        "readers and writers wait until it is done",
        "Only a few changes leave the rows as they are: to `text`, to a longer `varchar`, to a wider `numeric` of the "
        "same scale. Whether this is one of them is read from the history; a column whose type is not known there "
        "counts as rewritten.",
        'op.execute("ALTER TABLE {table} ADD COLUMN {column}_new NEW_TYPE")\n'
        "# then: write both from the code, fill the old rows in batches, read the new one, drop the old one",
    ),
    Rule(
        "long-work-under-lock", "error", "Long work under a lock that stops writers",
        "the statement on {table} {work} under a lock: writers, and often readers, wait until it is done",
        "The time grows with the table, and everybody who needs the lock waits as long.",
        "pass  # by pg_repack, or in a new table that is filled in batches and takes the old one's place",
    ),
    Rule(
        "rename-breaks-running-code", "error", "A rename that running code does not know",
        "the {what} gets another name: code of before and code of after cannot run at the same time{used}",
        "During a deployment both run. The old code fails from the commit of the migration on, the new code until "
        "then. A table can leave a view of its old name behind, made in the same transaction: both can write to it.",
        "# a new table or column; write both, fill the old rows in batches, read the new one, drop the old one\n"
        "# in a later release",
    ),
    Rule(
        "validated-in-same-transaction", "error", "NOT VALID and VALIDATE in one transaction",
        "constraint {name} of {table} is validated in the transaction that adds it{where}: the exclusive lock of the "
        "first step is held while every row is read",
        "Locks are kept until the end of the transaction, so that splitting the steps gains nothing. Without "
        "`transaction_per_migration` all revisions of one upgrade share a transaction.",
        "# this revision: ADD CONSTRAINT with NOT VALID, alone\n"
        "# the next revision, in a transaction of its own (in env.py: transaction_per_migration=True)\n{call}",
    ),
    Rule(
        "work-after-exclusive-lock", "error", "Work while an exclusive lock is held",
        "the statement on {table} {work} while the transaction still holds {mode} on {stopped}: {who} of {stopped} "
        "wait until it is done",
        "A lock is kept until the transaction ends, whatever the statement after it does.",
        "# this revision: only what needs the lock\n"
        "# the next revision, in a transaction of its own (in env.py: transaction_per_migration=True)\n{call}",
    ),
    Rule(
        "second-lock-in-transaction", "warn", "A second table is locked while the first is held",
        "the statement waits for a lock on {table} while the transaction holds ACCESS EXCLUSIVE on {stopped}: a long "
        "query on {table} stops readers and writers of {stopped} too",
        "The wait is as long as the oldest query on the second table, up to `lock_timeout`; and another session that "
        "locks the two the other way round is a deadlock.",
        "# the next revision, in a transaction of its own (in env.py: transaction_per_migration=True)\n{call}",
    ),
    Rule(
        "enum-value-used-too-early", "error", "An enum's new value is used before it is committed",
        "the value {value} of {type} is used in the transaction that adds it: PostgreSQL refuses (unsafe use of new "
        "value)",
        "The value may be stored only after the transaction that adds it is committed, unless that made the type too.",
        "# this revision: only the new value\n"
        "# the next revision, in a transaction of its own (in env.py: transaction_per_migration=True)\n{call}",
    ),
    Rule(
        "autocommit-commits-earlier-half", "error", "An autocommit block commits the first half",
        "the autocommit block commits `{earlier}` before it; if the rest fails, the revision is not stamped and its "
        "next run fails at that statement, which cannot run twice",
        "Alembic ends the transaction when the block begins. A failure in or after the block leaves the first half in "
        "the database, and no version that says so.",
        "# this revision ends before the block, which is the next one; or each statement of it can run twice\n"
        "# the next revision, in a transaction of its own\n"
        "with op.get_context().autocommit_block():\n    {call}",
    ),
    Rule(
        "invalid-index-passes", "error", "IF NOT EXISTS passes an invalid index",
        "if a build of {name} failed before, its invalid index is still there: IF NOT EXISTS finds it, reports "
        "success, and no query ever uses it",
        "A concurrent build that fails leaves an index that every write pays for and no query uses. A unique one that "
        "is invalid does not hold.",
        BUILD_INDEX,
    ),
    Rule(
        "lock-timeout-not-in-effect", "error", "A lock timeout that is not in effect",
        "a lock_timeout is set for this migration, but not in effect here (reset, set later, or SET LOCAL that ended "
        "with its transaction): the statement waits for {table} as long as it takes, and everybody waits behind it",
        "A waiting ACCESS EXCLUSIVE lock stops every later reader and writer. SET LOCAL ends with COMMIT, and an "
        "autocommit block is one.",
        "op.execute(\"SET LOCAL lock_timeout = '3s'\")  # in the transaction of the statement, before it\n{call}",
    ),
    Rule(
        "no-lock-timeout", "note", "No lock timeout at all",
        "no lock_timeout is set: if {table} is busy, the statement waits as long as it takes, and every reader and "
        "writer of it waits behind it",
        "Set one in env.py for all migrations; a migration that ends by it can be tried again a moment later.",
        "op.execute(\"SET lock_timeout = '3s'\")  # or in env.py, after connecting, for all revisions\n{call}",
    ),
    Rule(
        "timeout-ends-concurrent-build", "error", "A time limit ends a concurrent build",
        "{limit} is in effect: the concurrent build of {name} ends by it when the table is large or an old transaction "
        "is open, and leaves an invalid index",
        "A concurrent build reads the table twice and waits for every transaction that is older than it.",
        "with op.get_context().autocommit_block():\n"
        '    op.execute("SET {setting} = 0")\n    {call}\n    op.execute("RESET {setting}")',
    ),
    Rule(
        "backfill-in-migration", "error", "Rows are filled by the migration",
        "the migration {why}",
        "A large UPDATE keeps its row locks to the end, doubles the table and holds back VACUUM. Outside of the "
        "migration, in batches that each commit, nobody feels it.",
        "# outside of the migration, or in an autocommit block: each batch commits\n"
        "with op.get_context().autocommit_block():\n"
        "    while op.get_bind().execute(sa.text(\n"
        '        "UPDATE {table} SET {column} = VALUE WHERE id IN "\n'
        '        "(SELECT id FROM {table} WHERE {column} IS NULL LIMIT 1000)")).rowcount:\n'
        "        pass",
    ),
    Rule(
        "concurrently-in-transaction", "error", "CONCURRENTLY inside a transaction",
        "the statement cannot run in a transaction: the migration fails here",
        "What is done CONCURRENTLY commits several times, so that PostgreSQL refuses it inside a transaction block, as "
        "it refuses VACUUM. Alembic's `autocommit_block()` ends the transaction first.",
        "# in a revision of its own\nwith op.get_context().autocommit_block():\n    {call}",
    ),
    Rule(
        "concurrently-on-partitioned", "error", "An index of a partitioned table cannot be built concurrently",
        "{table} is partitioned: PostgreSQL refuses CREATE INDEX CONCURRENTLY on it, and the migration fails here",
        "Each partition can have its index built concurrently. The index of the parent is made first, empty and "
        "invalid, on the parent ONLY; it is valid once every partition's index is attached.",
        'op.execute("CREATE INDEX {name} ON ONLY {table} ({column})")\n'
        "# the next revision, for each partition\n"
        "with op.get_context().autocommit_block():\n"
        '    op.execute("CREATE INDEX CONCURRENTLY {name}_part ON PARTITION ({column})")\n'
        "# the next revision\n"
        'op.execute("ALTER INDEX {index} ATTACH PARTITION {index}_part")',
    ),
    Rule(
        "several-heads", "error", "Several heads",
        "the history has several heads ({heads}): `alembic upgrade head` refuses",
        "Two branches that were merged in git each added a revision to the same one.",
        'alembic merge -m "merge heads" {arguments}',
    ),
    Rule(
        "opposite-lock-order", "error", "Two revisions lock the same tables in opposite order",
        "this transaction locks {first} and then {table}, revision {other} the other way round: run at the same time "
        "as each other, or as code in one of the orders, they wait for each other until one is cancelled",
        "A deadlock needs two orders. One order for all migrations and the code, for example parents first, has none.",
        "# the next revision, in a transaction of its own (in env.py: transaction_per_migration=True)\n{call}",
    ),
    Rule(
        "downgrade-loses-data", "warn", "A downgrade that loses data",
        "it loses {what}, with what was written since the upgrade",
        "Whoever downgrades in an emergency keeps the rows only if the downgrade refuses while there is something to "
        "lose. What the revision itself made is a note; what was there before is a warning.",
        "def downgrade() -> None:\n"
        '    raise NotImplementedError("{what} would be lost: restore a dump instead")',
    ),
    Rule(
        "downgrade-cannot-restore", "warn", "A downgrade that brings back an empty shell",
        "the upgrade drops {what} and the downgrade makes it again, empty: the data does not come back",
        "A downgrade that pretends to restore is worse than one that refuses.",
        "def downgrade() -> None:\n"
        '    raise NotImplementedError("{what} is gone: restore a dump instead")',
    ),
    Rule(
        "dropped-but-code-names-it", "error", "Dropped while the code names it",
        "{what} is dropped, but the code still names it: {places}",
        "Code that runs during and after the migration fails with `column does not exist`. ORM classes name all of "
        "their columns in every query.",
        "pass  # first a release whose code does not name it, then the migration",
    ),
    Rule(
        "default-dropped-too-early", "error", "The default of a new required column is dropped at once",
        "{table}.{column} is new and NOT NULL, and loses its default: running code, which does not know the column, "
        "can insert nothing more",
        "The code of before runs on while the migration does, and after it until all of it is replaced. It names no "
        "value for a column that it does not know; the default has to stay until all code writes one.",
        "pass  # the default stays; a migration after the release whose code writes the column drops it",
    ),
    Rule(
        "cached-plan-breaks", "error", "A kept plan no longer fits",
        "the code uses {driver}, which keeps the plans of statements: {why}, and each connection fails once with "
        "`cached plan must not change result type`",
        "PostgreSQL refuses to run a prepared statement whose columns changed. asyncpg raises "
        "InvalidCachedStatementError; inside of a transaction it cannot be repeated.",
        "# name the columns in the query instead of *, and recycle the connections after the migration",
    ),
    Rule(
        "on-conflict-index-missing", "error", "A unique index that code needs is gone for a while",
        "{name} is dropped: {why}",
        "INSERT … ON CONFLICT names columns or a constraint, and PostgreSQL refuses it (`there is no unique or "
        "exclusion constraint matching the ON CONFLICT specification`) from the commit of the drop until the new one "
        "is built: minutes on a large table. Meanwhile nothing stops duplicates either.",
        "with op.get_context().autocommit_block():\n"
        '    op.execute("DROP INDEX CONCURRENTLY IF EXISTS {index}_new")\n'
        '    op.execute("CREATE UNIQUE INDEX CONCURRENTLY {name}_new ON {table} ({column})")\n'
        "# the next revision, when the new one is there\n"
        "with op.get_context().autocommit_block():\n"
        '    op.execute("DROP INDEX CONCURRENTLY IF EXISTS {index}")',
    ),
    Rule(
        "dropped-relation-has-relationships", "error", "A relation is dropped while relationships of it exist",
        "{what} is no longer in {file}, {why}, and no migration deletes its relationships: they stay in the store, "
        "where nothing explains or removes them",
        "A store refuses a schema that drops a relation in use, or keeps rows that grant rights again if the name "
        "comes back. Delete the relationships first, while the old schema is still in force.",
        "# while the old schema is in force; in batches, if there are many\n"
        "op.execute(\"DELETE FROM relationships WHERE resource_type = '{type}' AND relation = '{name}'\")",
    ),
    Rule(
        "registered-rows-changed", "error", "Rows of a registered table change without the graph",
        "the migration {done} {table}, whose rows are resources of the relationship graph, and registers nothing: "
        "permissions and rows no longer agree",
        "A row without relationships is visible to nobody; relationships without a row give rights to whoever gets the "
        "id next.",
        "{call}\n"
        'op.execute("INSERT INTO relationships SELECT ROWS FROM {table}")  # or a message, in the same transaction',
    ),
    Rule(
        "registered-rows-cascade", "error", "ON DELETE CASCADE onto a registered table",
        "ON DELETE CASCADE deletes rows of {table}, whose rows are resources of the relationship graph: their "
        "relationships stay behind",
        "The database deletes the rows without any code that could take the relationships away.",
        "# ON DELETE RESTRICT, and delete the children in code that deregisters them",
    ),
    Rule(
        "unused-suppression", "warn", "A suppression that suppresses nothing",
        "`remit: allow {rule}` suppresses nothing here",
        "What it allowed is gone, and the next such finding at this place would pass unseen.",
        "# take the comment out",
    ),
    Rule(
        "suppression-without-reason", "error", "A suppression without a reason",
        "`remit: allow {rule}` has no reason: it suppresses nothing until it says `because …`",
        "Whoever reads it later must know what was considered.",
        "# remit: allow {rule} because REASON",
    ),
    Rule(
        "dynamic-sql-not-judged", "warn", "SQL that is put together when it runs",
        "{what} runs what is known only when it runs: nothing of it is judged",
        "`EXECUTE` of a variable, a block in another language than PL/pgSQL and a procedure may do anything. What is "
        "written out in the text, as the pattern of `format`, is judged.",
        "# write the statements out in the revision, in a loop of Python where there are many",
    ),
    Rule(
        "executed-to-be-judged", "note", "A revision that was executed to be judged",
        "the revision cannot be rendered ({error}), so that it was executed against an embedded scratch database: "
        "what it would do with the rows of yours is not known",
        "A revision that asks the database a question takes one way in an empty database and perhaps another in a full "
        "one. The linter judges the way it took. It is a warning where it asks for rows of a table in use.",
        "# write the statements so that they need no answer: IF NOT EXISTS, ON CONFLICT, WHERE NOT EXISTS",
    ),
    Rule(
        "downgrade-not-judged", "note", "A downgrade that could not be rendered",
        "the downgrade could not be rendered ({error}), so that it is not judged",
        "It asks the database for something that neither a rendering nor an empty database has.",
        "# refuse with NotImplementedError, or write it without reading the database",
    ),
)  # fmt: skip
