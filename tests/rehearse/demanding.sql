-- Tables that demand much of their rows.
CREATE EXTENSION btree_gist; CREATE EXTENSION citext;
CREATE TYPE mood AS ENUM ('calm','angry');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN mail AS citext CHECK (VALUE ~ '^[a-z0-9]+@[a-z]+\.[a-z]{2,3}$');
CREATE TABLE tenants (id serial primary key, slug varchar(20) not null unique check (slug ~ '^[a-z][a-z0-9-]{2,19}$'), plan text not null default 'free' check (plan in ('free','pro')));
CREATE TABLE people (tenant_id int not null references tenants, id bigint generated always as identity, email mail not null, mood mood, age positive, born date check (born > '1900-01-01' and born < '2030-01-01'), boss bigint, primary key (tenant_id, id), unique (tenant_id, email), foreign key (tenant_id, boss) references people);
CREATE TABLE rooms (id uuid primary key default gen_random_uuid(), tenant_id int not null references tenants(id), person bigint not null, during tstzrange not null, code char(4) unique, price numeric(5,2) check (price between 1 and 99.5), starts timestamptz not null, ends timestamptz, check (ends > starts), meta jsonb not null check (jsonb_typeof(meta) = 'object'), hash bytea not null check (octet_length(hash) = 32), tags text[] not null default '{}',  total numeric generated always as (price * 2) stored,
 a uuid, b uuid, check (num_nonnulls(a,b) = 1), name text check (length(name) between 3 and 10 and name = lower(name)),
 foreign key (tenant_id, person) references people (tenant_id, id), exclude using gist (tenant_id with =, during with &&));
CREATE TABLE room_people (room uuid references rooms, tenant_id int, person bigint, primary key (room, tenant_id, person), foreign key (tenant_id, person) references people(tenant_id, id));
CREATE TABLE profiles (room uuid primary key references rooms, bits bit(5), v varbit, ip inet, t time, i interval, ts tsvector, p point, x xml, m money, mr int4multirange, f float8, o oid, c cidr, rangs int4range, arr int[] not null, en mood[] not null);
CREATE TABLE logs (id bigint not null, at timestamptz not null, primary key (id, at)) PARTITION BY RANGE (at);
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');
CREATE TABLE parts (id int, kind text not null) PARTITION BY LIST (kind);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a', 'bb');
CREATE TABLE hashed (id int primary key) PARTITION BY HASH (id); CREATE TABLE hashed0 PARTITION OF hashed FOR VALUES WITH (modulus 1, remainder 0);
CREATE TABLE tree (id int primary key, parent int not null references tree);
CREATE TABLE only_id (id serial primary key);
CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n % 2 = 0 THEN RAISE 'even numbers are refused'; END IF; RETURN NEW; END $$;
CREATE TABLE odds (id int primary key, n int); CREATE TRIGGER odd BEFORE INSERT ON odds FOR EACH ROW EXECUTE FUNCTION odd();
CREATE TABLE cards (id bigserial primary key, email text not null unique check (email like '%@%'), phone text check (phone ~ '^\+[0-9]{8,15}$'), kind text check (kind = any (array['x','y']) or kind is null), lower_only text, unique(kind, email));
CREATE UNIQUE INDEX ON cards (lower(lower_only));
CREATE TYPE pair AS (a integer, b varchar(3));
CREATE TYPE span AS RANGE (subtype = float8);
CREATE TABLE shapes (both_of pair NOT NULL, several pair[] NOT NULL, during daterange NOT NULL CHECK (lower(during) >= '2031-01-01'), other span NOT NULL, area box NOT NULL, "50%" text NOT NULL UNIQUE);
CREATE TABLE nothing ();
CREATE TABLE teams (id int PRIMARY KEY, lead int NOT NULL);
CREATE TABLE members (id int PRIMARY KEY, team int NOT NULL REFERENCES teams);
ALTER TABLE teams ADD CONSTRAINT fk_lead FOREIGN KEY (lead) REFERENCES members DEFERRABLE INITIALLY DEFERRED;
