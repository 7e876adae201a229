"""The tables of the database, revision by revision, and how they are brought up to date."""
