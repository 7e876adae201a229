-- Every table as it was before rows knew their creators; later revisions add to them.

CREATE TABLE tenants (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    disabled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_tenants PRIMARY KEY (id),
    CONSTRAINT uq_tenants_name UNIQUE (name)
);

CREATE TABLE subjects (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    kind TEXT NOT NULL,
    issuer TEXT DEFAULT 'remit' NOT NULL,
    external_id TEXT NOT NULL,
    display_name TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    disabled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_subjects PRIMARY KEY (id),
    CONSTRAINT ck_subjects_kind CHECK (kind IN ('user', 'service_account')),
    CONSTRAINT uq_subjects_tenant_id_kind_issuer_external_id UNIQUE (tenant_id, kind, issuer, external_id),
    CONSTRAINT fk_subjects_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);

CREATE TABLE groups (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    name TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    disabled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_groups PRIMARY KEY (id),
    CONSTRAINT uq_groups_tenant_id_name UNIQUE (tenant_id, name),
    CONSTRAINT fk_groups_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);

CREATE TABLE agents (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    name TEXT NOT NULL,
    description TEXT DEFAULT '' NOT NULL,
    status TEXT NOT NULL,
    status_reason TEXT,
    acp_type TEXT NOT NULL,
    acp_url TEXT,
    agent_input_type TEXT,
    registration_metadata JSONB,
    registered_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_agents PRIMARY KEY (id),
    CONSTRAINT ck_agents_status CHECK (status IN ('Ready', 'Failed', 'Unknown', 'Deleted', 'Unhealthy', 'BuildOnly')),
    CONSTRAINT ck_agents_acp_type CHECK (acp_type IN ('sync', 'async', 'agentic')),
    CONSTRAINT fk_agents_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX ix_agents_tenant_id_id ON agents (tenant_id, id DESC);
CREATE UNIQUE INDEX uq_agents_tenant_id_name ON agents (tenant_id, name) WHERE status <> 'Deleted';

CREATE TABLE tasks (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    agent_id UUID NOT NULL,
    name TEXT,
    status TEXT NOT NULL,
    status_reason TEXT,
    params JSONB,
    task_metadata JSONB,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    cleaned_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_tasks PRIMARY KEY (id),
    CONSTRAINT ck_tasks_status CHECK (
        status IN ('RUNNING', 'INTERRUPTED', 'COMPLETED', 'FAILED', 'CANCELED', 'TERMINATED', 'TIMED_OUT', 'DELETED')
    ),
    CONSTRAINT fk_tasks_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT fk_tasks_agent_id FOREIGN KEY(agent_id) REFERENCES agents (id)
);
CREATE INDEX ix_tasks_agent_id_id ON tasks (agent_id, id DESC);
CREATE INDEX ix_tasks_tenant_id_id ON tasks (tenant_id, id DESC);
CREATE UNIQUE INDEX uq_tasks_tenant_id_name ON tasks (tenant_id, name) WHERE status <> 'DELETED';

CREATE TABLE task_turns (
    task_id UUID NOT NULL,
    holder UUID NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_task_turns PRIMARY KEY (task_id)
);

CREATE TABLE messages (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    task_id UUID NOT NULL,
    content JSONB NOT NULL,
    streaming_status TEXT,
    interrupted BOOLEAN DEFAULT false NOT NULL,
    author_subject_id UUID,
    author_agent_id UUID,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_messages PRIMARY KEY (id),
    CONSTRAINT ck_messages_streaming_status CHECK (streaming_status IN ('IN_PROGRESS', 'DONE')),
    CONSTRAINT fk_messages_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT fk_messages_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
);
CREATE INDEX ix_messages_task_id_created_at_id ON messages (task_id, created_at DESC, id);

CREATE TABLE states (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    task_id UUID NOT NULL,
    agent_id UUID NOT NULL,
    state JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_states PRIMARY KEY (id),
    CONSTRAINT uq_states_task_id_agent_id UNIQUE (task_id, agent_id),
    CONSTRAINT fk_states_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT fk_states_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE,
    CONSTRAINT fk_states_agent_id FOREIGN KEY(agent_id) REFERENCES agents (id)
);

CREATE TABLE events (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    task_id UUID NOT NULL,
    agent_id UUID NOT NULL,
    sequence_id BIGINT GENERATED ALWAYS AS IDENTITY,
    content JSONB,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_events PRIMARY KEY (id),
    CONSTRAINT fk_events_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT fk_events_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE,
    CONSTRAINT fk_events_agent_id FOREIGN KEY(agent_id) REFERENCES agents (id)
);
CREATE INDEX ix_events_task_id_agent_id_sequence_id ON events (task_id, agent_id, sequence_id);

CREATE TABLE agent_task_trackers (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    task_id UUID NOT NULL,
    agent_id UUID NOT NULL,
    status TEXT,
    status_reason TEXT,
    last_processed_event_id UUID,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_agent_task_trackers PRIMARY KEY (id),
    CONSTRAINT uq_agent_task_trackers_task_id_agent_id UNIQUE (task_id, agent_id),
    CONSTRAINT fk_agent_task_trackers_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT fk_agent_task_trackers_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE,
    CONSTRAINT fk_agent_task_trackers_agent_id FOREIGN KEY(agent_id) REFERENCES agents (id)
);

CREATE TABLE api_keys (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    subject_id UUID,
    agent_id UUID,
    name TEXT,
    prefix TEXT NOT NULL,
    secret_hash BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    expires_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT ck_api_keys_one_holder CHECK (num_nonnulls(subject_id, agent_id) = 1),
    CONSTRAINT uq_api_keys_secret_hash UNIQUE (secret_hash),
    CONSTRAINT fk_api_keys_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT fk_api_keys_subject_id FOREIGN KEY(subject_id) REFERENCES subjects (id),
    CONSTRAINT fk_api_keys_agent_id FOREIGN KEY(agent_id) REFERENCES agents (id) ON DELETE CASCADE
);
CREATE INDEX ix_api_keys_agent_id ON api_keys (agent_id) WHERE agent_id IS NOT NULL;
CREATE INDEX ix_api_keys_subject_id ON api_keys (subject_id) WHERE subject_id IS NOT NULL;
CREATE INDEX ix_api_keys_tenant_id_id ON api_keys (tenant_id, id DESC);

CREATE TABLE authz_types (
    code SMALLINT NOT NULL,
    name TEXT NOT NULL,
    CONSTRAINT pk_authz_types PRIMARY KEY (code),
    CONSTRAINT uq_authz_types_name UNIQUE (name)
);

CREATE TABLE authz_relations (
    code SMALLINT NOT NULL,
    name TEXT NOT NULL,
    CONSTRAINT pk_authz_relations PRIMARY KEY (code),
    CONSTRAINT ck_authz_relations_code CHECK (code > 0),
    CONSTRAINT uq_authz_relations_name UNIQUE (name)
);

CREATE TABLE authz_schemas (
    version INTEGER GENERATED ALWAYS AS IDENTITY,
    source TEXT NOT NULL,
    sha256 BYTEA NOT NULL,
    applied_by TEXT NOT NULL,
    applied_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_authz_schemas PRIMARY KEY (version)
);

CREATE TABLE authz_ids (
    type SMALLINT NOT NULL,
    id UUID NOT NULL,
    text TEXT NOT NULL,
    CONSTRAINT pk_authz_ids PRIMARY KEY (type, id)
);

CREATE TABLE relationships (
    resource_type SMALLINT NOT NULL,
    resource_id UUID NOT NULL,
    relation SMALLINT NOT NULL,
    subject_type SMALLINT NOT NULL,
    subject_id UUID NOT NULL,
    subject_relation SMALLINT DEFAULT 0 NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    written_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT pk_relationships PRIMARY KEY (
        resource_type, resource_id, relation, subject_type, subject_id, subject_relation
    )
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.01);
CREATE INDEX ix_relationships_by_subject ON relationships (
    subject_type, subject_id, subject_relation, resource_type, relation, resource_id DESC
) INCLUDE (expires_at);
CREATE INDEX ix_relationships_expires_at ON relationships (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE relationship_history (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    resource_type SMALLINT NOT NULL,
    resource_id UUID NOT NULL,
    relation SMALLINT NOT NULL,
    subject_type SMALLINT NOT NULL,
    subject_id UUID NOT NULL,
    subject_relation SMALLINT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    written_xid xid8 NOT NULL,
    removed_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    removed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    actor TEXT,
    request_id TEXT,
    CONSTRAINT pk_relationship_history PRIMARY KEY (id)
);
CREATE INDEX ix_relationship_history_resource ON relationship_history (resource_type, resource_id);
CREATE INDEX ix_relationship_history_subject ON relationship_history (subject_type, subject_id);

CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    tenant_id UUID NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id UUID NOT NULL,
    version BIGINT NOT NULL,
    revocation INTEGER DEFAULT 0 NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    last_error TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    leased_until TIMESTAMP WITH TIME ZONE,
    dead_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_outbox PRIMARY KEY (id),
    CONSTRAINT fk_outbox_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX ix_outbox_resource ON outbox (resource_type, resource_id, version);

CREATE UNLOGGED TABLE stream_entries (
    seq BIGINT GENERATED ALWAYS AS IDENTITY,
    task_id UUID NOT NULL,
    data TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_stream_entries PRIMARY KEY (seq)
);
-- A crash of the database empties the table; the numbers must go on, because readers ask for what follows theirs.
ALTER SEQUENCE stream_entries_seq_seq SET LOGGED;
CREATE INDEX ix_stream_entries_created_at ON stream_entries (created_at);
CREATE INDEX ix_stream_entries_task_id_seq ON stream_entries (task_id, seq);

CREATE TABLE audit (
    id UUID NOT NULL,
    tenant_id UUID,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    actor_type TEXT NOT NULL,
    actor_id UUID,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    resource_type TEXT,
    resource_id TEXT,
    request_id TEXT,
    detail JSONB,
    CONSTRAINT pk_audit PRIMARY KEY (id)
);
CREATE INDEX ix_audit_tenant_id_id ON audit (tenant_id, id DESC);
