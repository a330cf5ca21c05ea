-- Names compare by bytes whatever the database's locale, so that every writer locks in one order.
CREATE TABLE peal.meta (
    name text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE peal.inbox (
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL DEFAULT 0,
    rev bigint NOT NULL DEFAULT 0,
    unread bigint NOT NULL DEFAULT 0 CHECK (unread >= 0),
    tombstone_floor bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, user_id)
) WITH (fillfactor = 70);

CREATE TABLE peal.notification (
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    created_rev bigint NOT NULL,
    rev bigint NOT NULL,
    id uuid NOT NULL,
    type text NOT NULL,
    title text NOT NULL,
    message text NOT NULL,
    data bytea NOT NULL,
    priority smallint NOT NULL,
    state smallint NOT NULL DEFAULT 0,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL DEFAULT 0,
    seen_at bigint NOT NULL DEFAULT 0,
    read_at bigint NOT NULL DEFAULT 0,
    archived_at bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, user_id, seq)
);
CREATE UNIQUE INDEX notification_id ON peal.notification (id);
CREATE INDEX notification_created ON peal.notification (tenant, user_id, created_rev);
CREATE INDEX notification_changed ON peal.notification (tenant, user_id, rev)
    WHERE rev > created_rev;
CREATE INDEX notification_open ON peal.notification (tenant, user_id, seq) WHERE state < 2;
CREATE INDEX notification_expiry ON peal.notification (expires_at) WHERE expires_at > 0;

CREATE TABLE peal.tombstone (
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    rev bigint NOT NULL,
    id uuid NOT NULL,
    state smallint NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (tenant, user_id, seq)
);
CREATE INDEX tombstone_rev ON peal.tombstone (tenant, user_id, rev);
CREATE INDEX tombstone_at ON peal.tombstone (at);

CREATE TABLE peal.dedup (
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    key_hash uuid NOT NULL,
    content_hash uuid NOT NULL,
    seq bigint NOT NULL,
    id uuid NOT NULL,
    PRIMARY KEY (tenant, user_id, key_hash)
);

-- backend_pid and backend_start name the database session of the owner: pids are used again.
CREATE TABLE peal.ingest (
    partition bigint PRIMARY KEY,
    owner text NOT NULL,
    token bigint NOT NULL,
    last_id text NOT NULL DEFAULT '',
    backend_pid integer NOT NULL,
    backend_start timestamptz NOT NULL
);

-- Raises, so that everything behind it in the same implicit transaction is aborted.
CREATE FUNCTION peal.fence(which bigint, held bigint, through text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE peal.ingest
        SET last_id = CASE WHEN through = '' THEN last_id ELSE through END
        WHERE partition = which AND token = held;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'partition % has another owner', which USING ERRCODE = 'PE001';
    END IF;
END
$$;

-- Each statement of a volatile function has its own snapshot: the second sees what others
-- committed before the first one got its locks.
CREATE FUNCTION peal.sweep(until bigint, keep_after bigint, most integer)
RETURNS TABLE (
    ret_tenant text, ret_user text, ret_seq bigint, ret_rev bigint, ret_unread bigint,
    ret_id uuid, ret_row_seq bigint, ret_more boolean
)
LANGUAGE plpgsql AS $$
DECLARE
    tenants text[];
    users text[];
    due bigint;
    old bigint;
BEGIN
    SELECT array_agg(DISTINCT (s.tenant, s.user_id)::text), count(*) FILTER (WHERE s.kind = 0),
            count(*) FILTER (WHERE s.kind = 1)
        INTO tenants, due, old
        FROM (
            (SELECT n.tenant, n.user_id, 0 AS kind FROM peal.notification n
                WHERE n.expires_at > 0 AND n.expires_at <= until
                ORDER BY n.expires_at LIMIT most)
            UNION ALL
            (SELECT t.tenant, t.user_id, 1 AS kind FROM peal.tombstone t
                WHERE t.at <= keep_after ORDER BY t.at LIMIT most)
        ) s;
END
$$;
