-- Who decides per tenant and type, and what must be known before that moves.

CREATE TABLE authz_modes (
    tenant_id UUID NOT NULL,
    resource_type TEXT NOT NULL,
    mode TEXT,
    enforced_at TIMESTAMP WITH TIME ZONE,
    registering_since TIMESTAMP WITH TIME ZONE,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    changed_by TEXT NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT pk_authz_modes PRIMARY KEY (tenant_id, resource_type),
    CONSTRAINT ck_authz_modes_mode CHECK (mode IN ('off', 'write', 'shadow', 'enforce')),
    CONSTRAINT fk_authz_modes_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX ix_authz_modes_version ON authz_modes (version);

CREATE TABLE authz_reconciliations (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    resource_type TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    clean BOOLEAN NOT NULL,
    CONSTRAINT pk_authz_reconciliations PRIMARY KEY (id),
    CONSTRAINT fk_authz_reconciliations_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX ix_authz_reconciliations_tenant_id_resource_type ON authz_reconciliations (tenant_id, resource_type, started_at DESC);

CREATE TABLE authz_shadow_counts (
    tenant_id UUID NOT NULL,
    resource_type TEXT NOT NULL,
    permission TEXT NOT NULL,
    outcome TEXT NOT NULL,
    class TEXT NOT NULL,
    count BIGINT NOT NULL,
    first_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_authz_shadow_counts PRIMARY KEY (tenant_id, resource_type, permission, outcome, class),
    CONSTRAINT ck_authz_shadow_counts_outcome CHECK (outcome IN ('both_allow', 'both_deny', 'would_deny', 'would_allow', 'unknown')),
    CONSTRAINT fk_authz_shadow_counts_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);

CREATE TABLE authz_shadow_samples (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id UUID NOT NULL,
    permission TEXT NOT NULL,
    outcome TEXT NOT NULL,
    class TEXT NOT NULL,
    subject_type TEXT NOT NULL,
    subject_id UUID NOT NULL,
    explanation TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_authz_shadow_samples PRIMARY KEY (id),
    CONSTRAINT fk_authz_shadow_samples_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX ix_authz_shadow_samples_tenant_id_resource_type_id ON authz_shadow_samples (tenant_id, resource_type, id DESC);
