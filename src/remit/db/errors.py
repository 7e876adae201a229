"""What can go wrong before a database answers. Every message is one line that says what to do next."""


class DatabaseSetupError(Exception):
    """The database cannot be used as it is; the message says what to do."""


class DataDirectoryError(DatabaseSetupError):
    """The data directory cannot be made, read or locked."""


class WrongMajorVersionError(DatabaseSetupError):
    """The data was written by another major version of PostgreSQL than the one shipped."""


class ServerFailedError(DatabaseSetupError):
    """The embedded PostgreSQL did not start or did not stop."""


class UnsupportedServerError(DatabaseSetupError):
    """The PostgreSQL server is older than Remit supports."""


class MigrationError(DatabaseSetupError):
    """A migration could not be finished; what was done before it stays and it can be run again."""


class BackupError(DatabaseSetupError):
    """A dump or a restore failed; a failed restore leaves the database as it was."""
