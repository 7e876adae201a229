-- What agents write beside messages and states: spans of traces, and the checkpoints of LangGraph programs.

CREATE TABLE spans (
    tenant_id UUID NOT NULL,
    id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    task_id UUID,
    parent_id TEXT,
    name TEXT NOT NULL,
    start_time TIMESTAMP WITH TIME ZONE NOT NULL,
    end_time TIMESTAMP WITH TIME ZONE,
    input JSONB,
    output JSONB,
    data JSONB,
    author_subject_id UUID,
    author_agent_id UUID,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_spans PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_spans_one_author CHECK (num_nonnulls(author_subject_id, author_agent_id) = 1),
    CONSTRAINT fk_spans_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT fk_spans_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
);
CREATE INDEX ix_spans_task_id_start_time_id ON spans (task_id, start_time DESC, id DESC) WHERE task_id IS NOT NULL;
CREATE INDEX ix_spans_tenant_id_trace_id_start_time_id ON spans (tenant_id, trace_id, start_time DESC, id DESC);

-- Ids of checkpoints grow in the order of their bytes, so they are compared as bytes, whatever the database's language.
CREATE TABLE checkpoints (
    tenant_id UUID NOT NULL,
    task_id UUID NOT NULL,
    checkpoint_ns TEXT COLLATE "C" NOT NULL,
    checkpoint_id TEXT COLLATE "C" NOT NULL,
    parent_checkpoint_id TEXT,
    checkpoint JSONB NOT NULL,
    metadata JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_checkpoints PRIMARY KEY (task_id, checkpoint_ns, checkpoint_id),
    CONSTRAINT fk_checkpoints_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT fk_checkpoints_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
);

CREATE TABLE checkpoint_blobs (
    tenant_id UUID NOT NULL,
    task_id UUID NOT NULL,
    checkpoint_ns TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    type TEXT NOT NULL,
    blob BYTEA,
    CONSTRAINT pk_checkpoint_blobs PRIMARY KEY (task_id, checkpoint_ns, channel, version),
    CONSTRAINT fk_checkpoint_blobs_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT fk_checkpoint_blobs_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
);

CREATE TABLE checkpoint_writes (
    tenant_id UUID NOT NULL,
    task_id UUID NOT NULL,
    checkpoint_ns TEXT COLLATE "C" NOT NULL,
    checkpoint_id TEXT COLLATE "C" NOT NULL,
    write_task_id TEXT COLLATE "C" NOT NULL,
    idx INTEGER NOT NULL,
    channel TEXT NOT NULL,
    type TEXT,
    blob BYTEA NOT NULL,
    task_path TEXT NOT NULL,
    CONSTRAINT pk_checkpoint_writes PRIMARY KEY (task_id, checkpoint_ns, checkpoint_id, write_task_id, idx),
    CONSTRAINT fk_checkpoint_writes_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT fk_checkpoint_writes_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
);
