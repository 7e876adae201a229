CREATE TABLE projections (
  resource_type text NOT NULL,
  resource_id uuid NOT NULL,
  fence bigint DEFAULT 1 NOT NULL,
  delivered_version bigint,
  leased_until timestamptz,
  retry_at timestamptz,
  attempts integer DEFAULT 0 NOT NULL,
  last_error text,
  CONSTRAINT pk_projections PRIMARY KEY (resource_type, resource_id)
);

CREATE TABLE projected_relationships (
  resource_type smallint NOT NULL,
  resource_id uuid NOT NULL,
  relation smallint NOT NULL,
  subject_type smallint NOT NULL,
  subject_id uuid NOT NULL,
  subject_relation smallint DEFAULT 0 NOT NULL,
  expires_at timestamptz,
  CONSTRAINT pk_projected_relationships
    PRIMARY KEY (resource_type, resource_id, relation, subject_type, subject_id, subject_relation)
);

ALTER TABLE outbox ALTER COLUMN tenant_id DROP NOT NULL;
ALTER TABLE outbox ADD COLUMN forward boolean DEFAULT false NOT NULL;
