-- Tables that the statements of statements.sql change. Each gets rows.
CREATE TYPE mood AS ENUM ('calm', 'angry');
CREATE DOMAIN positive AS integer;
CREATE DOMAIN checked AS integer CHECK (VALUE > 0);
CREATE SEQUENCE numbers;
CREATE TABLE accounts (id bigint PRIMARY KEY, name text);
CREATE TABLE users (
    id bigint PRIMARY KEY,
    email varchar(100),
    name text,
    age integer,
    score integer NOT NULL DEFAULT 0,
    code char(8),
    balance numeric(10, 2),
    ratio numeric,
    birthday date,
    seen timestamp,
    seen_at timestamptz(3),
    mood mood,
    amount positive,
    address inet,
    network cidr,
    flags bit varying(8),
    tags varchar(20)[],
    payload json,
    document jsonb,
    account_id bigint
);
ALTER TABLE users ADD CONSTRAINT users_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id);
CREATE INDEX ix_users_name ON users (name);
CREATE UNIQUE INDEX uq_users_email ON users (email);
CREATE UNIQUE INDEX uq_users_age ON users (age);
ALTER TABLE users ADD CONSTRAINT ck_users_age CHECK (age > 0) NOT VALID;
ALTER TABLE users ADD CONSTRAINT ck_users_name CHECK (name IS NOT NULL);
ALTER TABLE users ADD CONSTRAINT ck_users_late CHECK (email IS NOT NULL) NOT VALID;
ALTER TABLE users ADD CONSTRAINT ck_users_both CHECK (birthday IS NOT NULL AND age IS NOT NULL);
ALTER TABLE users ADD CONSTRAINT users_account_not_valid FOREIGN KEY (account_id) REFERENCES accounts (id) NOT VALID;
CREATE TABLE orders (id bigint NOT NULL, user_id bigint, status text, total numeric(10, 2), at timestamptz DEFAULT now());
CREATE UNIQUE INDEX uq_orders_id ON orders (id);
CREATE INDEX ix_orders_status ON orders (status);
CREATE TABLE bookings (id bigint PRIMARY KEY, room integer, during tsrange);
CREATE TABLE logs (id bigint NOT NULL, at date NOT NULL, line text) PARTITION BY RANGE (id);
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (10000);
CREATE TABLE logs_4 PARTITION OF logs FOR VALUES FROM (40000) TO (50000) PARTITION BY RANGE (id);
CREATE TABLE logs_4_1 PARTITION OF logs_4 FOR VALUES FROM (40000) TO (45000);
CREATE TABLE logs_loose (id bigint NOT NULL, at date NOT NULL, line text);
CREATE TABLE logs_proved (id bigint NOT NULL CHECK (id >= 30000 AND id < 40000), at date NOT NULL, line text);
CREATE TABLE parents (id bigint, note text);
CREATE TABLE children (extra integer) INHERITS (parents);
CREATE VIEW user_names AS SELECT id, name FROM users;
CREATE MATERIALIZED VIEW order_totals AS SELECT user_id, sum(total) AS total FROM orders GROUP BY user_id;
CREATE UNIQUE INDEX uq_order_totals ON order_totals (user_id);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touch_orders BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();
CREATE POLICY own_orders ON orders USING (user_id > 0);
CREATE SCHEMA billing;
CREATE TABLE billing.invoices (id bigint PRIMARY KEY, total numeric(10, 2), note text);
CREATE TABLE "Weird Table" ("Id" bigint PRIMARY KEY, "select" text);
