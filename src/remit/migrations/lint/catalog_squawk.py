"""The rules of squawk that are asked, in our words. Its rules of style are not: they block nobody.

Where squawk cannot know (a table that the revision itself makes, a constraint that reads no row), its finding is
dropped.
"""

from remit.migrations.lint.rule import Rule

NOT_VALID_THEN_VALIDATE = """\
# this revision
op.execute("ALTER TABLE {table} ADD CONSTRAINT {name} CHECK (CONDITION) NOT VALID")
# the next revision, in a transaction of its own
op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {name}")"""

UNIQUE_FROM_INDEX = """\
with op.get_context().autocommit_block():
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS {index}")
    op.execute("CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({column})")
# the next revision
op.execute("ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")"""

BUILD_INDEX = """\
with op.get_context().autocommit_block():
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS {index}")  # what a failed build left
    op.execute("CREATE INDEX CONCURRENTLY {name} ON {table} ({column})")"""

SQUAWK = (
    Rule(
        "adding-required-field", "error", "A column that is required and has no default",
        "the new column of {table} is NOT NULL without a default: the statement fails if {table} has a row, and code "
        "that does not know the column can insert nothing more",
        "PostgreSQL has no value for the rows that are there and refuses. On an empty table it passes, and from then "
        "on every INSERT of the running code fails until the new code is everywhere.",
        'op.execute("ALTER TABLE {table} ADD COLUMN {column} NEW_TYPE")\n'
        "# then: let the code write it, fill the old rows in batches, prove it with a CHECK, and only then SET NOT "
        "NULL",
        "squawk",
    ),
    Rule(
        "adding-field-with-default", "error", "A column whose value differs from row to row",
        "the new column writes all of {table} anew under an ACCESS EXCLUSIVE lock: readers and writers wait until "
        "every row is written",
        "A constant default is kept in the catalog since PostgreSQL 11. A volatile one (`gen_random_uuid()`, "
        "`clock_timestamp()`), a stored generated column or a serial must be computed for each row: seconds for each "
        "million rows, and nobody reads the table meanwhile.",
        'op.execute("ALTER TABLE {table} ADD COLUMN {column} NEW_TYPE")\n'
        'op.execute("ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT VALUE")  # then fill the old in batches',
        "squawk",
    ),
    Rule(
        "adding-serial-primary-key-field", "error", "A primary key is built under an exclusive lock",
        "the primary key's index is built while {table} is locked ACCESS EXCLUSIVE: readers and writers wait for the "
        "whole build",
        "ADD PRIMARY KEY builds a unique index and checks for NULL in one statement. Building the index concurrently "
        "first leaves only a change of the catalog.",
        UNIQUE_FROM_INDEX.replace("UNIQUE USING", "PRIMARY KEY USING"), "squawk",
    ),
    Rule(
        "adding-foreign-key-constraint", "error", "A foreign key is checked while both tables are locked",
        "the foreign key is checked for every row of {table} while writers of {table} and of the table it refers to "
        "wait",
        "ADD FOREIGN KEY takes a SHARE ROW EXCLUSIVE lock on both tables and reads all rows. NOT VALID takes the same "
        "lock for a moment; VALIDATE then reads the rows under a lock that lets writers pass.",
        NOT_VALID_THEN_VALIDATE.replace("CHECK (CONDITION)", "FOREIGN KEY ({column}) REFERENCES OTHER_TABLE"), "squawk",
    ),
    Rule(
        "disallowed-unique-constraint", "error", "A unique constraint builds its index under an exclusive lock",
        "the unique constraint builds its index while {table} is locked ACCESS EXCLUSIVE: readers and writers wait for "
        "the whole build",
        "Build the unique index concurrently, then let the constraint take it over: that is a change of the catalog.",
        UNIQUE_FROM_INDEX, "squawk",
    ),
    Rule(
        "constraint-missing-not-valid", "error", "A constraint is checked under an exclusive lock",
        "the constraint is checked for every row of {table} under a lock that stops readers and writers until all are "
        "read",
        "NOT VALID holds the constraint against new and changed rows at once; VALIDATE, in a later transaction, reads "
        "the old ones under SHARE UPDATE EXCLUSIVE, which stops neither readers nor writers.",
        NOT_VALID_THEN_VALIDATE, "squawk",
    ),
    Rule(
        "require-concurrent-index-creation", "error", "An index is built while writers wait",
        "the index is built under a SHARE lock: every writer of {table} waits until the whole table is read and sorted",
        "CREATE INDEX takes seconds to minutes for each few million rows. CONCURRENTLY takes longer and stops nobody; "
        "it must run outside of a transaction.",
        BUILD_INDEX, "squawk",
    ),
    Rule(
        "require-concurrent-index-deletion", "error", "An index is dropped under an exclusive lock",
        "DROP INDEX locks the table of the index ACCESS EXCLUSIVE: it waits for all queries that run, and everybody "
        "else waits behind it",
        "The drop itself is short. The wait for a long query is not, and it stops readers and writers that come after.",
        'with op.get_context().autocommit_block():\n    op.execute("DROP INDEX CONCURRENTLY IF EXISTS {index}")',
        "squawk",
    ),
    Rule(
        "require-concurrent-reindex", "error", "Indexes are built again while writers wait",
        "REINDEX stops the writers of {table}, and readers that use the index, until it is built",
        "REINDEX CONCURRENTLY builds beside the old index and swaps them.",
        'with op.get_context().autocommit_block():\n    op.execute("REINDEX TABLE CONCURRENTLY {table}")', "squawk",
    ),
    Rule(
        "require-concurrent-partition-detach", "error", "A partition is detached under an exclusive lock",
        "DETACH PARTITION locks {table} ACCESS EXCLUSIVE: readers and writers of all partitions wait",
        "CONCURRENTLY waits for old queries without stopping new ones.",
        "with op.get_context().autocommit_block():\n"
        '    op.execute("ALTER TABLE {table} DETACH PARTITION {name} CONCURRENTLY")', "squawk",
    ),
    Rule(
        "ban-truncate-cascade", "error", "TRUNCATE … CASCADE empties other tables too",
        "TRUNCATE … CASCADE empties {table} and every table that refers to it, under ACCESS EXCLUSIVE locks on all",
        "Which tables that are depends on foreign keys that somebody else may add.",
        'op.execute("TRUNCATE {table}")  # with each table named that is meant', "squawk",
    ),
    Rule(
        "ban-alter-domain-with-add-constraint", "error", "A constraint on a domain reads every table that uses it",
        "ADD CONSTRAINT on a domain checks every row of every table with a column of it, and stops their writers",
        "ALTER DOMAIN … ADD … NOT VALID is short; VALIDATE CONSTRAINT, later, reads the rows.",
        'op.execute("ALTER DOMAIN {name} ADD CONSTRAINT NEW_NAME CHECK (CONDITION) NOT VALID")', "squawk",
    ),
    Rule(
        "ban-drop-database", "error", "A database is dropped",
        "DROP DATABASE in a migration loses everything",
        "No migration needs this.",
        "# take the statement out", "squawk",
    ),
    Rule(
        "identifier-too-long", "warn", "A name longer than PostgreSQL keeps",
        "the name is longer than 63 bytes: PostgreSQL cuts it off, and a later statement with another cut does not "
        "find it",
        "Two long names may become the same one.",
        "# a name of 63 bytes at most", "squawk",
    ),
)  # fmt: skip
"""Most specific first: of those in `ABOUT_ONE_CONSTRAINT`, a statement is told one."""

ABOUT_ONE_CONSTRAINT = (
    "adding-field-with-default",
    "adding-serial-primary-key-field",
    "adding-foreign-key-constraint",
    "disallowed-unique-constraint",
    "constraint-missing-not-valid",
)
NEED_WORK = frozenset((*ABOUT_ONE_CONSTRAINT, "require-concurrent-index-creation", "require-concurrent-reindex"))
NEED_LOCK = frozenset(("adding-required-field", "require-concurrent-partition-detach", "ban-truncate-cascade"))
