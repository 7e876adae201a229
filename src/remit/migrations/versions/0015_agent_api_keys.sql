-- Keys of agents: what others show, or sign with, to reach an agent through the server.

CREATE TABLE agent_api_keys (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    agent_id UUID NOT NULL,
    name TEXT NOT NULL,
    api_key_type TEXT NOT NULL,
    status TEXT NOT NULL,
    secret_hash BYTEA,
    secret_encrypted BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    creator_user_id UUID,
    creator_service_account_id UUID,
    creator_agent_id UUID,
    authz_zedtoken TEXT,
    CONSTRAINT pk_agent_api_keys PRIMARY KEY (id),
    CONSTRAINT ck_agent_api_keys_at_most_one_creator CHECK (num_nonnulls(creator_user_id, creator_service_account_id) <= 1),
    CONSTRAINT ck_agent_api_keys_agent_or_subject_creator CHECK (creator_agent_id IS NULL OR num_nonnulls(creator_user_id, creator_service_account_id) = 0),
    CONSTRAINT ck_agent_api_keys_api_key_type CHECK (api_key_type IN ('internal', 'external', 'github', 'slack')),
    CONSTRAINT ck_agent_api_keys_status CHECK (status IN ('pending', 'active')),
    CONSTRAINT ck_agent_api_keys_one_secret CHECK ((api_key_type IN ('internal', 'external')) = (secret_hash IS NOT NULL) AND num_nonnulls(secret_hash, secret_encrypted) = 1),
    CONSTRAINT fk_agent_api_keys_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT fk_agent_api_keys_agent_id FOREIGN KEY(agent_id) REFERENCES agents (id) ON DELETE CASCADE,
    CONSTRAINT uq_agent_api_keys_agent_id_api_key_type_name UNIQUE (agent_id, api_key_type, name)
);
CREATE INDEX ix_agent_api_keys_creator_user_id ON agent_api_keys (creator_user_id) WHERE creator_user_id IS NOT NULL;
CREATE INDEX ix_agent_api_keys_creator_service_account_id ON agent_api_keys (creator_service_account_id) WHERE creator_service_account_id IS NOT NULL;
CREATE INDEX ix_agent_api_keys_tenant_id_id ON agent_api_keys (tenant_id, id DESC);
CREATE INDEX ix_agent_api_keys_pending ON agent_api_keys (created_at) WHERE status = 'pending';
CREATE UNIQUE INDEX uq_agent_api_keys_internal_secret_hash ON agent_api_keys (secret_hash) WHERE api_key_type = 'internal';
