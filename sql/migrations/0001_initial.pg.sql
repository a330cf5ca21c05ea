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

-- Each statement of a volatile function has its own snapshot: those behind the lock see what
-- others committed before it was got. The first row tells whether there is more to do.
CREATE FUNCTION peal.sweep(until bigint, keep_after bigint, most bigint)
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
    SELECT count(*) INTO due FROM (SELECT FROM peal.notification n
        WHERE n.expires_at > 0 AND n.expires_at <= until LIMIT most) s;
    SELECT count(*) INTO old FROM (SELECT FROM peal.tombstone t
        WHERE t.at <= keep_after LIMIT most) s;
    RETURN QUERY SELECT NULL::text, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint,
        NULL::uuid, NULL::bigint, due >= most OR old >= most;
    SELECT array_agg(s.tenant), array_agg(s.user_id) INTO tenants, users FROM (
        (SELECT n.tenant, n.user_id FROM peal.notification n
            WHERE n.expires_at > 0 AND n.expires_at <= until
            ORDER BY n.expires_at LIMIT most)
        UNION
        (SELECT t.tenant, t.user_id FROM peal.tombstone t
            WHERE t.at <= keep_after ORDER BY t.at LIMIT most)
    ) s;
    IF tenants IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO peal.inbox AS i (tenant, user_id)
        SELECT u.tenant, u.user_id
        FROM unnest(tenants, users) AS u (tenant, user_id)
        ORDER BY u.tenant COLLATE "C", u.user_id COLLATE "C"
        ON CONFLICT (tenant, user_id) DO UPDATE SET seq = i.seq;
    RETURN QUERY
        WITH target AS MATERIALIZED (
            SELECT n.tenant, n.user_id, n.seq, n.id, n.state
            FROM peal.notification n
            JOIN unnest(tenants, users) AS u (tenant, user_id)
                ON n.tenant = u.tenant AND n.user_id = u.user_id
            WHERE n.expires_at > 0 AND n.expires_at <= until
            ORDER BY n.expires_at LIMIT most
        ), counted AS (
            SELECT t.tenant, t.user_id, count(*) FILTER (WHERE t.state < 2) AS closed
            FROM target t GROUP BY t.tenant, t.user_id
        ), box AS (
            UPDATE peal.inbox i SET rev = i.rev + 1, unread = i.unread - c.closed
            FROM counted c WHERE i.tenant = c.tenant AND i.user_id = c.user_id
            RETURNING i.tenant, i.user_id, i.seq, i.rev, i.unread
        ), gone AS (
            DELETE FROM peal.notification n USING target t
            WHERE n.tenant = t.tenant AND n.user_id = t.user_id AND n.seq = t.seq
        ), buried AS (
            INSERT INTO peal.tombstone (tenant, user_id, seq, rev, id, state, at)
            SELECT t.tenant, t.user_id, t.seq, b.rev, t.id, 4, until
            FROM target t JOIN box b ON b.tenant = t.tenant AND b.user_id = t.user_id
        )
        SELECT b.tenant::text, b.user_id::text, b.seq, b.rev, b.unread, t.id, t.seq, NULL::boolean
        FROM target t JOIN box b ON b.tenant = t.tenant AND b.user_id = t.user_id
        ORDER BY b.tenant, b.user_id, t.seq;
    WITH dropped AS (
        DELETE FROM peal.tombstone t USING (
            SELECT o.tenant, o.user_id, o.seq FROM peal.tombstone o
            JOIN unnest(tenants, users) AS u (tenant, user_id)
                ON o.tenant = u.tenant AND o.user_id = u.user_id
            WHERE o.at <= keep_after ORDER BY o.at LIMIT most
        ) d
        WHERE t.tenant = d.tenant AND t.user_id = d.user_id AND t.seq = d.seq
        RETURNING t.tenant, t.user_id, t.rev
    )
    UPDATE peal.inbox i SET tombstone_floor = greatest(i.tombstone_floor, d.rev)
        FROM (SELECT tenant, user_id, max(rev) AS rev FROM dropped GROUP BY tenant, user_id) d
        WHERE i.tenant = d.tenant AND i.user_id = d.user_id;
END
$$;
