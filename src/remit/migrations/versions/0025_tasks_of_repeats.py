"""Which tasks were made by a repeat, so that the request that it repeats finds them when it comes late

Revision ID: 0025

The column is nullable: no row of `tasks` is read or rewritten. The index holds the tasks of repeats alone, which are
few. The function is new, and older code does not call it; why it is one is said where it is called
(`remit.tasks.repeats`).
"""

from remit.migrations.online import create_index_concurrently, drop_index_concurrently, execute

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the function, then build the index beside live readers and writers."""
    execute("ALTER TABLE tasks ADD COLUMN IF NOT EXISTS repeated_at timestamptz")
    execute(
        """
        CREATE OR REPLACE FUNCTION find_task_of_request(
          tenant uuid, creator uuid, request bytea, repeated boolean, age interval, oldest uuid
        ) RETURNS uuid LANGUAGE plpgsql VOLATILE AS $$
        DECLARE
          lock_key CONSTANT bigint = hashtextextended(creator::text || encode(request, 'hex'), 0);
          found uuid;
        BEGIN
          IF repeated THEN
            PERFORM pg_advisory_xact_lock(lock_key);
            SELECT t.id INTO found FROM tasks t
             WHERE t.tenant_id = tenant AND t.id >= oldest AND t.created_at > now() - age AND t.request_hash = request
               AND creator IN (t.creator_user_id, t.creator_service_account_id, t.creator_agent_id)
               AND t.status <> 'DELETED'
             ORDER BY t.id DESC LIMIT 1;
          ELSE
            PERFORM pg_advisory_xact_lock_shared(lock_key);
            SELECT t.id INTO found FROM tasks t
             WHERE t.request_hash = request AND t.repeated_at > now() - age AND t.tenant_id = tenant
               AND creator IN (t.creator_user_id, t.creator_service_account_id, t.creator_agent_id)
               AND t.status <> 'DELETED'
             ORDER BY t.repeated_at DESC LIMIT 1;
          END IF;
          RETURN found;
        END $$
        """
    )
    create_index_concurrently("ix_tasks_request_hash", "tasks", "(request_hash) WHERE repeated_at IS NOT NULL")


def downgrade() -> None:
    """Drop all three: they matter for a minute."""
    drop_index_concurrently("ix_tasks_request_hash")
    execute("DROP FUNCTION IF EXISTS find_task_of_request(uuid, uuid, bytea, boolean, interval, uuid)")
    execute("ALTER TABLE tasks DROP COLUMN IF EXISTS repeated_at")
