-- Names compare by bytes whatever the database's locale, so that every writer locks in one order:
-- (slot, tenant, user_id). The slot follows from tenant and user_id (codec/slot.h).
CREATE TABLE peal.meta (
    name text PRIMARY KEY,
    value text NOT NULL
);

-- changed_at: when rev was last raised, by the database's clock, in tens of seconds since 1970. So
-- coarse, it seldom changes, and most updates of a row leave its index alone.
CREATE TABLE peal.inbox (
    slot smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL DEFAULT 0,
    rev bigint NOT NULL DEFAULT 0,
    unread bigint NOT NULL DEFAULT 0 CHECK (unread >= unseen),
    unseen bigint NOT NULL DEFAULT 0 CHECK (unseen >= 0),
    tombstone_floor bigint NOT NULL DEFAULT 0,
    changed_at integer NOT NULL DEFAULT 0,
    PRIMARY KEY (slot, tenant, user_id)
) WITH (fillfactor = 70);
CREATE INDEX inbox_changed ON peal.inbox (changed_at);

-- rev: of the last change. new_rev: of the change that last made it new (stored, came back); lists go by
-- it. whole_rev: of the last change after which a device needs the whole row (also taken out of the
-- archive). state follows from the times behind it (codec/notification_mark.h). count: how many posts it
-- stands for; updated_at: when its content was replaced last.
CREATE TABLE peal.notification (
    slot smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    new_rev bigint NOT NULL,
    whole_rev bigint NOT NULL,
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
    snoozed_until bigint NOT NULL DEFAULT 0,
    resurfaced_at bigint NOT NULL DEFAULT 0,
    collapse text COLLATE "C" NOT NULL DEFAULT '',
    count bigint NOT NULL DEFAULT 1,
    updated_at bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (slot, tenant, user_id, seq)
);
CREATE UNIQUE INDEX notification_id ON peal.notification (slot, id);
CREATE INDEX notification_new ON peal.notification (slot, tenant, user_id, new_rev, seq);
CREATE INDEX notification_changed ON peal.notification (slot, tenant, user_id, rev)
    WHERE rev > new_rev;
CREATE INDEX notification_whole ON peal.notification (slot, tenant, user_id, whole_rev)
    WHERE whole_rev > new_rev;
CREATE INDEX notification_open ON peal.notification (slot, tenant, user_id, seq) WHERE state < 2;
CREATE INDEX notification_collapse ON peal.notification (slot, tenant, user_id, collapse, seq)
    WHERE collapse <> '' AND state < 2;
CREATE INDEX notification_expiry ON peal.notification (expires_at) WHERE expires_at > 0;
CREATE INDEX notification_snoozed ON peal.notification (snoozed_until) WHERE snoozed_until > 0;

CREATE TABLE peal.tombstone (
    slot smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    rev bigint NOT NULL,
    id uuid NOT NULL,
    state smallint NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (slot, tenant, user_id, seq)
);
CREATE INDEX tombstone_rev ON peal.tombstone (slot, tenant, user_id, rev);
CREATE INDEX tombstone_at ON peal.tombstone (at);

CREATE TABLE peal.dedup (
    slot smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    key_hash uuid NOT NULL,
    content_hash uuid NOT NULL,
    seq bigint NOT NULL,
    id uuid NOT NULL,
    PRIMARY KEY (slot, tenant, user_id, key_hash)
);

CREATE TABLE peal.ingest (
    partition bigint PRIMARY KEY,
    owner text NOT NULL,
    token bigint NOT NULL,
    last_id text NOT NULL DEFAULT ''
);

-- A row a node raises to prove that the store can be written; a number that is lower than one it
-- has seen proves that the store went back. `at`: ms since 1970 by the database's clock.
CREATE TABLE peal.witness (
    node text PRIMARY KEY,
    number bigint NOT NULL,
    at bigint NOT NULL
) WITH (fillfactor = 50);

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
-- others committed before it was got. The first row tells whether there is more to do, the others
-- what expired (ret_state 5) and what came back (ret_state 0). Rows are found by key, one by one, and
-- changed by ctid, so that no plan can read a table (sql/pg.def).
CREATE FUNCTION peal.sweep(until bigint, keep_after bigint, most bigint)
RETURNS TABLE (
    ret_tenant text, ret_user text, ret_seq bigint, ret_rev bigint, ret_unread bigint,
    ret_unseen bigint, ret_id uuid, ret_row_seq bigint, ret_state smallint, ret_more boolean
)
LANGUAGE plpgsql AS $$
DECLARE
    due_slots smallint[];
    due_tenants text[];
    due_users text[];
    due_seqs bigint[];
    awake_slots smallint[];
    awake_tenants text[];
    awake_users text[];
    awake_seqs bigint[];
    old_slots smallint[];
    old_tenants text[];
    old_users text[];
    old_seqs bigint[];
    woken record;
