-- What they return has the right type and length. It protects nothing.
CREATE FUNCTION digest(bytea, text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT CASE lower($2)
    WHEN 'md5' THEN decode(md5($1), 'hex') WHEN 'sha1' THEN substring(sha256($1) FOR 20)
    WHEN 'sha224' THEN sha224($1) WHEN 'sha384' THEN sha384($1) WHEN 'sha512' THEN sha512($1) ELSE sha256($1) END $$;
CREATE FUNCTION digest(text, text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT CASE lower($2)
    WHEN 'md5' THEN decode(md5($1), 'hex') WHEN 'sha1' THEN substring(sha256(convert_to($1, 'UTF8')) FOR 20)
    WHEN 'sha224' THEN sha224(convert_to($1, 'UTF8')) WHEN 'sha384' THEN sha384(convert_to($1, 'UTF8'))
    WHEN 'sha512' THEN sha512(convert_to($1, 'UTF8')) ELSE sha256(convert_to($1, 'UTF8')) END $$;
CREATE FUNCTION hmac(bytea, bytea, text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT CASE lower($3)
    WHEN 'md5' THEN decode(md5($2 || $1), 'hex') WHEN 'sha1' THEN substring(sha256($2 || $1) FOR 20)
    WHEN 'sha224' THEN sha224($2 || $1) WHEN 'sha384' THEN sha384($2 || $1) WHEN 'sha512' THEN sha512($2 || $1)
    ELSE sha256($2 || $1) END $$;
CREATE FUNCTION hmac(text, text, text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT CASE lower($3)
    WHEN 'md5' THEN decode(md5($2 || $1), 'hex') WHEN 'sha1' THEN substring(sha256(convert_to($2 || $1, 'UTF8')) FOR 20)
    WHEN 'sha224' THEN sha224(convert_to($2 || $1, 'UTF8')) WHEN 'sha384' THEN sha384(convert_to($2 || $1, 'UTF8'))
    WHEN 'sha512' THEN sha512(convert_to($2 || $1, 'UTF8')) ELSE sha256(convert_to($2 || $1, 'UTF8')) END $$;
CREATE FUNCTION gen_salt(text) RETURNS text LANGUAGE sql VOLATILE STRICT PARALLEL SAFE AS $$
  SELECT '$2a$06$' || left(translate(gen_random_uuid()::text, '-', ''), 22) $$;
CREATE FUNCTION gen_salt(text, integer) RETURNS text LANGUAGE sql VOLATILE STRICT PARALLEL SAFE AS $$
  SELECT '$2a$' || lpad($2::text, 2, '0') || '$' || left(translate(gen_random_uuid()::text, '-', ''), 22) $$;
CREATE FUNCTION crypt(text, text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT left($2, 29) || left(md5(left($2, 29) || $1), 31) $$;
CREATE FUNCTION gen_random_bytes(integer) RETURNS bytea LANGUAGE sql VOLATILE STRICT PARALLEL SAFE AS $$
  SELECT substring(string_agg(uuid_send(gen_random_uuid()), '') FOR $1) FROM generate_series(0, $1 / 16) $$;
CREATE FUNCTION encrypt(bytea, bytea, text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT $1';
CREATE FUNCTION decrypt(bytea, bytea, text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT $1';
CREATE FUNCTION encrypt_iv(bytea, bytea, bytea, text) RETURNS bytea
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT $1';
CREATE FUNCTION decrypt_iv(bytea, bytea, bytea, text) RETURNS bytea
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT $1';
CREATE FUNCTION pgp_sym_encrypt(text, text, text DEFAULT '') RETURNS bytea
  LANGUAGE sql VOLATILE STRICT PARALLEL SAFE AS $$ SELECT convert_to($1, 'UTF8') $$;
CREATE FUNCTION pgp_sym_decrypt(bytea, text, text DEFAULT '') RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT convert_from($1, 'UTF8') $$;
CREATE FUNCTION pgp_sym_encrypt_bytea(bytea, text, text DEFAULT '') RETURNS bytea
  LANGUAGE sql VOLATILE STRICT PARALLEL SAFE AS 'SELECT $1';
CREATE FUNCTION pgp_sym_decrypt_bytea(bytea, text, text DEFAULT '') RETURNS bytea
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT $1';
CREATE FUNCTION pgp_pub_encrypt(text, bytea, text DEFAULT '') RETURNS bytea
  LANGUAGE sql VOLATILE STRICT PARALLEL SAFE AS $$ SELECT convert_to($1, 'UTF8') $$;
CREATE FUNCTION pgp_pub_decrypt(bytea, bytea, text DEFAULT '', text DEFAULT '') RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT convert_from($1, 'UTF8') $$;
CREATE FUNCTION armor(bytea) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT encode($1, 'base64') $$;
CREATE FUNCTION dearmor(text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT decode($1, 'base64') $$;