BEGIN
    SELECT array_agg(s.slot), array_agg(s.tenant), array_agg(s.user_id), array_agg(s.seq)
        INTO due_slots, due_tenants, due_users, due_seqs
        FROM (SELECT n.slot, n.tenant, n.user_id, n.seq FROM peal.notification n
            WHERE n.expires_at > 0 AND n.expires_at <= until
            ORDER BY n.expires_at LIMIT most) s;
    SELECT array_agg(s.slot), array_agg(s.tenant), array_agg(s.user_id), array_agg(s.seq)
        INTO awake_slots, awake_tenants, awake_users, awake_seqs
        FROM (SELECT n.slot, n.tenant, n.user_id, n.seq FROM peal.notification n
            WHERE n.snoozed_until > 0 AND n.snoozed_until <= until
            ORDER BY n.snoozed_until LIMIT most) s;
    SELECT array_agg(s.slot), array_agg(s.tenant), array_agg(s.user_id), array_agg(s.seq)
        INTO old_slots, old_tenants, old_users, old_seqs
        FROM (SELECT t.slot, t.tenant, t.user_id, t.seq FROM peal.tombstone t
            WHERE t.at <= keep_after ORDER BY t.at LIMIT most) s;
    RETURN QUERY SELECT NULL::text, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint,
        NULL::bigint, NULL::uuid, NULL::bigint, NULL::smallint,
        coalesce(cardinality(due_seqs), 0) >= most
            OR coalesce(cardinality(awake_seqs), 0) >= most
            OR coalesce(cardinality(old_seqs), 0) >= most;
    -- Nobody remembers the number of a node that raised it last a day before another did. Counted by
    -- the clock that stamps the rows: that of who sweeps may be wrong.
    DELETE FROM peal.witness w WHERE w.at < (SELECT max(m.at) FROM peal.witness m) - 86400000;
    IF due_seqs IS NULL AND awake_seqs IS NULL AND old_seqs IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO peal.inbox AS i (slot, tenant, user_id)
        SELECT u.slot, u.tenant, u.user_id FROM (
            SELECT d.slot, d.tenant, d.user_id
            FROM unnest(due_slots, due_tenants, due_users) AS d (slot, tenant, user_id)
            UNION
            SELECT a.slot, a.tenant, a.user_id
            FROM unnest(awake_slots, awake_tenants, awake_users) AS a (slot, tenant, user_id)
            UNION
            SELECT o.slot, o.tenant, o.user_id
            FROM unnest(old_slots, old_tenants, old_users) AS o (slot, tenant, user_id)
        ) u
        ORDER BY u.slot, u.tenant COLLATE "C", u.user_id COLLATE "C"
        ON CONFLICT (slot, tenant, user_id) DO UPDATE SET seq = i.seq;
    RETURN QUERY
        WITH target AS MATERIALIZED (
            SELECT n.place, n.slot, n.tenant, n.user_id, n.seq, n.id, n.state
            FROM unnest(due_slots, due_tenants, due_users, due_seqs)
                AS u (slot, tenant, user_id, seq)
            CROSS JOIN LATERAL (
                SELECT f.ctid AS place, f.slot, f.tenant, f.user_id, f.seq, f.id, f.state,
                    f.expires_at
                FROM peal.notification f
                WHERE f.slot = u.slot AND f.tenant = u.tenant AND f.user_id = u.user_id
                    AND f.seq >= u.seq AND f.seq <= u.seq
                ORDER BY f.seq LIMIT 1
            ) n
            WHERE n.expires_at > 0 AND n.expires_at <= until
        ), counted AS (
            SELECT t.slot, t.tenant, t.user_id, count(*) FILTER (WHERE t.state < 2) AS closed,
                count(*) FILTER (WHERE t.state = 0) AS unseen
            FROM target t GROUP BY t.slot, t.tenant, t.user_id
        ), box AS (
            INSERT INTO peal.inbox AS i (slot, tenant, user_id, unread, unseen, changed_at)
            SELECT c.slot, c.tenant, c.user_id, c.closed, c.unseen,
                floor(extract(epoch FROM clock_timestamp()) / 10)::integer
            FROM counted c
            ON CONFLICT (slot, tenant, user_id) DO UPDATE SET rev = i.rev + 1,
                unread = i.unread - excluded.unread, unseen = i.unseen - excluded.unseen,
                changed_at = excluded.changed_at
            RETURNING i.slot, i.tenant, i.user_id, i.seq, i.rev, i.unread, i.unseen
        ), gone AS (
            DELETE FROM peal.notification n
            WHERE n.ctid = ANY (ARRAY(SELECT t.place FROM target t))
        ), buried AS (
            INSERT INTO peal.tombstone (slot, tenant, user_id, seq, rev, id, state, at)
            SELECT t.slot, t.tenant, t.user_id, t.seq, b.rev, t.id, 5, until
            FROM target t
            JOIN box b ON b.slot = t.slot AND b.tenant = t.tenant AND b.user_id = t.user_id
        )
        SELECT b.tenant::text, b.user_id::text, b.seq, b.rev, b.unread, b.unseen, t.id, t.seq,
            5::smallint, NULL::boolean
        FROM target t
        JOIN box b ON b.slot = t.slot AND b.tenant = t.tenant AND b.user_id = t.user_id
        ORDER BY b.slot, b.tenant, b.user_id, t.seq;
    -- What comes back is new again: one rev for all rows of a user.
    FOR woken IN
        SELECT t.slot, t.tenant, t.user_id, array_agg(t.place) AS places,
            array_agg(t.id ORDER BY t.seq) AS ids, array_agg(t.seq ORDER BY t.seq) AS seqs
        FROM (
            SELECT n.* FROM unnest(awake_slots, awake_tenants, awake_users, awake_seqs)
                AS u (slot, tenant, user_id, seq)
            CROSS JOIN LATERAL (
                SELECT f.ctid AS place, f.slot, f.tenant, f.user_id, f.seq, f.id, f.snoozed_until
                FROM peal.notification f
                WHERE f.slot = u.slot AND f.tenant = u.tenant AND f.user_id = u.user_id
                    AND f.seq >= u.seq AND f.seq <= u.seq
                ORDER BY f.seq LIMIT 1
            ) n
            WHERE n.snoozed_until > 0 AND n.snoozed_until <= until
        ) t
        GROUP BY t.slot, t.tenant, t.user_id ORDER BY t.slot, t.tenant, t.user_id
    LOOP
        INSERT INTO peal.inbox AS i (slot, tenant, user_id)
            VALUES (woken.slot, woken.tenant, woken.user_id)
            ON CONFLICT (slot, tenant, user_id) DO UPDATE SET rev = i.rev + 1,
                unread = i.unread + cardinality(woken.seqs),
                unseen = i.unseen + cardinality(woken.seqs),
                changed_at = floor(extract(epoch FROM clock_timestamp()) / 10)::integer
            RETURNING i.seq, i.rev, i.unread, i.unseen
            INTO ret_seq, ret_rev, ret_unread, ret_unseen;
        UPDATE peal.notification n SET state = 0, seen_at = 0, read_at = 0, snoozed_until = 0,
            resurfaced_at = until, rev = ret_rev, new_rev = ret_rev, whole_rev = ret_rev
            WHERE n.ctid = ANY (woken.places);
        RETURN QUERY SELECT woken.tenant::text, woken.user_id::text, ret_seq, ret_rev, ret_unread,
            ret_unseen, r.id, r.seq, 0::smallint, NULL::boolean
            FROM unnest(woken.ids, woken.seqs) AS r (id, seq);
    END LOOP;
    WITH target AS MATERIALIZED (
        SELECT o.place, o.slot, o.tenant, o.user_id, o.rev
        FROM unnest(old_slots, old_tenants, old_users, old_seqs) AS u (slot, tenant, user_id, seq)
        CROSS JOIN LATERAL (
            SELECT f.ctid AS place, f.slot, f.tenant, f.user_id, f.rev, f.at
            FROM peal.tombstone f
            WHERE f.slot = u.slot AND f.tenant = u.tenant AND f.user_id = u.user_id
                AND f.seq >= u.seq AND f.seq <= u.seq
            ORDER BY f.seq LIMIT 1
        ) o
        WHERE o.at <= keep_after
    ), dropped AS (
        DELETE FROM peal.tombstone t WHERE t.ctid = ANY (ARRAY(SELECT d.place FROM target d))
    )
    INSERT INTO peal.inbox AS i (slot, tenant, user_id, tombstone_floor)
        SELECT d.slot, d.tenant, d.user_id, max(d.rev) FROM target d
        GROUP BY d.slot, d.tenant, d.user_id
        ON CONFLICT (slot, tenant, user_id) DO UPDATE
            SET tombstone_floor = greatest(i.tombstone_floor, excluded.tombstone_floor);
END
$$;
