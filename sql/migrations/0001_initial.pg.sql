-- Names compare by bytes whatever the database's locale, so that every writer locks in one order:
-- (slot, tenant, user_id). The slot follows from tenant and user_id (codec/slot.h).
CREATE TABLE peal.meta (
    name text PRIMARY KEY,
    value text NOT NULL
);

-- changed_at: when rev was last raised, by the database's clock, in tens of seconds since 1970. So
-- coarse, it seldom changes, and most updates of a row leave its index alone. born: the number of the
-- tenant's posts when the inbox was made; through: it has what it gets of all posts up to it. devices: 1 where
-- the user has devices, or had some.
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
    born bigint NOT NULL DEFAULT 0,
    through bigint NOT NULL DEFAULT 0,
    topics integer NOT NULL DEFAULT 0,
    preference_rev bigint NOT NULL DEFAULT 0,
    devices smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (slot, tenant, user_id)
) WITH (fillfactor = 70);
CREATE INDEX inbox_changed ON peal.inbox (changed_at);
-- Those of users with devices (sql/store_push.h).
CREATE INDEX inbox_devices ON peal.inbox (changed_at, slot, tenant, user_id) WHERE devices > 0;

-- What a user wants (codec/preferences.h), durations in ms, and whether it hides from the others; asked for
-- where inbox.preference_rev is not 0, which counts the changes.
CREATE TABLE peal.preference (
    slot smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    body jsonb NOT NULL,
    hidden boolean NOT NULL DEFAULT false,
    PRIMARY KEY (slot, tenant, user_id)
);

-- Whether a user with preferences wants notifications of a type in the inbox; raises where any type's posts share
-- a row for the user, and all that is stored with it is stored by a statement that knows how (sql/pg_collapse.def).
CREATE FUNCTION peal.wants_apart(
    in_slot smallint, in_tenant text, in_user text, in_type text, usual boolean
) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    own jsonb := (SELECT p.body -> 'types' FROM peal.preference p
        WHERE p.slot = in_slot AND p.tenant = in_tenant AND p.user_id = in_user);
BEGIN
    IF jsonb_path_exists(own, '$.*.digest ? (@ > 0)') THEN
        RAISE EXCEPTION 'the user has a digest' USING ERRCODE = 'PE003';
    END IF;
    RETURN coalesce((own -> in_type ->> 'inbox')::boolean, usual);
END
$$;

-- What a user wants of a type: whether it is stored, and for how long after the first one posts share its row.
CREATE FUNCTION peal.prefers(
    in_slot smallint, in_tenant text, in_user text, in_type text, usual boolean, usual_span bigint,
    OUT wanted boolean, OUT span bigint
)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    own jsonb := (SELECT p.body -> 'types' -> in_type FROM peal.preference p
        WHERE p.slot = in_slot AND p.tenant = in_tenant AND p.user_id = in_user);
BEGIN
    wanted := coalesce((own ->> 'inbox')::boolean, usual);
    span := CASE WHEN own ? 'digest' THEN coalesce((own ->> 'digest')::bigint, 0)
        ELSE usual_span END;
END
$$;

-- The beginning of a text, without what separates the parts of a digest.
CREATE FUNCTION peal.brief(whole text, most integer) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT translate(CASE WHEN length(whole) > most THEN left(whole, most - 1) || E'\u2026' ELSE whole END,
        E'\x1e\x1f', '  ')
$$;

-- What a digest remembers of a post, and a digest with some more (codec/notification_digest.h).
CREATE FUNCTION peal.digest_entry(
    id text, at text, priority smallint, title text, message text, data bytea
) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT concat_ws(E'\x1f', id, at, priority, peal.brief(title, 120), peal.brief(message, 240),
        CASE WHEN octet_length(data) <= 512 THEN convert_from(data, 'UTF8') ELSE '' END)
$$;
CREATE FUNCTION peal.digest_list(list text, entries text[]) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT array_to_string(a.every[greatest(1, cardinality(a.every) - 9):], E'\x1e')
    FROM (SELECT string_to_array(coalesce(list, ''), E'\x1e') || entries AS every) a
$$;

-- A digest whose newest post has other content.
CREATE FUNCTION peal.digest_renew(
    list text, priority smallint, title text, message text, data bytea
) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN list = '' THEN '' ELSE array_to_string(a.every[:cardinality(a.every) - 1]
        || peal.digest_entry(split_part(a.every[cardinality(a.every)], E'\x1f', 1),
            split_part(a.every[cardinality(a.every)], E'\x1f', 2), priority, title, message, data),
        E'\x1e') END
    FROM (SELECT string_to_array(list, E'\x1e') AS every) a
$$;

-- The id of a digest's newest post; a digest without some of its posts; one in which a post that it holds has
-- other values where `fields` say so (codec/notification.h).
CREATE FUNCTION peal.digest_newest(list text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT split_part(a.every[cardinality(a.every)], E'\x1f', 1)
    FROM (SELECT string_to_array(list, E'\x1e') AS every) a
$$;
CREATE FUNCTION peal.digest_without(list text, posts text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(string_agg(e.entry, E'\x1e' ORDER BY e.place), '')
    FROM unnest(string_to_array(list, E'\x1e')) WITH ORDINALITY AS e (entry, place)
    WHERE split_part(e.entry, E'\x1f', 1) <> ALL (posts)
$$;
CREATE FUNCTION peal.digest_change(
    list text, post text, fields integer, priority smallint, title text, message text, data bytea
) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT coalesce(string_agg(CASE WHEN split_part(e.entry, E'\x1f', 1) <> post THEN e.entry
        ELSE concat_ws(E'\x1f', post, split_part(e.entry, E'\x1f', 2),
            CASE WHEN fields & 8 <> 0 THEN priority::text ELSE split_part(e.entry, E'\x1f', 3) END,
            CASE WHEN fields & 1 <> 0 THEN peal.brief(title, 120)
                ELSE split_part(e.entry, E'\x1f', 4) END,
            CASE WHEN fields & 2 <> 0 THEN peal.brief(message, 240)
                ELSE split_part(e.entry, E'\x1f', 5) END,
            CASE WHEN fields & 4 = 0 THEN split_part(e.entry, E'\x1f', 6)
                WHEN octet_length(data) <= 512 THEN convert_from(data, 'UTF8') ELSE '' END)
        END, E'\x1e' ORDER BY e.place), '')
    FROM unnest(string_to_array(list, E'\x1e')) WITH ORDINALITY AS e (entry, place)
$$;

-- Rows that are to be stored, from their columns, and what their users want of them
-- (sql/pg_collapse.def). span: for how long after the first one they share its row; 0: they do not.
CREATE FUNCTION peal.posted(
    smallint[], text[], text[], uuid[], uuid[], uuid[], text[], text[], text[], bytea[], smallint[],
    bigint[], bigint[], smallint[], text[], bigint[]
) RETURNS TABLE (
    slot smallint, tenant text, user_id text, key uuid, content uuid, id uuid, type text, title text,
    message text, data bytea, priority smallint, at bigint, till bigint, wanted boolean, name text,
    span bigint, entry text, n bigint
)
LANGUAGE sql STABLE AS $$
    SELECT r.slot, r.tenant, r.user_id, r.key, r.content, r.id, r.type, r.title, r.message, r.data,
        r.priority, r.at, r.till, w.wanted, r.name, s.span, CASE WHEN s.span > 0
            THEN peal.digest_entry(r.id::text, r.at::text, r.priority, r.title, r.message, r.data)
            END, r.n
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        WITH ORDINALITY AS r (slot, tenant, user_id, key, content, id, type, title, message, data,
            priority, at, till, unwanted, name, span, n)
    CROSS JOIN LATERAL
        peal.prefers(r.slot, r.tenant, r.user_id, r.type, r.unwanted = 0, r.span) w
    CROSS JOIN LATERAL (
        SELECT CASE WHEN r.name = '' AND r.priority < 3 THEN w.span ELSE 0 END AS span OFFSET 0
    ) s
$$;


-- rev: of the last change. new_rev: of the change that last made it new (stored, came back); lists go by
-- it. whole_rev: of the last change after which a device needs the whole row (also taken out of the
-- archive). state follows from the times behind it (codec/notification_mark.h). count: how many posts it
-- stands for; updated_at: when its content was replaced last; digest: what it remembers of posts of
-- its type that share it (codec/notification_digest.h), '' where they do not. audience_n: of the post
-- to many that it was made from, audience: kind, id and topic of that (sql/audience.h), and
-- audience_edit: which change of its content the row has.
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
    audience_n bigint NOT NULL DEFAULT 0,
    audience text NOT NULL DEFAULT '',
    audience_edit integer NOT NULL DEFAULT 0,
    digest text NOT NULL DEFAULT '',
    PRIMARY KEY (slot, tenant, user_id, seq)
);
CREATE UNIQUE INDEX notification_id ON peal.notification (id, slot);
CREATE INDEX notification_new ON peal.notification (slot, tenant, user_id, new_rev, seq);
CREATE INDEX notification_changed ON peal.notification (slot, tenant, user_id, rev)
    WHERE rev > new_rev;
CREATE INDEX notification_whole ON peal.notification (slot, tenant, user_id, whole_rev)
    WHERE whole_rev > new_rev;
CREATE INDEX notification_open ON peal.notification (slot, tenant, user_id, state, seq)
    WHERE state < 2;
CREATE INDEX notification_collapse ON peal.notification (slot, tenant, user_id, collapse, seq)
    WHERE collapse <> '' AND state < 2;
CREATE INDEX notification_digest ON peal.notification (slot, tenant, user_id, type, seq)
    WHERE digest <> '' AND state < 2;
CREATE INDEX notification_expiry ON peal.notification (expires_at) WHERE expires_at > 0;
CREATE INDEX notification_snoozed ON peal.notification (snoozed_until) WHERE snoozed_until > 0;
CREATE UNIQUE INDEX notification_audience ON peal.notification (tenant, audience_n, user_id)
    WHERE audience_n > 0;

-- The inbox of a user.
CREATE FUNCTION peal.box(which smallint, space text, who text) RETURNS TABLE (
    box tid, b_seq bigint, b_rev bigint, b_unread bigint, b_unseen bigint
)
LANGUAGE sql STABLE AS $$
    SELECT b.ctid, b.seq, b.rev, b.unread, b.unseen FROM peal.inbox b
    WHERE b.slot = which AND b.tenant = space AND b.user_id = who LIMIT 1
$$;

-- The newest open row of a name, or of a type that has a digest which began less than its span before.
CREATE FUNCTION peal.open_row(
    which smallint, space text, who text, name text, of_type text, span bigint, began bigint
) RETURNS TABLE (
    o_place tid, o_seq bigint, o_id uuid, o_state smallint, o_count bigint, o_at bigint,
    o_till bigint, o_digest text
)
LANGUAGE sql STABLE AS $$
    (SELECT f.ctid, f.seq, f.id, f.state, f.count, f.created_at, f.expires_at, f.digest
        FROM peal.notification f
        WHERE f.slot = which AND f.tenant = space AND f.user_id = who AND f.state < 2
            AND name <> '' AND f.collapse <> '' AND f.collapse >= name AND f.collapse <= name
        ORDER BY f.collapse DESC, f.seq DESC LIMIT 1)
    UNION ALL
    (SELECT d.* FROM (
        SELECT f.ctid, f.seq, f.id, f.state, f.count, f.created_at, f.expires_at, f.digest
            FROM peal.notification f
            WHERE f.slot = which AND f.tenant = space AND f.user_id = who AND f.state < 2
                AND span > 0 AND f.digest <> '' AND f.type >= of_type AND f.type <= of_type
            ORDER BY f.type DESC, f.seq DESC LIMIT 1
        ) d WHERE d.created_at > began - span)
$$;

-- When a row ends that is there as long as any of its posts, of which some end at 0, never.
CREATE FUNCTION peal.last_end(soonest bigint, latest bigint, other bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN soonest = 0 OR other = 0 THEN 0 ELSE greatest(latest, other) END
$$;

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

-- Posts to many. n: of a tenant's posts in the order of their commits, without holes, because
-- whoever posts holds the head's lock up to the commit. kind 1: everybody, with the name '' those whose
-- inbox began before, with '+' also others; 2: the topic `name`; 3: a list of members of its own, whose
-- name is the post's id. unwanted: only who asks for its type gets it. digest_ms: for so long after the
-- first one posts of its type share a row, unless a user says otherwise; -1: it shares none, it was urgent.
-- ended: nobody gets it any more, and it is kept while rows of it are (retention). edits: how often its
-- content was changed, the last time at updated_at.
CREATE TABLE peal.audience_head (
    tenant text COLLATE "C" PRIMARY KEY,
    n bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE peal.audience_post (
    tenant text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    kind smallint NOT NULL,
    name text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    type text NOT NULL,
    title text NOT NULL,
    message text NOT NULL,
    data bytea NOT NULL,
    priority smallint NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    unwanted boolean NOT NULL DEFAULT false,
    digest_ms bigint NOT NULL DEFAULT 0,
    retracted boolean NOT NULL DEFAULT false,
    ended boolean NOT NULL DEFAULT false,
    edits integer NOT NULL DEFAULT 0,
    updated_at bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, n)
);
CREATE UNIQUE INDEX audience_post_id ON peal.audience_post (id);
CREATE INDEX audience_post_name ON peal.audience_post (tenant, kind, name, n);
CREATE INDEX audience_post_created ON peal.audience_post (created_at);
CREATE INDEX audience_post_expiry ON peal.audience_post (expires_at) WHERE expires_at > 0;

-- Who gets a post n of (kind, name): from_n < n <= to_n. Who leaves and comes back has two intervals.
CREATE TABLE peal.member (
    slot smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    name text COLLATE "C" NOT NULL,
    from_n bigint NOT NULL,
    to_n bigint NOT NULL DEFAULT 9223372036854775807,
    PRIMARY KEY (slot, tenant, user_id, kind, name, from_n)
);
CREATE UNIQUE INDEX member_open ON peal.member (tenant, kind, name, user_id)
    WHERE to_n = 9223372036854775807;
CREATE INDEX member_list ON peal.member (tenant, name, user_id) WHERE kind = 3;

-- Posts to many that joined a digest: post n is in the row `seq`, with the content of change `edit`. Of the
-- one that a digest began with the row itself says that (audience_n). What is here of a row that has gone
-- since goes with the post.
CREATE TABLE peal.digest_post (
    slot smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    seq bigint NOT NULL,
    edit integer NOT NULL,
    PRIMARY KEY (slot, tenant, user_id, seq, n)
);
CREATE UNIQUE INDEX digest_post_n ON peal.digest_post (tenant, n, user_id);

CREATE TABLE peal.audience_key (
    tenant text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    name text COLLATE "C" NOT NULL,
    key_hash uuid NOT NULL,
    content_hash uuid NOT NULL,
    n bigint NOT NULL,
    id uuid NOT NULL,
    PRIMARY KEY (tenant, kind, name, key_hash)
);

-- Posts that are being taken back (edit 0): what was made of them goes, and what is being made of them
-- by transactions that have read them before. Or posts whose content was changed: rows with an
-- audience_edit below `edit` get of the post what was changed since, that is, each field with a number
-- above it (title_edit and those behind it: which edit changed it last); the sweep goes through them by user and
-- has come to `past`. horizon: the first transaction that cannot have read the post as it was; 0: the
-- sweep has not seen it yet. at: since when, ms since 1970.
CREATE TABLE peal.audience_change (
    tenant text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    horizon bigint NOT NULL DEFAULT 0,
    edit integer NOT NULL DEFAULT 0,
    title_edit integer NOT NULL DEFAULT 0,
    message_edit integer NOT NULL DEFAULT 0,
    data_edit integer NOT NULL DEFAULT 0,
    priority_edit integer NOT NULL DEFAULT 0,
    expires_edit integer NOT NULL DEFAULT 0,
    past text COLLATE "C" NOT NULL DEFAULT '',
    at bigint NOT NULL DEFAULT floor(extract(epoch FROM clock_timestamp()) * 1000),
    PRIMARY KEY (tenant, n)
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

-- Locks the inboxes that nobody else has locked, in one order, and tells which they are: what is done of
-- its own accord waits for nobody, and comes again for the others.
CREATE FUNCTION peal.hold(slots smallint[], tenants text[], users text[])
RETURNS TABLE (slot smallint, tenant text, user_id text)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT i.slot, i.tenant::text, i.user_id::text
        FROM (
            SELECT n.slot, n.tenant, n.user_id
            FROM unnest(slots, tenants, users) AS n (slot, tenant, user_id)
            GROUP BY n.slot, n.tenant, n.user_id
            ORDER BY n.slot, n.tenant COLLATE "C", n.user_id COLLATE "C"
        ) u CROSS JOIN LATERAL (
            SELECT b.slot, b.tenant, b.user_id FROM peal.inbox b
            WHERE b.slot = u.slot AND b.tenant = u.tenant AND b.user_id = u.user_id
            LIMIT 1 FOR UPDATE SKIP LOCKED
        ) i;
END
$$;

-- Puts tombstones in the place of rows, whose inboxes are locked: takes them out of the counters, under
-- one rev a user. The arrays belong together; the places are the rows' ctids.
CREATE FUNCTION peal.bury(
    places tid[], slots smallint[], tenants text[], users text[], seqs bigint[], ids uuid[],
    states smallint[], as_state smallint, instant bigint
) RETURNS TABLE (
    ret_tenant text, ret_user text, ret_seq bigint, ret_rev bigint, ret_unread bigint,
    ret_unseen bigint, ret_id uuid, ret_row_seq bigint, ret_state smallint
)
LANGUAGE plpgsql AS $$
BEGIN
    IF places IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM peal.notification n WHERE n.ctid = ANY (places);
    RETURN QUERY
        WITH target AS MATERIALIZED (
            SELECT * FROM unnest(slots, tenants, users, seqs, ids, states)
                AS t (slot, tenant, user_id, seq, id, state)
        ), box AS (
            INSERT INTO peal.inbox AS i (slot, tenant, user_id, unread, unseen, changed_at)
            SELECT t.slot, t.tenant, t.user_id, count(*) FILTER (WHERE t.state < 2),
                count(*) FILTER (WHERE t.state = 0),
                floor(extract(epoch FROM clock_timestamp()) / 10)::integer
            FROM target t GROUP BY t.slot, t.tenant, t.user_id
            ON CONFLICT (slot, tenant, user_id) DO UPDATE SET rev = i.rev + 1,
                unread = i.unread - excluded.unread, unseen = i.unseen - excluded.unseen,
                changed_at = excluded.changed_at
            RETURNING i.slot, i.tenant, i.user_id, i.seq, i.rev, i.unread, i.unseen
        ), buried AS (
            INSERT INTO peal.tombstone (slot, tenant, user_id, seq, rev, id, state, at)
            SELECT t.slot, t.tenant, t.user_id, t.seq, b.rev, t.id, as_state, instant
            FROM target t
            JOIN box b ON b.slot = t.slot AND b.tenant = t.tenant AND b.user_id = t.user_id
        )
        SELECT b.tenant::text, b.user_id::text, b.seq, b.rev, b.unread, b.unseen, t.id, t.seq,
            as_state
        FROM target t
        JOIN box b ON b.slot = t.slot AND b.tenant = t.tenant AND b.user_id = t.user_id
        ORDER BY b.slot, b.tenant, b.user_id, t.seq;
END
$$;

-- Transactions of one session that are sent together go in their order: one behind another that was
-- undone is undone, too. `me` is set with the transaction that sets it; `before` 0: it is the first.
CREATE FUNCTION peal.follow(before bigint, me bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF before > 0 AND current_setting('peal.went', true) IS DISTINCT FROM before::text THEN
        RAISE EXCEPTION 'the transaction before it was undone' USING ERRCODE = 'PE004';
    END IF;
    PERFORM set_config('peal.went', me::text, false);
END
$$;

-- The keys of what is due, the first ones first, behind `past` of them: rows that expire (kind 0), that
-- come back (1), tombstones (2).
CREATE FUNCTION peal.due_keys(kind integer, until bigint, past bigint, most bigint)
RETURNS TABLE (slot smallint, tenant text, user_id text, seq bigint, at bigint)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF kind = 0 THEN
        RETURN QUERY SELECT n.slot, n.tenant::text, n.user_id::text, n.seq, n.expires_at
            FROM peal.notification n WHERE n.expires_at > 0 AND n.expires_at <= until
            ORDER BY n.expires_at OFFSET past LIMIT most;
    ELSIF kind = 1 THEN
        RETURN QUERY SELECT n.slot, n.tenant::text, n.user_id::text, n.seq, n.snoozed_until
            FROM peal.notification n WHERE n.snoozed_until > 0 AND n.snoozed_until <= until
            ORDER BY n.snoozed_until OFFSET past LIMIT most;
    ELSE
        RETURN QUERY SELECT t.slot, t.tenant::text, t.user_id::text, t.seq, t.at
            FROM peal.tombstone t WHERE t.at <= until ORDER BY t.at OFFSET past LIMIT most;
    END IF;
END
$$;

-- The same where nobody else has locked the inbox, which is locked now: of what is due first, and behind that
-- where so much of it is locked, as far as eight times `most`. first_at: when the first was due that is
-- locked or not; more: there may be more that is free.
CREATE FUNCTION peal.hold_due(
    kind integer, until bigint, most bigint, OUT slots smallint[], OUT tenants text[],
    OUT users text[], OUT seqs bigint[], OUT first_at bigint, OUT more boolean
)
LANGUAGE plpgsql AS $$
DECLARE
    near record;
    free record;
BEGIN
    more := false;
    FOR turn IN 0 .. 7 LOOP
        SELECT array_agg(k.slot) AS slots, array_agg(k.tenant) AS tenants,
                array_agg(k.user_id) AS users, array_agg(k.seq) AS seqs, min(k.at) AS at
            INTO near FROM peal.due_keys(kind, until, turn * most, most) k;
        EXIT WHEN near.seqs IS NULL;
        first_at := least(first_at, near.at);
        SELECT array_agg(u.slot) AS slots, array_agg(u.tenant) AS tenants,
                array_agg(u.user_id) AS users, array_agg(u.seq) AS seqs
            INTO free
            FROM unnest(near.slots, near.tenants, near.users, near.seqs)
                AS u (slot, tenant, user_id, seq)
            JOIN peal.hold(near.slots, near.tenants, near.users) AS h (slot, tenant, user_id)
                ON h.slot = u.slot AND h.tenant = u.tenant AND h.user_id = u.user_id;
        slots := slots || free.slots;
        tenants := tenants || free.tenants;
        users := users || free.users;
        seqs := seqs || free.seqs;
        more := seqs IS NOT NULL AND (cardinality(near.seqs) >= most OR cardinality(seqs) > most);
        EXIT WHEN cardinality(near.seqs) < most OR cardinality(seqs) >= most;
    END LOOP;
    slots := slots[:most];
    tenants := tenants[:most];
    users := users[:most];
    seqs := seqs[:most];
END
$$;

-- Each statement of a volatile function has its own snapshot: those behind the lock see what
-- others committed before it was got. The first row tells whether there is more to do and for how long
-- the first row has been due, the others what has other content (ret_state -1), what expired (ret_state 5)
-- and what came back (ret_state 0).
-- Rows are found by key, one by one, and changed by ctid, so that no plan can read a table (sql/pg.def).
CREATE FUNCTION peal.sweep(until bigint, keep_after bigint, most bigint)
RETURNS TABLE (
    ret_tenant text, ret_user text, ret_seq bigint, ret_rev bigint, ret_unread bigint,
    ret_unseen bigint, ret_id uuid, ret_row_seq bigint, ret_state smallint, ret_more boolean,
    ret_late bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    due record;
    awake record;
    old record;
    places tid[];
    slots smallint[];
    tenants text[];
    users text[];
    seqs bigint[];
    ids uuid[];
    states smallint[];
    woken record;
BEGIN
    SELECT * INTO due FROM peal.hold_due(0, until, most);
    SELECT * INTO awake FROM peal.hold_due(1, until, most);
    SELECT * INTO old FROM peal.hold_due(2, keep_after, most);
    RETURN QUERY SELECT NULL::text, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint,
        NULL::bigint, NULL::uuid, NULL::bigint, NULL::smallint, due.more OR awake.more OR old.more,
        until - coalesce(least(due.first_at, awake.first_at), until);
    -- What was given another end before this one had come does not end: it is given that first.
    IF EXISTS (SELECT FROM peal.audience_change c WHERE c.tenant >= '' LIMIT 1) THEN
        RETURN QUERY SELECT r.* FROM peal.renew_due(due.slots, due.tenants, due.users, due.seqs) r;
    END IF;
    -- Nobody remembers the number of a node that raised it last a day before another did. Counted by
    -- the clock that stamps the rows: that of who sweeps may be wrong.
    DELETE FROM peal.witness w WHERE w.at < (SELECT max(m.at) FROM peal.witness m) - 86400000;
    SELECT array_agg(n.place), array_agg(n.slot), array_agg(n.tenant::text),
            array_agg(n.user_id::text), array_agg(n.seq), array_agg(n.id), array_agg(n.state)
        INTO places, slots, tenants, users, seqs, ids, states
        FROM unnest(due.slots, due.tenants, due.users, due.seqs) AS u (slot, tenant, user_id, seq)
        CROSS JOIN LATERAL (
            SELECT f.ctid AS place, f.slot, f.tenant, f.user_id, f.seq, f.id, f.state,
                f.expires_at
            FROM peal.notification f
            WHERE f.slot = u.slot AND f.tenant = u.tenant AND f.user_id = u.user_id
                AND f.seq >= u.seq AND f.seq <= u.seq
            ORDER BY f.seq LIMIT 1
        ) n
        WHERE n.expires_at > 0 AND n.expires_at <= until;
    RETURN QUERY SELECT b.*, NULL::boolean, NULL::bigint
        FROM peal.bury(places, slots, tenants, users, seqs, ids, states, 5::smallint, until) b;
    -- What comes back is new again: one rev for all rows of a user.
    FOR woken IN
        SELECT t.slot, t.tenant, t.user_id, array_agg(t.place) AS places,
            array_agg(t.id ORDER BY t.seq) AS ids, array_agg(t.seq ORDER BY t.seq) AS seqs
        FROM (
            SELECT n.* FROM unnest(awake.slots, awake.tenants, awake.users, awake.seqs)
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
            ret_unseen, r.id, r.seq, 0::smallint, NULL::boolean, NULL::bigint
            FROM unnest(woken.ids, woken.seqs) AS r (id, seq);
    END LOOP;
    WITH target AS MATERIALIZED (
        SELECT o.place, o.slot, o.tenant, o.user_id, o.rev
        FROM unnest(old.slots, old.tenants, old.users, old.seqs) AS u (slot, tenant, user_id, seq)
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

-- The numbers that `most` posts at most have which a user lacks, in their order. `past`: the user has
-- all up to it; `began`: where the tenant stood when the inbox was made.
CREATE FUNCTION peal.pending(
    which smallint, space text, who text, past bigint, began bigint, head bigint, instant bigint,
    most bigint
) RETURNS SETOF bigint
LANGUAGE sql STABLE AS $$
    SELECT q.n FROM (
        (SELECT p.n FROM peal.audience_post p
            WHERE p.tenant = space AND p.kind = 1 AND p.name = '' AND p.n > greatest(past, began)
                AND p.n <= head AND NOT p.retracted
                AND NOT p.ended AND (p.expires_at = 0 OR p.expires_at > instant)
            ORDER BY p.n LIMIT most)
        UNION ALL
        (SELECT p.n FROM peal.audience_post p
            WHERE p.tenant = space AND p.kind = 1 AND p.name = '+' AND p.n > past
                AND p.n <= head AND NOT p.retracted
                AND NOT p.ended AND (p.expires_at = 0 OR p.expires_at > instant)
            ORDER BY p.n LIMIT most)
        UNION ALL
        (SELECT o.n FROM (
                SELECT m.kind, m.name, m.from_n, m.to_n FROM peal.member m
                WHERE m.slot = which AND m.tenant = space AND m.user_id = who AND m.to_n > past
                OFFSET 0
            ) m CROSS JOIN LATERAL (
                SELECT p.n FROM peal.audience_post p
                WHERE p.tenant = space AND p.kind = m.kind AND p.name = m.name
                    AND p.n > greatest(m.from_n, past) AND p.n <= least(m.to_n, head)
                    AND NOT p.retracted AND NOT p.ended
                    AND (p.expires_at = 0 OR p.expires_at > instant)
                ORDER BY p.n LIMIT most
            ) o)
    ) q ORDER BY q.n LIMIT most
$$;

-- What a user has of a post to many: the row that was made of it, or the digest that it joined (`mark`: where that
-- is noted; without `place` the row is gone).
CREATE FUNCTION peal.held(space text, who text, number bigint) RETURNS TABLE (
    place tid, mark tid, slot smallint, seq bigint, id uuid, state smallint, count bigint,
    digest text, edit integer
)
LANGUAGE sql STABLE AS $$
    (SELECT a.ctid, NULL::tid, a.slot, a.seq, a.id, a.state, a.count, a.digest, a.audience_edit
        FROM peal.notification a
        WHERE a.tenant = space AND a.audience_n > 0 AND a.audience_n = number
            AND a.user_id >= who AND a.user_id <= who
        ORDER BY a.user_id LIMIT 1)
    UNION ALL
    (SELECT r.place, g.mark, g.slot, g.seq, r.id, r.state, r.count, r.digest, g.edit
        FROM (
            SELECT o.ctid AS mark, o.slot, o.seq, o.edit FROM peal.digest_post o
            WHERE o.tenant = space AND o.n = number AND o.user_id >= who AND o.user_id <= who
            ORDER BY o.user_id LIMIT 1
        ) g LEFT JOIN LATERAL (
            SELECT f.ctid AS place, f.id, f.state, f.count, f.digest FROM peal.notification f
            WHERE f.slot = g.slot AND f.tenant = space AND f.user_id = who
                AND f.seq >= g.seq AND f.seq <= g.seq
            ORDER BY f.seq LIMIT 1
        ) r ON true)
$$;

-- What a digest shows: its newest post, whole where that is a post to many which still says what is remembered.
CREATE FUNCTION peal.digest_shown(space text, list text) RETURNS TABLE (
    title text, message text, data bytea, priority smallint, audience text, at bigint
)
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN peal.brief(p.title, 120) = e.part[4] THEN p.title ELSE e.part[4] END,
        CASE WHEN peal.brief(p.message, 240) = e.part[5] THEN p.message ELSE e.part[5] END,
        CASE WHEN e.part[6] = '' AND octet_length(p.data) > 512 THEN p.data
            ELSE convert_to(e.part[6], 'UTF8') END,
        e.part[3]::smallint,
        CASE WHEN p.id IS NULL THEN '' ELSE p.kind::text || p.id::text
            || CASE WHEN p.kind = 2 THEN p.name ELSE '' END END,
        e.part[2]::bigint
    FROM (
        SELECT string_to_array(a.every[cardinality(a.every)], E'\x1f') AS part
        FROM (SELECT string_to_array(list, E'\x1e') AS every) a
    ) e LEFT JOIN LATERAL (
        SELECT o.* FROM peal.audience_post o
        WHERE o.id >= e.part[1]::uuid AND o.id <= e.part[1]::uuid ORDER BY o.id LIMIT 1
    ) p ON p.tenant = space
$$;

-- Takes posts out of digests that hold others: `kept` is what is left of the list, `fewer` how many go, `shown`
-- whether the newest is one of them, `first` whether the one that the digest began with is. A rev for all of a
-- user, without a change of state or place. Told as rows that came back.
CREATE FUNCTION peal.take_out(
    places tid[], slots smallint[], tenants text[], users text[], seqs bigint[], ids uuid[],
    kept text[], fewer bigint[], shown boolean[], first boolean[]
) RETURNS TABLE (
    ret_tenant text, ret_user text, ret_seq bigint, ret_rev bigint, ret_unread bigint,
    ret_unseen bigint, ret_id uuid, ret_row_seq bigint, ret_state smallint
)
LANGUAGE sql VOLATILE AS $$
    WITH target AS MATERIALIZED (
        SELECT t.*, s.title, s.message, s.data, s.priority, s.audience, s.at
        FROM unnest(places, slots, tenants, users, seqs, ids, kept, fewer, shown, first)
            AS t (place, slot, tenant, user_id, seq, id, digest, fewer, shown, first)
        CROSS JOIN LATERAL peal.digest_shown(t.tenant, t.digest) s
    ), box AS (
        INSERT INTO peal.inbox AS i (slot, tenant, user_id, changed_at)
        SELECT t.slot, t.tenant, t.user_id,
            floor(extract(epoch FROM clock_timestamp()) / 10)::integer
        FROM target t GROUP BY t.slot, t.tenant, t.user_id
        ON CONFLICT (slot, tenant, user_id) DO UPDATE SET rev = i.rev + 1,
            changed_at = excluded.changed_at
        RETURNING i.slot, i.tenant, i.user_id, i.seq, i.rev, i.unread, i.unseen
    ), placed AS MATERIALIZED (
        SELECT t.*, b.rev
        FROM target t
        JOIN box b ON b.slot = t.slot AND b.tenant = t.tenant AND b.user_id = t.user_id
    ), changed AS (
        UPDATE peal.notification n SET digest = t.digest, count = n.count - t.fewer,
            title = CASE WHEN t.shown THEN t.title ELSE n.title END,
            message = CASE WHEN t.shown THEN t.message ELSE n.message END,
            data = CASE WHEN t.shown THEN t.data ELSE n.data END,
            priority = CASE WHEN t.shown THEN t.priority ELSE n.priority END,
            audience = CASE WHEN t.shown THEN t.audience ELSE n.audience END,
            audience_n = CASE WHEN t.first THEN 0 ELSE n.audience_n END,
            updated_at = CASE WHEN t.shown THEN t.at ELSE n.updated_at END, rev = t.rev,
            whole_rev = t.rev
        FROM placed t WHERE n.ctid = t.place
    )
    SELECT b.tenant::text, b.user_id::text, b.seq, b.rev, b.unread, b.unseen, t.id, t.seq,
        0::smallint
    FROM target t
    JOIN box b ON b.slot = t.slot AND b.tenant = t.tenant AND b.user_id = t.user_id
    ORDER BY b.slot, b.tenant, b.user_id, t.seq
$$;

-- Erases what the users have of those of the posts that are being taken back, with a tombstone, and
-- tells it as peal.sweep does; a digest that holds others is left without them. Their inboxes are
-- locked. The four arrays belong together.
CREATE FUNCTION peal.take_back(
    slots smallint[], tenants text[], users text[], numbers bigint[], instant bigint
) RETURNS TABLE (
    ret_tenant text, ret_user text, ret_seq bigint, ret_rev bigint, ret_unread bigint,
    ret_unseen bigint, ret_id uuid, ret_row_seq bigint, ret_state smallint
)
LANGUAGE plpgsql AS $$
DECLARE
    lost record;
    marks tid[] := '{}';
    kept text;
    out_places tid[];
    out_slots smallint[];
    out_tenants text[];
    out_users text[];
    out_seqs bigint[];
    out_ids uuid[];
    out_kept text[];
    out_fewer bigint[];
    out_shown boolean[];
    out_first boolean[];
    places tid[];
    row_slots smallint[];
    row_tenants text[];
    row_users text[];
    seqs bigint[];
    ids uuid[];
    states smallint[];
BEGIN
    FOR lost IN
        SELECT h.place, h.slot, u.tenant, u.user_id, h.seq, h.id, h.state, h.count, h.digest,
            count(*) AS fewer, array_agg(p.id::text) AS posts, bool_or(h.mark IS NULL) AS first,
            array_agg(h.mark) FILTER (WHERE h.mark IS NOT NULL) AS marks
        FROM unnest(slots, tenants, users, numbers) AS u (slot, tenant, user_id, n)
        CROSS JOIN LATERAL (
            SELECT FROM peal.audience_change c
            WHERE c.tenant = u.tenant AND c.n >= u.n AND c.n <= u.n AND c.edit = 0
            ORDER BY c.n LIMIT 1
        ) c
        CROSS JOIN LATERAL peal.held(u.tenant, u.user_id, u.n) h
        LEFT JOIN LATERAL (
            SELECT o.id FROM peal.audience_post o
            WHERE o.tenant = u.tenant AND o.n >= u.n AND o.n <= u.n ORDER BY o.n LIMIT 1
        ) p ON true
        GROUP BY h.place, h.slot, u.tenant, u.user_id, h.seq, h.id, h.state, h.count, h.digest
    LOOP
        marks := marks || lost.marks;
        CONTINUE WHEN lost.place IS NULL;
        kept := CASE WHEN lost.count > lost.fewer
            THEN peal.digest_without(lost.digest, lost.posts) ELSE '' END;
        IF kept = '' THEN
            places := places || lost.place;
            row_slots := row_slots || lost.slot;
            row_tenants := row_tenants || lost.tenant;
            row_users := row_users || lost.user_id;
            seqs := seqs || lost.seq;
            ids := ids || lost.id;
            states := states || lost.state;
        ELSE
            out_places := out_places || lost.place;
            out_slots := out_slots || lost.slot;
            out_tenants := out_tenants || lost.tenant;
            out_users := out_users || lost.user_id;
            out_seqs := out_seqs || lost.seq;
            out_ids := out_ids || lost.id;
            out_kept := out_kept || kept;
            out_fewer := out_fewer || lost.fewer;
            out_shown := out_shown
                || (peal.digest_newest(lost.digest) <> peal.digest_newest(kept));
            out_first := out_first || lost.first;
        END IF;
    END LOOP;
    DELETE FROM peal.digest_post g WHERE g.ctid = ANY (marks);
    IF out_places IS NOT NULL THEN
        RETURN QUERY SELECT t.* FROM peal.take_out(out_places, out_slots, out_tenants, out_users,
            out_seqs, out_ids, out_kept, out_fewer, out_shown, out_first) t;
    END IF;
    RETURN QUERY SELECT b.* FROM peal.bury(places, row_slots, row_tenants, row_users, seqs, ids,
        states, 6::smallint, instant) b;
END
$$;

-- What the users have of those of the posts whose content was changed, of which change that is not yet, and which
-- fields were changed since (codec/notification.h).
CREATE FUNCTION peal.outdated(
    slots smallint[], tenants text[], users text[], numbers bigint[]
) RETURNS TABLE (
    place tid, mark tid, slot smallint, tenant text, user_id text, seq bigint, id uuid,
    digest text, n bigint, edit integer, fields integer
)
LANGUAGE sql STABLE AS $$
    SELECT h.place, h.mark, u.slot, u.tenant, u.user_id, h.seq, h.id, h.digest, u.n, c.edit,
        (h.edit < c.title_edit)::integer + 2 * (h.edit < c.message_edit)::integer
        + 4 * (h.edit < c.data_edit)::integer + 8 * (h.edit < c.priority_edit)::integer
        + 16 * (h.edit < c.expires_edit)::integer
    FROM unnest(slots, tenants, users, numbers) AS u (slot, tenant, user_id, n)
    CROSS JOIN LATERAL (
        SELECT o.* FROM peal.audience_change o
        WHERE o.tenant = u.tenant AND o.n >= u.n AND o.n <= u.n AND o.edit > 0
        ORDER BY o.n LIMIT 1
    ) c
    CROSS JOIN LATERAL peal.held(u.tenant, u.user_id, u.n) h
    WHERE h.edit < c.edit
$$;

-- Gives a digest what a post that it holds says now; what it shows changes if that is its newest.
CREATE FUNCTION peal.renew_digest(
    which smallint, space text, who text, number bigint, post bigint, fields integer
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    p record;
    r record;
BEGIN
    SELECT o.* INTO p FROM peal.audience_post o
        WHERE o.tenant = space AND o.n >= post AND o.n <= post ORDER BY o.n LIMIT 1;
    SELECT f.ctid AS place, CASE WHEN peal.digest_newest(f.digest) = p.id::text
            THEN fields ELSE 0 END AS shown INTO r
        FROM peal.notification f
        WHERE f.slot = which AND f.tenant = space AND f.user_id = who
            AND f.seq >= number AND f.seq <= number
        ORDER BY f.seq LIMIT 1;
    UPDATE peal.notification n SET
        digest = peal.digest_change(n.digest, p.id::text, fields, p.priority, p.title, p.message,
            p.data),
        title = CASE WHEN r.shown & 1 <> 0 THEN p.title ELSE n.title END,
        message = CASE WHEN r.shown & 2 <> 0 THEN p.message ELSE n.message END,
        data = CASE WHEN r.shown & 4 <> 0 THEN p.data ELSE n.data END,
        priority = CASE WHEN r.shown & 8 <> 0 THEN p.priority ELSE n.priority END,
        expires_at = CASE WHEN fields & 16 = 0 THEN n.expires_at WHEN n.count = 1 THEN p.expires_at
            ELSE peal.last_end(n.expires_at, n.expires_at, p.expires_at) END,
        updated_at = greatest(n.updated_at, p.updated_at)
        WHERE n.ctid = r.place;
END
$$;

-- Gives what the users have of those of the posts whose content was changed the content that these
-- have now: a rev for all of a user, without a change of state or place. Told as rows that came back.
CREATE FUNCTION peal.renew(
    slots smallint[], tenants text[], users text[], numbers bigint[]
) RETURNS TABLE (
    ret_tenant text, ret_user text, ret_seq bigint, ret_rev bigint, ret_unread bigint,
    ret_unseen bigint, ret_id uuid, ret_row_seq bigint, ret_state smallint
)
LANGUAGE plpgsql AS $$
DECLARE
    shared record;
    d_slots smallint[];
    d_tenants text[];
    d_users text[];
    d_numbers bigint[];
    d_edits integer[];
BEGIN
    -- One by one: a digest may hold several of the posts. What a digest was given is noted as it was read here: the
    -- statement below may see a change that was made since.
    FOR shared IN
        SELECT o.* FROM peal.outdated(slots, tenants, users, numbers) o WHERE o.digest <> ''
        ORDER BY o.n
    LOOP
        PERFORM peal.renew_digest(shared.slot, shared.tenant, shared.user_id, shared.seq, shared.n,
            shared.fields);
        d_slots := d_slots || shared.slot;
        d_tenants := d_tenants || shared.tenant::text;
        d_users := d_users || shared.user_id::text;
        d_numbers := d_numbers || shared.n;
        d_edits := d_edits || shared.edit;
    END LOOP;
    RETURN QUERY
    WITH target AS MATERIALIZED (
        SELECT o.place, o.mark, o.slot, o.tenant, o.user_id, o.seq, o.id, o.n, o.edit, o.fields
        FROM peal.outdated(slots, tenants, users, numbers) o WHERE coalesce(o.digest, '') = ''
        UNION ALL
        SELECT h.place, h.mark, d.slot, d.tenant, d.user_id, h.seq, h.id, d.n, d.edit, NULL
        FROM unnest(d_slots, d_tenants, d_users, d_numbers, d_edits)
            AS d (slot, tenant, user_id, n, edit)
        CROSS JOIN LATERAL peal.held(d.tenant, d.user_id, d.n) h
    ), box AS (
        INSERT INTO peal.inbox AS i (slot, tenant, user_id, changed_at)
        SELECT t.slot, t.tenant, t.user_id,
            floor(extract(epoch FROM clock_timestamp()) / 10)::integer
        FROM target t WHERE t.id IS NOT NULL GROUP BY t.slot, t.tenant, t.user_id
        ON CONFLICT (slot, tenant, user_id) DO UPDATE SET rev = i.rev + 1,
            changed_at = excluded.changed_at
        RETURNING i.slot, i.tenant, i.user_id, i.seq, i.rev, i.unread, i.unseen
    ), placed AS MATERIALIZED (
        -- made: of the post that the row was made of, if that is one of them
        SELECT t.place, t.slot, t.tenant, t.user_id, t.seq, t.id, b.rev, b.seq AS head, b.unread,
            b.unseen, max(t.n) FILTER (WHERE t.mark IS NULL) AS made,
            max(t.edit) FILTER (WHERE t.mark IS NULL) AS edit,
            max(t.fields) AS fields
        FROM target t
        JOIN box b ON b.slot = t.slot AND b.tenant = t.tenant AND b.user_id = t.user_id
        WHERE t.id IS NOT NULL
        GROUP BY t.place, t.slot, t.tenant, t.user_id, t.seq, t.id, b.rev, b.seq, b.unread,
            b.unseen
    ), noted AS (
        UPDATE peal.digest_post g SET edit = t.edit FROM target t WHERE g.ctid = t.mark
    ), changed AS (
        UPDATE peal.notification n SET
            title = CASE WHEN t.fields & 1 <> 0 THEN t.title ELSE n.title END,
            message = CASE WHEN t.fields & 2 <> 0 THEN t.message ELSE n.message END,
            data = CASE WHEN t.fields & 4 <> 0 THEN t.data ELSE n.data END,
            priority = CASE WHEN t.fields & 8 <> 0 THEN t.priority ELSE n.priority END,
            expires_at = CASE WHEN t.fields & 16 <> 0 THEN t.expires_at ELSE n.expires_at END,
            updated_at = CASE WHEN t.fields IS NULL THEN n.updated_at ELSE t.updated_at END,
            audience_edit = coalesce(t.edit, n.audience_edit), rev = t.rev, whole_rev = t.rev
        FROM (
            SELECT q.*, p.title, p.message, p.data, p.priority, p.expires_at, p.updated_at
            FROM placed q LEFT JOIN LATERAL (
                SELECT o.* FROM peal.audience_post o
                WHERE o.tenant = q.tenant AND o.n >= q.made AND o.n <= q.made
                ORDER BY o.n LIMIT 1
            ) p ON true
        ) t WHERE n.ctid = t.place
    )
    SELECT t.tenant, t.user_id, t.head, t.rev, t.unread, t.unseen, t.id, t.seq, 0::smallint
    FROM placed t ORDER BY t.slot, t.tenant COLLATE "C", t.user_id COLLATE "C", t.seq;
END
$$;

-- Gives rows, whose inboxes are locked, what the posts to many that they hold were given. Told as peal.sweep
-- does.
CREATE FUNCTION peal.renew_due(slots smallint[], tenants text[], users text[], seqs bigint[])
RETURNS TABLE (
    ret_tenant text, ret_user text, ret_seq bigint, ret_rev bigint, ret_unread bigint,
    ret_unseen bigint, ret_id uuid, ret_row_seq bigint, ret_state smallint, ret_more boolean,
    ret_late bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    changed record;
BEGIN
    SELECT array_agg(p.slot) AS slots, array_agg(p.tenant) AS tenants,
            array_agg(p.user_id) AS users, array_agg(p.n) AS numbers
        INTO changed
        FROM (
            SELECT u.slot, u.tenant, u.user_id, h.n
            FROM unnest(slots, tenants, users, seqs) AS u (slot, tenant, user_id, seq)
            CROSS JOIN LATERAL (
                SELECT f.audience_n, f.digest FROM peal.notification f
                WHERE f.slot = u.slot AND f.tenant = u.tenant AND f.user_id = u.user_id
                    AND f.seq >= u.seq AND f.seq <= u.seq
                ORDER BY f.seq LIMIT 1
            ) f CROSS JOIN LATERAL (
                (SELECT f.audience_n AS n WHERE f.audience_n > 0)
                UNION ALL
                (SELECT d.n FROM peal.digest_post d
                WHERE f.digest <> '' AND d.slot = u.slot AND d.tenant = u.tenant
                    AND d.user_id = u.user_id AND d.seq >= u.seq AND d.seq <= u.seq
                ORDER BY d.seq, d.n)
            ) h
            OFFSET 0
        ) p CROSS JOIN LATERAL (
            SELECT FROM peal.audience_change c
            WHERE c.tenant = p.tenant AND c.n >= p.n AND c.n <= p.n AND c.edit > 0
            ORDER BY c.n LIMIT 1
        ) c;
    IF changed.slots IS NOT NULL THEN
        RETURN QUERY SELECT r.ret_tenant, r.ret_user, r.ret_seq, r.ret_rev, r.ret_unread,
            r.ret_unseen, r.ret_id, r.ret_row_seq, (-1)::smallint, NULL::boolean, NULL::bigint
            FROM peal.renew(changed.slots, changed.tenants, changed.users, changed.numbers) r;
    END IF;
END
$$;

-- Locks the inbox of whom a row belongs to, for a change of that row. What its posts to many were given
-- before comes first: of two changes the later one holds.
CREATE FUNCTION peal.enter_row(which smallint, with_id uuid, space text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    one record;
    numbers bigint[];
BEGIN
    SELECT f.tenant, f.user_id, f.seq, f.audience_n, f.count INTO one FROM peal.notification f
        WHERE f.slot = which AND f.id >= with_id AND f.id <= with_id ORDER BY f.id LIMIT 1;
    IF NOT FOUND OR one.tenant <> space THEN
        RETURN;
    END IF;
    INSERT INTO peal.inbox AS i (slot, tenant, user_id) VALUES (which, space, one.user_id)
        ON CONFLICT (slot, tenant, user_id) DO UPDATE SET seq = i.seq;
    numbers := ARRAY(
        SELECT d.n FROM peal.digest_post d
        WHERE d.slot = which AND d.tenant = space AND d.user_id = one.user_id
            AND d.seq >= one.seq AND d.seq <= one.seq
        ORDER BY d.seq, d.n) || one.audience_n;
    PERFORM peal.renew(array_fill(which, ARRAY[cardinality(numbers)]),
        array_fill(space, ARRAY[cardinality(numbers)]),
        array_fill(one.user_id::text, ARRAY[cardinality(numbers)]), numbers)
        WHERE numbers <> ARRAY[0::bigint];
END
$$;

-- Which of the posts of users, in their order, share a row: `lead` is the first that does so, with the open
-- digest that it joined (`o_...`), if there was one. The window of a digest begins with its first post, and
-- is judged by when posts were made, not by when their rows are. All arrays belong together.
CREATE FUNCTION peal.gather(
    slots smallint[], tenants text[], users text[], places bigint[], numbers bigint[],
    types text[], ats bigint[], spans bigint[]
) RETURNS TABLE (
    place bigint, n bigint, lead bigint, o_place tid, o_seq bigint, o_state smallint,
    o_till bigint, o_digest text
)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    -- Of the user that the loop has come to: types, and the newest digest of each.
    known text[];
    leads bigint[];
    begun bigint[];
    at integer;
    one record;
BEGIN
    FOR i IN 1 .. coalesce(cardinality(places), 0) LOOP
        IF i = 1 OR places[i] <> places[i - 1] THEN
            known := '{}';
            leads := '{}';
            begun := '{}';
        END IF;
        place := places[i];
        n := numbers[i];
        o_place := NULL;
        o_seq := NULL;
        o_state := NULL;
        o_till := NULL;
        o_digest := NULL;
        at := array_position(known, types[i]);
        IF at IS NULL THEN
            at := cardinality(known) + 1;
            known[at] := types[i];
            leads[at] := 0;
            SELECT o.* INTO one FROM peal.open_row(slots[i], tenants[i], users[i], '', types[i],
                ats[i] + 1, ats[i]) o;
            IF FOUND AND one.o_at > ats[i] - spans[i] THEN
                leads[at] := n;
                begun[at] := one.o_at;
                o_place := one.o_place;
                o_seq := one.o_seq;
                o_state := one.o_state;
                o_till := one.o_till;
                o_digest := one.o_digest;
            END IF;
        END IF;
        IF leads[at] = 0 OR begun[at] <= ats[i] - spans[i] THEN
            leads[at] := n;
            begun[at] := ats[i];
        END IF;
        lead := leads[at];
        RETURN NEXT;
    END LOOP;
END
$$;

-- Makes rows that are missing in inboxes that are locked, of at most `most` posts; the arrays belong
-- together, and hold what the inboxes do. True when there are more. What is read behind the lock holds
-- every post up to `heads`, because whoever made the last of them had the head's lock (sql/README.md).
-- Of a post whose type a user does not want there is no row and no number: the user is past it. Posts that share
-- a row are written once, with the last one's content; each has taken a rev.
CREATE FUNCTION peal.make_rows(
    slots smallint[], tenants text[], users text[], seqs bigint[], revs bigint[],
    unreads bigint[], unseens bigint[], throughs bigint[], borns bigint[], wishes bigint[],
    heads bigint[], most bigint
) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    instant bigint := floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    passed bigint;
BEGIN
    WITH box AS MATERIALIZED (
        SELECT * FROM unnest(slots, tenants, users, seqs, revs, unreads, unseens, throughs, borns,
            wishes, heads) WITH ORDINALITY AS b (slot, tenant, user_id, seq, rev, unread, unseen,
            through, born, preference_rev, head, place)
    ), found AS MATERIALIZED (
        -- Box by box: of those that are found all but the last one's are complete.
        SELECT f.*, row_number() OVER () AS arrival
        FROM (
            SELECT b.place, p.n FROM box b CROSS JOIN LATERAL (
                SELECT q.n FROM peal.pending(b.slot, b.tenant, b.user_id, b.through, b.born,
                    b.head, instant, most + 1) AS q (n)
                OFFSET 0
            ) p LIMIT most + 1
        ) f
    ), cut AS (
        SELECT f.place, f.n FROM found f WHERE f.arrival > most
    ), judged AS MATERIALIZED (
        SELECT f.place, f.n, p.type, p.created_at, p.edits,
            coalesce(w.wanted, NOT p.unwanted) AS wanted,
            CASE WHEN p.digest_ms < 0 THEN 0 ELSE coalesce(w.span, p.digest_ms) END AS span
        FROM found f JOIN box b ON b.place = f.place CROSS JOIN LATERAL (
            SELECT a.type, a.created_at, a.edits, a.unwanted, a.digest_ms FROM peal.audience_post a
            WHERE a.tenant = b.tenant AND a.n >= f.n AND a.n <= f.n ORDER BY a.n LIMIT 1
        ) p LEFT JOIN LATERAL (
            SELECT q.* FROM peal.prefers(b.slot, b.tenant, b.user_id, p.type, NOT p.unwanted,
                p.digest_ms) q
            WHERE b.preference_rev > 0 OFFSET 0
        ) w ON true
        WHERE f.arrival <= most
    ), shared AS MATERIALIZED (
        SELECT g.* FROM (
            SELECT array_agg(b.slot ORDER BY j.place, j.n) AS slots,
                array_agg(b.tenant ORDER BY j.place, j.n) AS tenants,
                array_agg(b.user_id ORDER BY j.place, j.n) AS users,
                array_agg(j.place ORDER BY j.place, j.n) AS places,
                array_agg(j.n ORDER BY j.place, j.n) AS numbers,
                array_agg(j.type ORDER BY j.place, j.n) AS types,
                array_agg(j.created_at ORDER BY j.place, j.n) AS ats,
                array_agg(j.span ORDER BY j.place, j.n) AS spans
            FROM judged j JOIN box b ON b.place = j.place WHERE j.wanted AND j.span > 0
        ) a CROSS JOIN LATERAL peal.gather(a.slots, a.tenants, a.users, a.places, a.numbers,
            a.types, a.ats, a.spans) g
    ), kept AS MATERIALIZED (
        SELECT j.place, j.n, j.edits, coalesce(s.lead, j.n) AS lead, s.lead IS NOT NULL AS shares,
            row_number() OVER (PARTITION BY j.place ORDER BY j.n) AS number
        FROM judged j LEFT JOIN shared s ON s.place = j.place AND s.n = j.n WHERE j.wanted
    ), placed AS MATERIALIZED (
        SELECT g.*, s.o_place, s.o_seq, s.o_state, s.o_till, s.o_digest,
            count(*) FILTER (WHERE s.o_seq IS NULL) OVER (PARTITION BY g.place ORDER BY g.lead)
                AS made
        FROM (
            SELECT k.place, k.lead, k.shares, max(k.n) AS last, max(k.number) AS number,
                count(*) AS posts
            FROM kept k GROUP BY k.place, k.lead, k.shares
        ) g LEFT JOIN shared s ON s.place = g.place AND s.n = g.lead
    ), added AS (
        SELECT j.place, max(j.n) AS last FROM judged j GROUP BY j.place
    ), counted AS (
        SELECT p.place, sum(p.posts)::bigint AS revs,
            count(*) FILTER (WHERE p.o_seq IS NULL) AS rows,
            count(*) FILTER (WHERE coalesce(p.o_state, 1) = 1) AS newer
        FROM placed p GROUP BY p.place
    ), done AS MATERIALIZED (
        SELECT b.*, coalesce(n.rows, 0) AS rows, coalesce(n.revs, 0) AS revs,
            coalesce(n.newer, 0) AS newer,
            CASE WHEN c.place IS NULL OR (a.place IS NOT NULL AND a.place <> c.place) THEN b.head
            ELSE coalesce(a.last, b.through) END AS reached
        FROM box b LEFT JOIN added a ON a.place = b.place LEFT JOIN counted n ON n.place = b.place
            LEFT JOIN cut c ON true
    ), listed AS MATERIALIZED (
        -- What is to be remembered of those that share a row.
        SELECT k.place, k.lead, min(p.expires_at) AS soonest, max(p.expires_at) AS latest,
            min(p.created_at) FILTER (WHERE k.n = k.lead) AS first_at,
            max(greatest(p.updated_at, CASE WHEN k.n > k.lead THEN p.created_at END)) AS updated_at,
            max(k.edits) FILTER (WHERE k.n = k.lead) AS edits,
            array_agg(peal.digest_entry(p.id::text, p.created_at::text, p.priority, p.title,
                p.message, p.data) ORDER BY k.n) AS entries
        FROM kept k JOIN box b ON b.place = k.place CROSS JOIN LATERAL (
            SELECT * FROM peal.audience_post a
            WHERE a.tenant = b.tenant AND a.n >= k.n AND a.n <= k.n ORDER BY a.n LIMIT 1
        ) p
        WHERE k.shares GROUP BY k.place, k.lead
    ), stored AS (
        INSERT INTO peal.notification (slot, tenant, user_id, seq, new_rev, whole_rev, rev, id,
            type, title, message, data, priority, created_at, expires_at, count, updated_at,
            audience_n, audience, audience_edit, digest)
        SELECT d.slot, d.tenant, d.user_id, d.seq + g.made, d.rev + g.number, d.rev + g.number,
            d.rev + g.number, (lpad(to_hex(coalesce(l.first_at, p.created_at)), 12, '0') || '7'
                || lpad(to_hex(d.slot::integer), 3, '0')
                || substr(gen_random_uuid()::text, 19))::uuid, p.type, p.title, p.message,
            p.data, p.priority, coalesce(l.first_at, p.created_at),
            CASE WHEN g.shares THEN peal.last_end(l.soonest, l.latest, NULL) ELSE p.expires_at END,
            g.posts, coalesce(l.updated_at, p.updated_at), g.lead,
            p.kind::text || p.id::text || CASE WHEN p.kind = 2 THEN p.name ELSE '' END,
            coalesce(l.edits, p.edits),
            CASE WHEN g.shares THEN peal.digest_list('', l.entries) ELSE '' END
        FROM placed g JOIN done d ON d.place = g.place
        LEFT JOIN listed l ON l.place = g.place AND l.lead = g.lead CROSS JOIN LATERAL (
            SELECT * FROM peal.audience_post a
            WHERE a.tenant = d.tenant AND a.n >= g.last AND a.n <= g.last ORDER BY a.n LIMIT 1
        ) p
        WHERE g.o_seq IS NULL
    ), joined AS (
        UPDATE peal.notification x SET new_rev = t.rev, whole_rev = t.rev, rev = t.rev,
            title = t.title, message = t.message, data = t.data, priority = t.priority,
            state = 0, seen_at = 0, read_at = 0, resurfaced_at = 0, expires_at = t.ends,
            count = x.count + t.posts, updated_at = greatest(x.updated_at, t.updated_at),
            audience = t.audience, digest = t.digest
        FROM (
            SELECT g.o_place, g.posts, d.rev + g.number AS rev, p.title, p.message, p.data,
                p.priority, peal.last_end(l.soonest, l.latest, g.o_till) AS ends,
                greatest(l.first_at, l.updated_at) AS updated_at,
                p.kind::text || p.id::text || CASE WHEN p.kind = 2 THEN p.name ELSE '' END
                    AS audience, peal.digest_list(g.o_digest, l.entries) AS digest
            FROM placed g JOIN done d ON d.place = g.place
            JOIN listed l ON l.place = g.place AND l.lead = g.lead CROSS JOIN LATERAL (
                SELECT * FROM peal.audience_post a
                WHERE a.tenant = d.tenant AND a.n >= g.last AND a.n <= g.last
                ORDER BY a.n LIMIT 1
            ) p
            WHERE g.o_seq IS NOT NULL
        ) t WHERE x.ctid = t.o_place
    ), noted AS (
        INSERT INTO peal.digest_post (slot, tenant, user_id, n, seq, edit)
        SELECT d.slot, d.tenant, d.user_id, k.n, coalesce(g.o_seq, d.seq + g.made), k.edits
        FROM kept k JOIN placed g ON g.place = k.place AND g.lead = k.lead
        JOIN done d ON d.place = k.place
        WHERE k.shares AND (k.n > k.lead OR g.o_seq IS NOT NULL)
    ), tallied AS (
        INSERT INTO peal.tally_entry (tenant, type, posted)
        SELECT b.tenant, j.type, count(*) FROM judged j JOIN box b ON b.place = j.place
        WHERE j.wanted GROUP BY b.tenant, j.type
    ), forgotten AS (
        DELETE FROM peal.member m WHERE m.ctid = ANY (ARRAY(
            SELECT l.place FROM done d CROSS JOIN LATERAL (
                SELECT o.ctid AS place FROM peal.member o
                WHERE o.slot = d.slot AND o.tenant = d.tenant AND o.user_id = d.user_id
                    AND o.to_n <= d.reached
                OFFSET 0
            ) l))
    ), moved AS (
        INSERT INTO peal.inbox AS i (slot, tenant, user_id, seq, rev, unread, unseen, through,
            changed_at)
        SELECT d.slot, d.tenant, d.user_id, d.seq + d.rows, d.rev + d.revs, d.unread + d.rows,
            d.unseen + d.newer, d.reached,
            floor(extract(epoch FROM clock_timestamp()) / 10)::integer
        FROM done d WHERE d.reached > d.through
        ON CONFLICT (slot, tenant, user_id) DO UPDATE SET seq = excluded.seq,
            rev = excluded.rev, unread = excluded.unread, unseen = excluded.unseen,
            through = excluded.through,
            changed_at = CASE WHEN excluded.rev > i.rev THEN excluded.changed_at
                ELSE i.changed_at END
    )
    SELECT count(*) INTO passed FROM found;
    RETURN passed > most;
END
$$;

-- Makes the inboxes that are missing, in one order. It comes before any inbox is locked: who waits for
-- another's new one holds none that was there, so no two wait for each other.
CREATE FUNCTION peal.begin_inboxes(which smallint[], spaces text[], names text[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO peal.inbox (slot, tenant, user_id, born)
        SELECT u.slot, u.tenant, u.user_id, coalesce(
            (SELECT a.n FROM peal.audience_head a WHERE a.tenant = u.tenant LIMIT 1), 0)
        FROM (
            SELECT n.slot, n.tenant COLLATE "C" AS tenant, n.user_id COLLATE "C" AS user_id
            FROM unnest(which, spaces, names) AS n (slot, tenant, user_id)
            GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        ) u
        WHERE (SELECT true FROM peal.inbox b WHERE b.slot = u.slot AND b.tenant = u.tenant
            AND b.user_id = u.user_id LIMIT 1) IS NULL
        ON CONFLICT (slot, tenant, user_id) DO NOTHING
$$;

-- Locks the inboxes of all users in one order, behind those that are missing and begin: what is not there
-- cannot be locked, and a mark would not see the first notification that comes beside it. Then makes
-- the rows that are missing, at most `most`: where there are more it raises, or with `mend` leaves
-- them for the next time. With `mend` it also takes back what was retracted, and gives what was made
-- of a post before its content was changed the new one.
CREATE FUNCTION peal.enter(
    which smallint[], spaces text[], names text[], most bigint, mend boolean
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    slots smallint[];
    tenants text[];
    users text[];
    seqs bigint[];
    revs bigint[];
    unreads bigint[];
    unseens bigint[];
    throughs bigint[];
    borns bigint[];
    wishes bigint[];
    heads bigint[];
    numbers bigint[];
    behind boolean;
BEGIN
    IF EXISTS (SELECT FROM unnest(which, spaces, names) AS n (slot, tenant, user_id)
        WHERE (SELECT true FROM peal.inbox b WHERE b.slot = n.slot AND b.tenant = n.tenant
            AND b.user_id = n.user_id LIMIT 1) IS NULL)
    THEN
        PERFORM peal.begin_inboxes(which, spaces, names);
    END IF;
    -- The left join: every inbox is locked, also while there are no posts to many.
    SELECT bool_or(i.through < h.n) INTO behind
        FROM (
            SELECT n.slot, n.tenant COLLATE "C" AS tenant, n.user_id COLLATE "C" AS user_id
            FROM unnest(which, spaces, names) AS n (slot, tenant, user_id)
            GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        ) u CROSS JOIN LATERAL (
            SELECT b.tenant, b.through FROM peal.inbox b
            WHERE b.slot = u.slot AND b.tenant = u.tenant AND b.user_id = u.user_id
            LIMIT 1 FOR UPDATE
        ) i LEFT JOIN (
            SELECT t.tenant, a.n
            FROM (SELECT DISTINCT s.tenant FROM unnest(spaces) AS s (tenant)) t CROSS JOIN LATERAL (
                SELECT h.n FROM peal.audience_head h WHERE h.tenant = t.tenant LIMIT 1
            ) a
        ) h ON h.tenant = i.tenant;
    IF behind THEN
        SELECT array_agg(i.slot), array_agg(i.tenant), array_agg(i.user_id), array_agg(i.seq),
            array_agg(i.rev), array_agg(i.unread), array_agg(i.unseen), array_agg(i.through),
            array_agg(i.born), array_agg(i.preference_rev), array_agg(h.n)
            INTO slots, tenants, users, seqs, revs, unreads, unseens, throughs, borns, wishes, heads
            FROM (
                SELECT DISTINCT n.slot, n.tenant, n.user_id
                FROM unnest(which, spaces, names) AS n (slot, tenant, user_id)
            ) u CROSS JOIN LATERAL (
                SELECT * FROM peal.inbox b
                WHERE b.slot = u.slot AND b.tenant = u.tenant AND b.user_id = u.user_id LIMIT 1
            ) i CROSS JOIN LATERAL (
                SELECT a.n FROM peal.audience_head a WHERE a.tenant = u.tenant LIMIT 1
            ) h WHERE i.through < h.n;
        IF peal.make_rows(slots, tenants, users, seqs, revs, unreads, unseens, throughs, borns,
            wishes, heads, most) AND NOT mend THEN
            RAISE EXCEPTION 'too many rows are missing' USING ERRCODE = 'PE002';
        END IF;
    END IF;
    IF NOT mend THEN
        RETURN;
    END IF;
    SELECT array_agg(u.slot), array_agg(u.tenant), array_agg(u.user_id), array_agg(c.n)
        INTO slots, tenants, users, numbers
        FROM (SELECT DISTINCT n.slot, n.tenant, n.user_id
            FROM unnest(which, spaces, names) AS n (slot, tenant, user_id)) u CROSS JOIN LATERAL (
            SELECT a.n FROM peal.audience_change a WHERE a.tenant = u.tenant
            ORDER BY a.n OFFSET 0
        ) c;
    IF slots IS NOT NULL THEN
        PERFORM peal.take_back(slots, tenants, users, numbers,
            floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint);
        PERFORM peal.renew(slots, tenants, users, numbers);
    END IF;
END
$$;

-- Stores a post to many. What a repeat finds is read behind the head's lock, in a later snapshot.
CREATE FUNCTION peal.post(
    space text, as_kind smallint, audience text, with_new boolean, with_key uuid, content uuid,
    with_id uuid, as_type text, as_title text, as_message text, as_data bytea,
    as_priority smallint, at bigint, until bigint, refused boolean, span bigint, which smallint[],
    names text[]
) RETURNS TABLE (ret_outcome smallint, ret_id uuid, ret_n bigint, ret_nobody boolean)
LANGUAGE plpgsql AS $$
DECLARE
    head bigint;
    first record;
    shown text := CASE WHEN as_kind = 3 THEN with_id::text WHEN with_new THEN '+' ELSE audience END;
BEGIN
    INSERT INTO peal.audience_head AS h (tenant, n) VALUES (space, 0)
        ON CONFLICT (tenant) DO UPDATE SET n = h.n RETURNING h.n INTO head;
    SELECT k.id, k.n, k.content_hash = content AS same INTO first FROM peal.audience_key k
        WHERE k.tenant = space AND k.kind = as_kind AND k.name = audience
            AND k.key_hash = with_key;
    IF FOUND THEN
        RETURN QUERY SELECT CASE WHEN first.same THEN 1 ELSE 2 END::smallint, first.id, first.n,
            false;
        RETURN;
    END IF;
    head := head + 1;
    INSERT INTO peal.audience_post (tenant, n, kind, name, id, type, title, message, data,
        priority, created_at, expires_at, unwanted, digest_ms)
        VALUES (space, head, as_kind, shown, with_id, as_type, as_title, as_message, as_data,
            as_priority, at, until, refused, CASE WHEN as_priority = 3 THEN -1 ELSE span END);
    INSERT INTO peal.audience_key (tenant, kind, name, key_hash, content_hash, n, id)
        VALUES (space, as_kind, audience, with_key, content, head, with_id);
    INSERT INTO peal.member (slot, tenant, user_id, kind, name, from_n, to_n)
        SELECT DISTINCT u.slot, space, u.user_id, as_kind, shown, head - 1, head
        FROM unnest(which, names) AS u (slot, user_id);
    INSERT INTO peal.audience_head AS h (tenant, n) VALUES (space, head)
        ON CONFLICT (tenant) DO UPDATE SET n = head;
    RETURN QUERY SELECT 0::smallint, with_id, head, as_kind = 2 AND NOT EXISTS (
        SELECT FROM peal.member m WHERE m.tenant = space AND m.kind = 2 AND m.name = shown
            AND m.to_n = 9223372036854775807 LIMIT 1);
END
$$;

-- Takes a post back: from now on nobody gets it; who has it loses it when read, or by the sweep.
CREATE FUNCTION peal.retract(space text, post uuid)
RETURNS TABLE (ret_n bigint, ret_kind smallint, ret_name text)
LANGUAGE plpgsql AS $$
DECLARE
    taken record;
BEGIN
    UPDATE peal.audience_post p SET retracted = true
        WHERE p.id = post AND p.tenant = space AND NOT p.retracted
        RETURNING p.n, p.kind, p.name INTO taken;
    IF FOUND THEN
        INSERT INTO peal.audience_change (tenant, n) VALUES (space, taken.n)
            ON CONFLICT (tenant, n) DO UPDATE SET edit = 0, horizon = 0;
        RETURN QUERY SELECT taken.n, taken.kind,
            CASE WHEN taken.kind = 2 THEN taken.name::text ELSE '' END;
    END IF;
END
$$;

-- Changes the content of a post that has not expired: who gets it from now on gets the new one; who has it gets
-- it when read, or by the sweep.
CREATE FUNCTION peal.revise(
    space text, post uuid, which integer, as_title text, as_message text, as_data bytea,
    as_priority smallint, until bigint, instant bigint
) RETURNS TABLE (ret_n bigint, ret_kind smallint, ret_name text)
LANGUAGE plpgsql AS $$
DECLARE
    revised record;
BEGIN
    UPDATE peal.audience_post p SET
        title = CASE WHEN which & 1 <> 0 THEN as_title ELSE p.title END,
        message = CASE WHEN which & 2 <> 0 THEN as_message ELSE p.message END,
        data = CASE WHEN which & 4 <> 0 THEN as_data ELSE p.data END,
        priority = CASE WHEN which & 8 <> 0 THEN as_priority ELSE p.priority END,
        expires_at = CASE WHEN which & 16 <> 0 THEN until ELSE p.expires_at END,
        edits = p.edits + 1, updated_at = instant
        WHERE p.id = post AND p.tenant = space AND NOT p.retracted AND (p.expires_at = 0
            OR p.expires_at > floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
        RETURNING p.n, p.kind, p.name, p.edits INTO revised;
    IF FOUND THEN
        INSERT INTO peal.audience_change AS c (tenant, n, edit, title_edit, message_edit,
            data_edit, priority_edit, expires_edit)
            SELECT space, revised.n, r.edit, r.edit * (which & 1), r.edit * (which >> 1 & 1),
                r.edit * (which >> 2 & 1), r.edit * (which >> 3 & 1), r.edit * (which >> 4 & 1)
            FROM (SELECT revised.edits AS edit) r
            ON CONFLICT (tenant, n) DO UPDATE SET edit = excluded.edit,
                title_edit = greatest(c.title_edit, excluded.title_edit),
                message_edit = greatest(c.message_edit, excluded.message_edit),
                data_edit = greatest(c.data_edit, excluded.data_edit),
                priority_edit = greatest(c.priority_edit, excluded.priority_edit),
                expires_edit = greatest(c.expires_edit, excluded.expires_edit),
                horizon = 0, past = '';
        RETURN QUERY SELECT revised.n, revised.kind,
            CASE WHEN revised.kind = 2 THEN revised.name::text ELSE '' END;
    END IF;
END
$$;

-- Subscribes users to a topic. Their inboxes are locked, and read again behind the lock.
CREATE FUNCTION peal.subscribe(which smallint[], space text, names text[], topic text, most bigint)
RETURNS TABLE (ret_changed bigint, ret_full bigint)
LANGUAGE plpgsql AS $$
DECLARE
    head bigint;
    slots smallint[];
    users text[];
    counts integer[];
    already bigint;
    joined bigint;
BEGIN
    PERFORM peal.begin_inboxes(which, array_fill(space, ARRAY[cardinality(names)]), names);
    WITH locked AS (
        INSERT INTO peal.inbox AS i (slot, tenant, user_id)
        SELECT u.slot, space, u.user_id
        FROM unnest(which, names) AS u (slot, user_id)
        GROUP BY u.slot, u.user_id ORDER BY u.slot, u.user_id COLLATE "C"
        ON CONFLICT (slot, tenant, user_id) DO UPDATE SET seq = i.seq
        RETURNING i.slot, i.user_id, i.topics
    )
    SELECT array_agg(l.slot), array_agg(l.user_id), array_agg(l.topics)
        INTO slots, users, counts FROM locked l;
    SELECT coalesce((SELECT h.n FROM peal.audience_head h WHERE h.tenant = space), 0) INTO head;
    WITH joining AS (
        INSERT INTO peal.member AS m (slot, tenant, user_id, kind, name, from_n)
        SELECT u.slot, space, u.user_id, 2, topic, head
        FROM unnest(slots, users, counts) AS u (slot, user_id, topics)
        WHERE u.topics < most
        ON CONFLICT (tenant, kind, name, user_id) WHERE to_n = 9223372036854775807 DO NOTHING
        RETURNING m.slot, m.user_id
    ), counted AS (
        INSERT INTO peal.inbox AS i (slot, tenant, user_id)
        SELECT j.slot, space, j.user_id FROM joining j
        ON CONFLICT (slot, tenant, user_id) DO UPDATE SET topics = i.topics + 1
    )
    SELECT count(*) INTO joined FROM joining;
    SELECT count(*) INTO already
        FROM unnest(users, counts) AS u (user_id, topics)
        CROSS JOIN LATERAL (
            SELECT FROM peal.member m
            WHERE m.tenant = space AND m.kind = 2 AND m.name = topic
                AND m.user_id >= u.user_id AND m.user_id <= u.user_id
                AND m.to_n = 9223372036854775807
            ORDER BY m.user_id LIMIT 1
        ) m
        WHERE u.topics >= most;
    RETURN QUERY SELECT joined, (SELECT count(*) FROM unnest(counts) AS c (topics)
        WHERE c.topics >= most) - already;
END
$$;

-- Ends subscriptions. An interval is kept as long as it may hold posts that the user lacks.
CREATE FUNCTION peal.unsubscribe(space text, names text[], topic text)
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    head bigint;
    slots smallint[];
    users text[];
    throughs bigint[];
    ended bigint;
BEGIN
    WITH locked AS (
        INSERT INTO peal.inbox AS i (slot, tenant, user_id)
        SELECT m.slot, space, m.user_id
        FROM (SELECT DISTINCT n.user_id FROM unnest(names) AS n (user_id)) u CROSS JOIN LATERAL (
            SELECT o.slot, o.user_id FROM peal.member o
            WHERE o.tenant = space AND o.kind = 2 AND o.name = topic
                AND o.user_id >= u.user_id AND o.user_id <= u.user_id
                AND o.to_n = 9223372036854775807
            ORDER BY o.user_id LIMIT 1
        ) m
        ORDER BY m.slot, m.user_id COLLATE "C"
        ON CONFLICT (slot, tenant, user_id) DO UPDATE SET seq = i.seq
        RETURNING i.slot, i.user_id, i.through
    )
    SELECT array_agg(l.slot), array_agg(l.user_id), array_agg(l.through)
        INTO slots, users, throughs FROM locked l;
    IF slots IS NULL THEN
        RETURN 0;
    END IF;
    SELECT coalesce((SELECT h.n FROM peal.audience_head h WHERE h.tenant = space), 0) INTO head;
    WITH target AS MATERIALIZED (
        SELECT m.place, u.slot, u.user_id, m.from_n >= head OR u.through >= head AS empty
        FROM unnest(slots, users, throughs) AS u (slot, user_id, through) CROSS JOIN LATERAL (
            SELECT o.ctid AS place, o.from_n FROM peal.member o
            WHERE o.tenant = space AND o.kind = 2 AND o.name = topic
                AND o.user_id >= u.user_id AND o.user_id <= u.user_id
                AND o.to_n = 9223372036854775807
            ORDER BY o.user_id LIMIT 1
        ) m
    ), closed AS (
        UPDATE peal.member m SET to_n = head
            WHERE m.ctid = ANY (ARRAY(SELECT t.place FROM target t WHERE NOT t.empty))
    ), gone AS (
        DELETE FROM peal.member m
            WHERE m.ctid = ANY (ARRAY(SELECT t.place FROM target t WHERE t.empty))
    ), counted AS (
        INSERT INTO peal.inbox AS i (slot, tenant, user_id)
        SELECT t.slot, space, t.user_id FROM target t
        ON CONFLICT (slot, tenant, user_id) DO UPDATE SET topics = i.topics - 1
    )
    SELECT count(*) INTO ended FROM target;
    RETURN ended;
END
$$;

-- Takes back what retractions have not reached, renews what changes of content have not, at most `most`
-- rows, and drops old posts. Of a retraction nothing is left when, in a snapshot taken after every
-- transaction below its horizon had ended, there is no row: those that came later have seen it
-- (sql/README.md). Rows are renewed in one pass that begins behind the horizon. A change under way is
-- locked before inboxes are, and left alone by who finds that another sweep has moved it on. At most
-- `most` changes are begun or ended; those that wait for transactions do not keep others behind them from
-- that, up to 4,000 of them. ret_late: for how long the first of these has waited.
CREATE FUNCTION peal.audience_sweep(instant bigint, keep_after bigint, most bigint)
RETURNS TABLE (
    ret_tenant text, ret_user text, ret_seq bigint, ret_rev bigint, ret_unread bigint,
    ret_unseen bigint, ret_id uuid, ret_row_seq bigint, ret_state smallint, ret_more boolean,
    ret_late bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    change record;
    old record;
    over boolean;
    slots smallint[] := '{}';
    tenants text[] := '{}';
    users text[] := '{}';
    numbers bigint[] := '{}';
    found_slots smallint[];
    found_users text[];
    last_user text;
    now_ms bigint := floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    late bigint := 0;
    served bigint := 0;
    dropped bigint := 0;
    removed bigint;
    joined bigint;
BEGIN
    FOR change IN
        SELECT c.tenant, c.n, c.horizon, c.edit, c.past, c.at FROM peal.audience_change c
        ORDER BY c.tenant, c.n LIMIT most + 4000
    LOOP
        EXIT WHEN cardinality(slots) >= most OR served >= most;
        IF change.horizon = 0 THEN
            -- What another sweep has ended meanwhile is not begun again: without its edit it would be a retraction.
            UPDATE peal.audience_change c SET horizon = pg_current_xact_id()::text::bigint
                WHERE c.tenant = change.tenant AND c.n = change.n AND c.horizon = 0;
            CONTINUE WHEN NOT FOUND;
            served := served + 1;
        END IF;
        over := change.horizon > 0
            AND pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= change.horizon;
        IF NOT over THEN
            late := greatest(late, now_ms - change.at);
        END IF;
        CONTINUE WHEN change.edit > 0 AND NOT over;
        SELECT array_agg(r.slot), array_agg(r.user_id), max(r.user_id)
            INTO found_slots, found_users, last_user
            FROM (
                (SELECT a.slot, a.user_id FROM peal.notification a
                WHERE a.tenant = change.tenant AND a.audience_n > 0 AND a.audience_n = change.n
                    AND a.user_id >= CASE WHEN change.edit > 0 THEN change.past ELSE '' END
                ORDER BY a.user_id LIMIT most - cardinality(slots))
                UNION ALL
                (SELECT d.slot, d.user_id FROM peal.digest_post d
                WHERE d.tenant = change.tenant AND d.n = change.n
                    AND d.user_id >= CASE WHEN change.edit > 0 THEN change.past ELSE '' END
                ORDER BY d.user_id LIMIT most - cardinality(slots))
                ORDER BY user_id LIMIT most - cardinality(slots)
            ) r;
        IF found_slots IS NOT NULL AND change.edit > 0 THEN
            UPDATE peal.audience_change c SET past = last_user || chr(1)
                WHERE c.tenant = change.tenant AND c.n = change.n AND c.edit = change.edit
                    AND c.past = change.past;
            CONTINUE WHEN NOT FOUND;
        END IF;
        IF found_slots IS NOT NULL THEN
            slots := slots || found_slots;
            users := users || found_users;
            tenants := tenants || array_fill(change.tenant::text, ARRAY[cardinality(found_slots)]);
            numbers := numbers || array_fill(change.n, ARRAY[cardinality(found_slots)]);
        ELSIF over THEN
            DELETE FROM peal.audience_change c
                WHERE c.tenant = change.tenant AND c.n = change.n AND c.edit = change.edit
                    AND c.horizon = change.horizon;
            served := served + CASE WHEN FOUND THEN 1 ELSE 0 END;
        END IF;
    END LOOP;
    FOR old IN
        (SELECT p.tenant, p.n, p.kind, p.name, p.edits FROM peal.audience_post p
            WHERE p.created_at <= keep_after AND NOT EXISTS (
                SELECT FROM peal.audience_change c
                WHERE c.tenant = p.tenant AND c.n = p.n)
            ORDER BY p.created_at LIMIT most)
        UNION ALL
        (SELECT p.tenant, p.n, p.kind, p.name, p.edits FROM peal.audience_post p
            WHERE p.expires_at > 0 AND p.expires_at <= instant AND NOT EXISTS (
                SELECT FROM peal.audience_change c
                WHERE c.tenant = p.tenant AND c.n = p.n)
            ORDER BY p.expires_at LIMIT most)
    LOOP
        EXIT WHEN dropped >= most;
        removed := 0;
        IF old.kind = 3 THEN
            DELETE FROM peal.member m WHERE m.ctid = ANY (ARRAY(
                SELECT l.ctid FROM peal.member l
                WHERE l.tenant = old.tenant AND l.kind = 3 AND l.name = old.name
                    AND l.user_id >= ''
                ORDER BY l.user_id LIMIT most - dropped FOR UPDATE SKIP LOCKED));
            GET DIAGNOSTICS removed = ROW_COUNT;
        END IF;
        DELETE FROM peal.digest_post g WHERE g.ctid = ANY (ARRAY(
            SELECT o.ctid FROM peal.digest_post o
            WHERE o.tenant = old.tenant AND o.n = old.n AND o.user_id >= ''
            ORDER BY o.user_id LIMIT most - dropped - removed));
        GET DIAGNOSTICS joined = ROW_COUNT;
        removed := removed + joined;
        -- Nobody is left on its list, or who is goes with what has locked it, or when the user comes; and no
        -- digest holds it.
        IF removed < most - dropped THEN
            DELETE FROM peal.audience_post p
                WHERE p.tenant = old.tenant AND p.n = old.n AND p.edits = old.edits;
        END IF;
        dropped := dropped + 1 + removed;
    END LOOP;
    RETURN QUERY SELECT NULL::text, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint,
        NULL::bigint, NULL::uuid, NULL::bigint, NULL::smallint,
        cardinality(slots) >= most OR served >= most OR dropped >= most, late;
    IF cardinality(slots) = 0 THEN
        RETURN;
    END IF;
    INSERT INTO peal.inbox AS i (slot, tenant, user_id)
        SELECT u.slot, u.tenant, u.user_id
        FROM unnest(slots, tenants, users) AS u (slot, tenant, user_id)
        GROUP BY u.slot, u.tenant, u.user_id
        ORDER BY u.slot, u.tenant COLLATE "C", u.user_id COLLATE "C"
        ON CONFLICT (slot, tenant, user_id) DO UPDATE SET seq = i.seq;
    RETURN QUERY SELECT t.*, NULL::boolean, NULL::bigint
        FROM peal.take_back(slots, tenants, users, numbers, instant) t;
    RETURN QUERY SELECT t.*, NULL::boolean, NULL::bigint
        FROM peal.renew(slots, tenants, users, numbers) t;
END
$$;

-- What was posted and read by tenant, day (UTC, since 1970) and type, as far as it is added up. '' are
-- the types of a day behind the 100th (sql/store_summary.h).
CREATE TABLE peal.tally (
    tenant text COLLATE "C" NOT NULL,
    day integer NOT NULL,
    type text COLLATE "C" NOT NULL,
    posted bigint NOT NULL DEFAULT 0,
    read bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, day, type)
) WITH (fillfactor = 50);
CREATE INDEX tally_day ON peal.tally (day) WHERE day > 0;

-- What transactions have counted since: added, never changed, so that who counts waits for nobody.
-- xact: the transaction. What stands in peal.meta as tally_reached is that up to which all is added up.
CREATE TABLE peal.tally_entry (
    xact bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    tenant text COLLATE "C" NOT NULL,
    day integer NOT NULL DEFAULT floor(extract(epoch FROM now()) / 86400),
    type text COLLATE "C" NOT NULL,
    posted bigint NOT NULL DEFAULT 0,
    read bigint NOT NULL DEFAULT 0
);
CREATE INDEX tally_entry_xact ON peal.tally_entry (xact);

-- Drops days before keep_from, and adds up what transactions have counted that are behind all that are
-- open, some `most` entries; whether there is more of either. So each entry is looked at once, also where
-- an old snapshot keeps those that are gone. A restored database may number its transactions lower than
-- before: then it begins anew. One at a time: the others have nothing to do.
CREATE FUNCTION peal.tally_sweep(keep_from bigint, most bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    dropped bigint;
    past bigint;
    reach bigint;
    over bigint;
    added_up bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7310026, 1) THEN
        RETURN false;
    END IF;
    DELETE FROM peal.tally t WHERE t.ctid = ANY (ARRAY(
        SELECT o.ctid FROM peal.tally o WHERE o.day > 0 AND o.day < keep_from
        ORDER BY o.day LIMIT most));
    GET DIAGNOSTICS dropped = ROW_COUNT;
    over := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    past := coalesce((SELECT m.value::bigint FROM peal.meta m WHERE m.name = 'tally_reached'), 0);
    past := CASE WHEN past < over THEN past ELSE 0 END;
    SELECT e.xact INTO reach FROM peal.tally_entry e WHERE e.xact > past AND e.xact < over
        ORDER BY e.xact OFFSET most - 1 LIMIT 1;
    WITH gone AS (
        DELETE FROM peal.tally_entry t WHERE t.ctid = ANY (ARRAY(
            SELECT e.ctid FROM peal.tally_entry e
            WHERE e.xact > past AND e.xact <= coalesce(reach, over - 1) ORDER BY e.xact))
        RETURNING t.tenant, t.day, t.type, t.posted, t.read
    ), summed AS MATERIALIZED (
        SELECT g.tenant, g.day, g.type, sum(g.posted) AS posted, sum(g.read) AS read FROM gone g
        WHERE g.day >= keep_from GROUP BY g.tenant, g.day, g.type
    ), known AS MATERIALIZED (
        SELECT s.*, EXISTS (SELECT FROM peal.tally k WHERE k.tenant = s.tenant AND k.day = s.day
            AND k.type = s.type) AS named
        FROM summed s
    ), placed AS (
        SELECT k.tenant, k.day, k.posted, k.read, CASE
            WHEN k.named OR row_number() OVER (
                PARTITION BY k.tenant, k.day, k.named ORDER BY k.posted + k.read DESC, k.type
            ) + (
                SELECT count(*) FROM peal.tally h
                WHERE h.tenant = k.tenant AND h.day = k.day AND h.type > ''
            ) <= 100 THEN k.type ELSE '' END AS type
        FROM known k
    ), kept AS (
        INSERT INTO peal.tally AS t (tenant, day, type, posted, read)
        SELECT p.tenant, p.day, p.type, sum(p.posted), sum(p.read) FROM placed p
        GROUP BY p.tenant, p.day, p.type
        ON CONFLICT (tenant, day, type) DO UPDATE
        SET posted = t.posted + excluded.posted, read = t.read + excluded.read
    )
    SELECT count(*) FROM gone INTO added_up;
    IF added_up > 0 THEN
        INSERT INTO peal.meta AS m (name, value)
            VALUES ('tally_reached', coalesce(reach, over - 1)::text)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value;
    END IF;
    RETURN dropped >= most OR reach IS NOT NULL;
END
$$;

-- What is posted for later, until it is due: of user_id (kind 0), or for many, as in audience_post but
-- with the topic as `name`; user_id is '' then, and users of a list are members from and to never. part:
-- slot modulo 8. version: counts the changes. kind, key_hash and the rest: as it is stored when it is due.
CREATE TABLE peal.schedule (
    slot smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    part smallint NOT NULL,
    deliver_at bigint NOT NULL,
    version bigint NOT NULL DEFAULT 0,
    kind smallint NOT NULL,
    name text COLLATE "C" NOT NULL,
    include_new smallint NOT NULL,
    key_hash uuid NOT NULL,
    content_hash uuid NOT NULL,
    type text NOT NULL,
    title text NOT NULL,
    message text NOT NULL,
    data bytea NOT NULL,
    priority smallint NOT NULL,
    expires_at bigint NOT NULL,
    collapse text COLLATE "C" NOT NULL,
    PRIMARY KEY (slot, tenant, user_id, deliver_at, id)
);
CREATE UNIQUE INDEX schedule_id ON peal.schedule (slot, id);
CREATE INDEX schedule_due ON peal.schedule (part, deliver_at);

-- Keeps a post to many until it is due. The head's lock is what makes one of two posts with a key the
-- first, as in peal.post.
CREATE FUNCTION peal.schedule_many(
    space text, as_kind smallint, audience text, with_new smallint, with_key uuid, content uuid,
    with_id uuid, as_type text, as_title text, as_message text, as_data bytea,
    as_priority smallint, until bigint, which smallint[], names text[], due bigint
) RETURNS TABLE (ret_outcome smallint, ret_id uuid, ret_n bigint, ret_nobody boolean)
LANGUAGE plpgsql AS $$
DECLARE
    first record;
    never bigint := 9223372036854775807;
BEGIN
    INSERT INTO peal.audience_head AS h (tenant, n) VALUES (space, 0)
        ON CONFLICT (tenant) DO UPDATE SET n = h.n;
    SELECT k.id, k.n, k.content_hash = content AS same INTO first FROM peal.audience_key k
        WHERE k.tenant = space AND k.kind = as_kind AND k.name = audience
            AND k.key_hash = with_key;
    IF FOUND THEN
        RETURN QUERY SELECT CASE WHEN first.same THEN 1 ELSE 2 END::smallint, first.id, first.n,
            false;
        RETURN;
    END IF;
    INSERT INTO peal.schedule (slot, tenant, user_id, id, part, deliver_at, kind, name,
        include_new, key_hash, content_hash, type, title, message, data, priority, expires_at,
        collapse)
        VALUES (0, space, '', with_id, 0, due, as_kind, audience, with_new, with_key, content,
            as_type, as_title, as_message, as_data, as_priority, until, '');
    INSERT INTO peal.audience_key (tenant, kind, name, key_hash, content_hash, n, id)
        VALUES (space, as_kind, audience, with_key, content, never, with_id);
    INSERT INTO peal.member (slot, tenant, user_id, kind, name, from_n, to_n)
        SELECT DISTINCT u.slot, space, u.user_id, as_kind, with_id::text, never, never
        FROM unnest(which, names) AS u (slot, user_id);
    RETURN QUERY SELECT 5::smallint, with_id, never, false;
END
$$;

-- Drops the users of a list that is kept: nobody gets it. How many.
CREATE FUNCTION peal.drop_list(space text, list uuid) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    WITH gone AS (
        DELETE FROM peal.member m WHERE m.ctid = ANY (ARRAY(
            SELECT l.ctid FROM peal.member l
            WHERE l.tenant = space AND l.kind = 3 AND l.name = list::text AND l.user_id >= ''
            ORDER BY l.user_id LIMIT 10000))
        RETURNING 1
    )
    SELECT count(*) FROM gone
$$;

-- Whether somebody has locked the inbox of a user.
CREATE FUNCTION peal.is_held(which smallint, space text, who text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM peal.inbox b WHERE b.slot = which AND b.tenant = space AND b.user_id = who
        FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        RETURN false;
    END IF;
    PERFORM FROM peal.inbox b WHERE b.slot = which AND b.tenant = space AND b.user_id = who;
    RETURN FOUND;
END
$$;

-- What is due, by the database's clock; the last row says what is due next, and whether that is now. Rows
-- for inboxes that somebody has locked are left for the next time, and are what is due next: who delivers
-- would wait for them with all others. Where they are most of what is looked at, it goes on behind them,
-- as far as eight times `most`.
-- What has expired is dropped: ret_next then says how many, in a row without anything else. Of lists, until
-- as many users have gone with them as one list may have; the others go the next time.
CREATE FUNCTION peal.due(parts smallint[], most bigint, most_bytes bigint)
RETURNS TABLE (ret_now bigint, ret_next bigint, ret_more boolean, ret_row peal.schedule)
LANGUAGE plpgsql AS $$
DECLARE
    instant bigint := floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    one record;
    whole peal.schedule;
    bytes bigint := 0;
    looked bigint;
    told bigint := 0;
    left_at bigint;
    gone bigint := 0;
    dropped bigint := 0;
    members bigint := 0;
    left_over boolean := false;
BEGIN
    FOR turn IN 0 .. 7 LOOP
        looked := 0;
        FOR one IN
            SELECT s.place, s.whole FROM unnest(parts) AS p (part) CROSS JOIN LATERAL (
                SELECT c.ctid AS place, c.deliver_at, c AS whole FROM peal.schedule c
                WHERE c.part = p.part AND c.deliver_at <= instant
                ORDER BY c.deliver_at LIMIT most * (turn + 1)
            ) s ORDER BY s.deliver_at OFFSET most * turn LIMIT most
        LOOP
            whole := one.whole;
            looked := looked + 1;
            IF whole.expires_at > 0 AND whole.expires_at <= instant THEN
                IF whole.kind = 3 AND members >= 10000 THEN
                    left_over := true;
                    CONTINUE;
                END IF;
                DELETE FROM peal.schedule d WHERE d.ctid = one.place AND d.version = whole.version;
                GET DIAGNOSTICS dropped = ROW_COUNT;
                gone := gone + dropped;
                IF whole.kind = 3 AND dropped > 0 THEN
                    members := members + peal.drop_list(whole.tenant, whole.id);
                END IF;
                CONTINUE;
            END IF;
            IF whole.kind = 0 AND peal.is_held(whole.slot, whole.tenant, whole.user_id) THEN
                left_at := least(left_at, whole.deliver_at);
                CONTINUE;
            END IF;
            RETURN QUERY SELECT instant, NULL::bigint, NULL::boolean, whole;
            told := told + 1;
            bytes := bytes + octet_length(whole.title) + octet_length(whole.message)
                + octet_length(whole.data);
            EXIT WHEN bytes >= most_bytes OR told >= most;
        END LOOP;
        EXIT WHEN bytes >= most_bytes OR looked < most OR told * 2 >= most OR left_at IS NULL;
    END LOOP;
    IF gone > 0 THEN
        RETURN QUERY SELECT NULL::bigint, gone, NULL::boolean, NULL::peal.schedule;
    END IF;
    RETURN QUERY SELECT instant, coalesce(least(left_at, min(s.deliver_at)), 0),
        left_over OR bytes >= most_bytes OR (looked >= most AND (told > 0 OR left_at IS NULL)),
        NULL::peal.schedule
        FROM unnest(parts) AS p (part) CROSS JOIN LATERAL (
            SELECT c.deliver_at FROM peal.schedule c
            WHERE c.part = p.part AND c.deliver_at > instant ORDER BY c.deliver_at LIMIT 1
        ) s;
END
$$;

-- Takes away what was kept, with its keys, because it is stored behind this in the same transaction.
-- Raises unless all of it is there as it was told. Inboxes of users are locked before.
CREATE FUNCTION peal.take(slots smallint[], ids uuid[], versions bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    taken bigint;
BEGIN
    WITH kept AS MATERIALIZED (
        SELECT s.place, s.slot, s.tenant, s.user_id, s.kind, s.name, s.key_hash, s.id
        FROM unnest(slots, ids, versions) AS u (slot, id, version) CROSS JOIN LATERAL (
            SELECT c.ctid AS place, c.slot, c.tenant, c.user_id, c.kind, c.name, c.key_hash, c.id,
                c.version
            FROM peal.schedule c
            WHERE c.slot = u.slot AND c.id >= u.id AND c.id <= u.id ORDER BY c.id LIMIT 1
            FOR UPDATE -- the version that counts is the last one
        ) s
        WHERE s.version = u.version
    ), gone AS (
        DELETE FROM peal.schedule s WHERE s.ctid = ANY (ARRAY(SELECT k.place FROM kept k))
        RETURNING s.id
    ), freed AS (
        DELETE FROM peal.dedup d WHERE d.ctid = ANY (ARRAY(
            SELECT f.place FROM kept k CROSS JOIN LATERAL (
                SELECT o.ctid AS place, o.id FROM peal.dedup o
                WHERE o.slot = k.slot AND o.tenant = k.tenant AND o.user_id = k.user_id
                    AND o.key_hash = k.key_hash
                LIMIT 1
            ) f
            WHERE k.kind = 0 AND f.id = k.id))
    ), freed_many AS (
        DELETE FROM peal.audience_key d WHERE d.ctid = ANY (ARRAY(
            SELECT f.place FROM kept k CROSS JOIN LATERAL (
                SELECT o.ctid AS place, o.id FROM peal.audience_key o
                WHERE o.tenant = k.tenant AND o.kind = k.kind AND o.name = k.name
                    AND o.key_hash = k.key_hash
                LIMIT 1
            ) f
            WHERE k.kind > 0 AND f.id = k.id))
    )
    SELECT count(*) INTO taken FROM gone;
    IF taken < cardinality(ids) THEN
        RAISE EXCEPTION 'it was delivered, changed or cancelled' USING ERRCODE = 'PE001';
    END IF;
END
$$;

-- Changes what is kept, cancels it, or (what = 0) reads it; tells what it is or was.
CREATE FUNCTION peal.reschedule(
    which smallint, with_id uuid, space text, cancel smallint, what integer, as_title text,
    as_message text, as_data bytea, as_priority smallint, until bigint, due bigint
) RETURNS SETOF peal.schedule
LANGUAGE plpgsql AS $$
DECLARE
    one record;
BEGIN
    SELECT f.ctid AS place, f.tenant, f.kind INTO one FROM peal.schedule f
        WHERE f.slot = which AND f.id >= with_id AND f.id <= with_id
        ORDER BY f.id LIMIT 1 FOR UPDATE;
    IF NOT FOUND OR one.tenant <> space THEN
        RETURN;
    END IF;
    IF cancel = 1 THEN
        IF one.kind = 3 THEN
            PERFORM peal.drop_list(space, with_id);
        END IF;
        RETURN QUERY DELETE FROM peal.schedule s WHERE s.ctid = one.place RETURNING s.*;
    ELSIF what = 0 THEN
        RETURN QUERY SELECT s.* FROM peal.schedule s WHERE s.ctid = one.place;
    ELSE
        RETURN QUERY UPDATE peal.schedule s SET version = s.version + 1,
            title = CASE WHEN what & 1 <> 0 THEN as_title ELSE s.title END,
            message = CASE WHEN what & 2 <> 0 THEN as_message ELSE s.message END,
            data = CASE WHEN what & 4 <> 0 THEN as_data ELSE s.data END,
            priority = CASE WHEN what & 8 <> 0 THEN as_priority ELSE s.priority END,
            expires_at = CASE WHEN what & 16 <> 0 THEN until ELSE s.expires_at END,
            deliver_at = CASE WHEN what & 32 <> 0 THEN due ELSE s.deliver_at END
            WHERE s.ctid = one.place RETURNING s.*;
    END IF;
END
$$;

-- How far the walk has come that takes what is older, or more, than a tenant keeps (sql/README.md). part 0 to
-- 7: inboxes of 512 slots each; 8: posts to many. slot, tenant, past: what is looked at next, of an inbox rows
-- behind (rev, seq), of a tenant posts above rev. began_at: 0: no walk is under way; ended_at: when the last
-- one ended, later than all others', so that they take turns, and what it took. By the database's clock.
CREATE TABLE peal.retention (
    part smallint PRIMARY KEY,
    slot smallint NOT NULL DEFAULT 0,
    tenant text COLLATE "C" NOT NULL DEFAULT '',
    past text COLLATE "C" NOT NULL DEFAULT '',
    rev bigint NOT NULL DEFAULT 0,
    seq bigint NOT NULL DEFAULT 0,
    began_at bigint NOT NULL DEFAULT 0,
    ended_at bigint NOT NULL,
    took_ms bigint NOT NULL DEFAULT 0
);
CREATE INDEX retention_ended ON peal.retention (ended_at);
INSERT INTO peal.retention (part, ended_at)
    SELECT p, floor(extract(epoch FROM clock_timestamp()) * 1000) + p FROM generate_series(0, 8) p;

-- What goes of an inbox, from a place on in the order of lists: rows that became new, and got their last
-- post, before `young`, and those beyond the newest `keep` (0: any number). What is snoozed stays; the first
-- row behind it that is to stay ends it, and so do `most` rows: then to_rev and to_seq say where it goes on.
-- Locks nothing.
CREATE FUNCTION peal.overdue(
    which smallint, space text, who text, head bigint, past_rev bigint, past_seq bigint, young bigint,
    keep bigint, most bigint,
    OUT seqs bigint[], OUT revs bigint[], OUT looked bigint, OUT to_rev bigint, OUT to_seq bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    rows CURSOR FOR SELECT n.seq, n.new_rev, n.snoozed_until, greatest(n.created_at,
            n.resurfaced_at, CASE WHEN n.count > 1 THEN n.updated_at ELSE 0 END) AS at
        FROM peal.notification n
        WHERE n.slot = which AND n.tenant = space AND n.user_id = who
            AND (n.new_rev, n.seq) > (past_rev, past_seq)
        ORDER BY n.new_rev, n.seq LIMIT most;
    one record;
    lowest bigint;
    edge_rev bigint;
    edge_seq bigint;
BEGIN
    looked := 1;
    IF keep > 0 AND head > keep THEN
        IF past_rev = 0 THEN
            SELECT n.seq INTO lowest FROM peal.notification n
                WHERE n.slot = which AND n.tenant = space AND n.user_id = who
                ORDER BY n.seq LIMIT 1;
        END IF;
        IF past_rev > 0 OR head - lowest >= keep THEN
            SELECT n.new_rev, n.seq INTO edge_rev, edge_seq FROM peal.notification n
                WHERE n.slot = which AND n.tenant = space AND n.user_id = who
                ORDER BY n.new_rev DESC, n.seq DESC OFFSET keep LIMIT 1;
            looked := looked + keep;
        END IF;
    END IF;
    OPEN rows;
    LOOP
        FETCH rows INTO one;
        IF NOT FOUND THEN
            EXIT;
        END IF;
        IF one.snoozed_until = 0 THEN
            IF one.at > young AND (edge_rev IS NULL
                OR (one.new_rev, one.seq) > (edge_rev, edge_seq)) THEN
                to_rev := NULL;
                EXIT;
            END IF;
            seqs := array_append(seqs, one.seq);
            revs := array_append(revs, one.new_rev);
        END IF;
        looked := looked + 1;
        most := most - 1;
        to_rev := CASE WHEN most = 0 THEN one.new_rev END;
        to_seq := one.seq;
    END LOOP;
    CLOSE rows;
END
$$;

-- Drops a post to many that has ended, unless a digest holds it, and before that the members of its list and
-- what is left of digests that are gone: `removed` of both, `most` at most; then some may be left, and the
-- post. Digests are looked at in one order, up to the first that is there.
CREATE FUNCTION peal.drop_ended(
    space text, number bigint, as_kind smallint, audience text, most bigint, OUT removed bigint,
    OUT looked bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    marks tid[] := '{}';
    one record;
BEGIN
    removed := 0;
    looked := 0;
    FOR one IN
        SELECT d.ctid AS mark, r.is_there FROM peal.digest_post d LEFT JOIN LATERAL (
            SELECT true AS is_there FROM peal.notification f
            WHERE f.slot = d.slot AND f.tenant = space AND f.user_id = d.user_id
                AND f.seq >= d.seq AND f.seq <= d.seq
            ORDER BY f.seq LIMIT 1
        ) r ON true
        WHERE d.tenant = space AND d.n = number AND d.user_id >= ''
        ORDER BY d.user_id LIMIT most
    LOOP
        looked := looked + 1;
        IF one.is_there THEN
            RETURN;
        END IF;
        marks := marks || one.mark;
    END LOOP;
    -- Who is not taken goes with what has locked it, or when the user comes.
    IF as_kind = 3 THEN
        DELETE FROM peal.member m WHERE m.ctid = ANY (ARRAY(
            SELECT l.ctid FROM peal.member l
            WHERE l.tenant = space AND l.kind = 3 AND l.name = audience AND l.user_id >= ''
            ORDER BY l.user_id LIMIT most FOR UPDATE SKIP LOCKED));
        GET DIAGNOSTICS removed = ROW_COUNT;
    END IF;
    marks := marks[:most - removed];
    DELETE FROM peal.digest_post d WHERE d.ctid = ANY (marks);
    removed := removed + cardinality(marks);
    looked := looked + removed;
    IF removed < most THEN
        DELETE FROM peal.audience_post p WHERE p.tenant = space AND p.n = number;
    END IF;
END
$$;

-- Ends posts to many that are as old as their tenant keeps any: nobody gets them any more. What was ended
-- before, and which nobody has, goes, with the members of its list. From the place of a walk on, which
-- it moves; whether the walk is over.
CREATE FUNCTION peal.end_posts(
    INOUT place peal.retention, instant bigint, usual_age bigint, spaces text[], ages bigint[],
    most bigint, OUT is_over boolean
)
LANGUAGE plpgsql AS $$
DECLARE
    space text;
    age bigint;
    post record;
    gone record;
    looked bigint := 0;
BEGIN
    is_over := false;
    WHILE looked < most LOOP
        SELECT h.tenant INTO space FROM peal.audience_head h WHERE h.tenant >= place.tenant
            ORDER BY h.tenant LIMIT 1;
        IF NOT FOUND THEN
            is_over := true;
            RETURN;
        END IF;
        IF space <> place.tenant THEN
            place.tenant := space;
            place.rev := 0;
        END IF;
        looked := looked + 1;
        age := coalesce(ages[array_position(spaces, space)], usual_age);
        FOR post IN
            SELECT p.n, p.kind, p.name, p.created_at, p.ended FROM peal.audience_post p
            WHERE p.tenant = space AND p.n > place.rev AND age > 0 ORDER BY p.n LIMIT most + 1
        LOOP
            EXIT WHEN post.created_at > instant - age;
            IF looked > most THEN -- so that each step comes further, whatever `most` is
                RETURN;
            END IF;
            looked := looked + 1;
            IF NOT post.ended THEN
                UPDATE peal.audience_post p SET ended = true
                    WHERE p.tenant = space AND p.n = post.n;
            ELSIF NOT EXISTS (
                SELECT FROM peal.notification a
                WHERE a.tenant = space AND a.audience_n > 0 AND a.audience_n = post.n LIMIT 1
            ) AND NOT EXISTS (
                SELECT FROM peal.audience_change c WHERE c.tenant = space AND c.n = post.n LIMIT 1
            ) THEN
                SELECT * INTO gone FROM peal.drop_ended(space, post.n, post.kind, post.name, most);
                looked := looked + gone.looked;
                IF gone.removed = most THEN
                    RETURN; -- some may be left
                END IF;
            END IF;
            place.rev := post.n;
        END LOOP;
        place.tenant := space || chr(1);
        place.rev := 0;
    END LOOP;
END
$$;

-- A step of the walk that is due longest and that nobody else takes: looks through inboxes until `most` of
-- them, or `most` rows that go, or twenty times as many that were looked at, and buries what goes of those
-- that nobody has locked; the others' goes with the next walk. What is told is as of peal.sweep, and in the
-- first row for how long inboxes have not been looked through that should have been, how many were, and what
-- the last walk over all took, which part it was and whether that is done. told: what time it is; 0: by our clock.
CREATE FUNCTION peal.retain(
    told bigint, every bigint, usual_age bigint, usual_rows bigint, spaces text[], ages bigint[],
    counts bigint[], most bigint
) RETURNS TABLE (
    ret_tenant text, ret_user text, ret_seq bigint, ret_rev bigint, ret_unread bigint,
    ret_unseen bigint, ret_id uuid, ret_row_seq bigint, ret_state smallint, ret_more boolean,
    ret_late bigint, ret_looked bigint, ret_took bigint, ret_part smallint, ret_done boolean,
    ret_now bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    clock CONSTANT bigint := floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    instant CONSTANT bigint := CASE WHEN told > 0 THEN told ELSE clock END;
    place peal.retention;
    box record;
    found_rows record;
    which integer;
    age bigint;
    keep bigint;
    boxes bigint := 0;
    looked bigint := 0;
    stopped boolean := false;
    is_over boolean;
    stands record;
    due_slots smallint[];
    due_tenants text[];
    due_users text[];
    due_seqs bigint[];
    due_revs bigint[];
    held_slots smallint[];
    held_tenants text[];
    held_users text[];
    places tid[];
    slots smallint[];
    tenants text[];
    users text[];
    seqs bigint[];
    ids uuid[];
    states smallint[];
BEGIN
    SELECT r.* INTO place FROM peal.retention r WHERE r.ended_at <= clock - every
        ORDER BY r.ended_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF place.part IS NULL THEN
        SELECT min(r.ended_at) AS first, sum(r.took_ms)::bigint AS took INTO stands
            FROM peal.retention r WHERE r.part >= 0;
        RETURN QUERY SELECT NULL::text, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint,
            NULL::bigint, NULL::uuid, NULL::bigint, NULL::smallint, false,
            greatest(clock - stands.first - every, 0), 0::bigint, stands.took, 0::smallint, false,
            instant;
        RETURN;
    END IF;
    IF place.began_at = 0 THEN
        place.began_at := clock;
        place.slot := CASE WHEN place.part < 8 THEN place.part * 512 ELSE 0 END;
        place.tenant := '';
        place.past := '';
        place.rev := 0;
        place.seq := 0;
    END IF;
    IF place.part = 8 THEN
        SELECT e.* INTO stands
            FROM peal.end_posts(place, instant, usual_age, spaces, ages, most) e;
        place := stands.place;
        is_over := stands.is_over;
    END IF;
    FOR box IN
        SELECT i.slot, i.tenant::text AS tenant, i.user_id::text AS user_id, i.seq FROM peal.inbox i
        WHERE (i.slot, i.tenant, i.user_id) >= (place.slot, place.tenant, place.past)
            AND i.slot < (place.part + 1) * 512 AND place.part < 8
        ORDER BY i.slot, i.tenant, i.user_id LIMIT most
    LOOP
        IF box.slot <> place.slot OR box.tenant <> place.tenant OR box.user_id <> place.past THEN
            place.slot := box.slot;
            place.tenant := box.tenant;
            place.past := box.user_id;
            place.rev := 0;
            place.seq := 0;
        END IF;
        stopped := looked >= most * 20 OR coalesce(cardinality(due_seqs), 0) >= most;
        EXIT WHEN stopped;
        boxes := boxes + 1;
        which := array_position(spaces, box.tenant);
        age := coalesce(ages[which], usual_age);
        keep := coalesce(counts[which], usual_rows);
        place.past := box.user_id || chr(1);
        CONTINUE WHEN age = 0 AND keep = 0;
        SELECT o.* INTO found_rows FROM peal.overdue(box.slot, box.tenant, box.user_id, box.seq,
            place.rev, place.seq, CASE WHEN age > 0 THEN instant - age ELSE -1 END, keep,
            most - coalesce(cardinality(due_seqs), 0)) o;
        looked := looked + found_rows.looked;
        IF found_rows.seqs IS NOT NULL THEN
            due_slots := due_slots || array_fill(box.slot, ARRAY[cardinality(found_rows.seqs)]);
            due_tenants := due_tenants
                || array_fill(box.tenant, ARRAY[cardinality(found_rows.seqs)]);
            due_users := due_users || array_fill(box.user_id, ARRAY[cardinality(found_rows.seqs)]);
            due_seqs := due_seqs || found_rows.seqs;
            due_revs := due_revs || found_rows.revs;
        END IF;
        place.rev := 0;
        place.seq := 0;
        IF found_rows.to_rev IS NOT NULL THEN
            place.past := box.user_id;
            place.rev := found_rows.to_rev;
            place.seq := found_rows.to_seq;
            stopped := true;
            EXIT;
        END IF;
    END LOOP;
    IF place.part < 8 THEN
        is_over := NOT stopped AND boxes < most;
    END IF;
    UPDATE peal.retention r SET slot = place.slot, tenant = CASE WHEN is_over THEN '' ELSE place.tenant END,
        past = CASE WHEN is_over THEN '' ELSE place.past END, rev = place.rev, seq = place.seq,
        began_at = CASE WHEN is_over THEN 0 ELSE place.began_at END,
        ended_at = CASE WHEN is_over THEN greatest(clock,
            (SELECT max(m.ended_at) + 1 FROM peal.retention m WHERE m.part >= 0)) ELSE r.ended_at END,
        took_ms = CASE WHEN is_over THEN greatest(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
            - place.began_at, 0) ELSE r.took_ms END
        WHERE r.part = place.part;
    SELECT min(r.ended_at) AS first, sum(r.took_ms)::bigint AS took INTO stands
        FROM peal.retention r WHERE r.part >= 0;
    RETURN QUERY SELECT NULL::text, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint,
        NULL::bigint, NULL::uuid, NULL::bigint, NULL::smallint,
        NOT is_over OR stands.first <= clock - every, greatest(clock - stands.first - every, 0), boxes,
        stands.took, place.part, is_over, instant;
    IF due_seqs IS NULL THEN
        RETURN;
    END IF;
    SELECT array_agg(h.slot), array_agg(h.tenant), array_agg(h.user_id)
        INTO held_slots, held_tenants, held_users
        FROM peal.hold(due_slots, due_tenants, due_users) h;
    SELECT array_agg(n.place), array_agg(n.slot), array_agg(n.tenant::text),
            array_agg(n.user_id::text), array_agg(n.seq), array_agg(n.id), array_agg(n.state)
        INTO places, slots, tenants, users, seqs, ids, states
        FROM unnest(due_slots, due_tenants, due_users, due_seqs, due_revs)
            AS u (slot, tenant, user_id, seq, rev)
        JOIN unnest(held_slots, held_tenants, held_users) AS h (slot, tenant, user_id)
            ON h.slot = u.slot AND h.tenant = u.tenant AND h.user_id = u.user_id
        CROSS JOIN LATERAL (
            SELECT f.ctid AS place, f.slot, f.tenant, f.user_id, f.seq, f.id, f.state, f.new_rev,
                f.snoozed_until
            FROM peal.notification f
            WHERE f.slot = u.slot AND f.tenant = u.tenant AND f.user_id = u.user_id
                AND f.seq >= u.seq AND f.seq <= u.seq
            ORDER BY f.seq LIMIT 1
        ) n
        WHERE n.new_rev = u.rev AND n.snoozed_until = 0;
    RETURN QUERY SELECT b.*, NULL::boolean, NULL::bigint, NULL::bigint, NULL::bigint, NULL::smallint,
        NULL::boolean, NULL::bigint
        FROM peal.bury(places, slots, tenants, users, seqs, ids, states, 5::smallint, instant) b;
END
$$;

-- What workers do. state: 0 waiting (delayed before run_at), 1 active, 2 completed, 3 failed, 4 dead. slot: of
-- user_id where there is one, else 0; what is found by its queue needs none. lease: the right to end it, while
-- it is active, until `until`. The rest: sql/store_job.h. Rows change their place in indexes with each state,
-- so that what is dead there is taken away sooner than elsewhere.
CREATE TABLE peal.job (
    slot smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    queue text COLLATE "C" NOT NULL,
    type text NOT NULL,
    payload bytea NOT NULL,
    priority smallint NOT NULL,
    state smallint NOT NULL DEFAULT 0,
    attempt integer NOT NULL DEFAULT 0,
    stalls integer NOT NULL DEFAULT 0,
    percentage integer NOT NULL DEFAULT 0,
    created_at bigint NOT NULL,
    run_at bigint NOT NULL,
    started_at bigint NOT NULL DEFAULT 0,
    until bigint NOT NULL DEFAULT 0,
    ended_at bigint NOT NULL DEFAULT 0,
    lease uuid,
    worker text NOT NULL DEFAULT '',
    stage text NOT NULL DEFAULT '',
    message text NOT NULL DEFAULT '',
    error text NOT NULL DEFAULT '',
    result bytea NOT NULL DEFAULT '',
    PRIMARY KEY (slot, tenant, user_id, created_at, id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE UNIQUE INDEX job_id ON peal.job (slot, id);
CREATE INDEX job_ready ON peal.job (queue, tenant, priority, run_at, id) WHERE state = 0;
CREATE INDEX job_active ON peal.job (queue, tenant, until, id) WHERE state = 1;
CREATE INDEX job_until ON peal.job (until) WHERE state = 1;
CREATE INDEX job_ended ON peal.job (queue, tenant, state, ended_at, id) WHERE state > 1;

-- Keys of jobs, kept for a while beyond the job: a repeat gets the first one's id.
CREATE TABLE peal.job_key (
    queue text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    key_hash uuid NOT NULL,
    id uuid NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (queue, tenant, key_hash)
);
CREATE INDEX job_key_at ON peal.job_key (at);

-- A queue of a tenant, from its first lease or pause on, with what its last lease came with. sweep_at: when it
-- is looked at for ended jobs beyond what is kept; 0: there are none to come. Who leases locks it.
CREATE TABLE peal.job_queue (
    queue text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    paused smallint NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 3,
    backoff_ms bigint NOT NULL DEFAULT 2000,
    timeout_ms bigint NOT NULL DEFAULT 60000,
    keep_completed integer NOT NULL DEFAULT 100,
    keep_failed integer NOT NULL DEFAULT 50,
    sweep_at bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (queue, tenant)
);
CREATE INDEX job_queue_sweep ON peal.job_queue (sweep_at) WHERE sweep_at > 0;

CREATE FUNCTION peal.instant() RETURNS bigint
LANGUAGE sql VOLATILE AS $$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- Adds jobs whose key nobody has. Keys are taken in order, so that no two batches wait for each other; the
-- second statement sees whose a key is.
CREATE FUNCTION peal.job_add(
    slots smallint[], spaces text[], users text[], ids uuid[], queues text[], types text[],
    payloads bytea[], keys uuid[], priorities smallint[], due bigint[]
) RETURNS TABLE (ret_id uuid, ret_repeat boolean)
LANGUAGE plpgsql AS $$
DECLARE
    instant bigint := peal.instant();
BEGIN
    INSERT INTO peal.job_key (queue, tenant, key_hash, id, at)
        SELECT u.queue, u.tenant, u.key, u.id, instant
        FROM unnest(queues, spaces, keys, ids) WITH ORDINALITY AS u (queue, tenant, key, id, n)
        ORDER BY u.queue COLLATE "C", u.tenant COLLATE "C", u.key, u.n
        ON CONFLICT (queue, tenant, key_hash) DO NOTHING;
    RETURN QUERY WITH known AS MATERIALIZED (
        SELECT u.*, k.id AS first FROM unnest(slots, spaces, users, ids, queues, types, payloads,
            keys, priorities, due)
            WITH ORDINALITY AS u (slot, tenant, user_id, id, queue, type, payload, key, priority,
                due, n)
        CROSS JOIN LATERAL (
            SELECT j.id FROM peal.job_key j
            WHERE j.queue = u.queue AND j.tenant = u.tenant AND j.key_hash = u.key LIMIT 1
        ) k
    ), added AS (
        INSERT INTO peal.job (slot, tenant, user_id, id, queue, type, payload, priority,
            created_at, run_at)
            SELECT n.slot, n.tenant, n.user_id, n.id, n.queue, n.type, n.payload, n.priority,
                instant, CASE WHEN n.due > 0 THEN n.due ELSE instant END
            FROM known n WHERE n.first = n.id
    )
    SELECT n.first, n.first <> n.id FROM known n ORDER BY n.n;
END
$$;

-- Whether a queue has a job that is due; it reads one entry a priority.
CREATE FUNCTION peal.job_is_due(name text, space text, instant bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM unnest('{0,1,2,3}'::smallint[]) AS p (priority) CROSS JOIN LATERAL (
        SELECT FROM peal.job j WHERE j.state = 0 AND j.queue = name AND j.tenant = space
            AND j.priority = p.priority AND j.run_at <= instant
        ORDER BY j.run_at LIMIT 1) d)
$$;

-- Locks a queue's row, making it where it is not there yet, and keeps what holds for it; how many more of its
-- jobs may be active. Who holds the lock is the only one who makes jobs of the queue active.
CREATE FUNCTION peal.job_enter(
    name text, space text, instant bigint, room integer, tries integer, pause bigint, span bigint,
    completed integer, failed integer
) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    held peal.job_queue;
    busy integer;
BEGIN
    LOOP
        SELECT q.* INTO held FROM peal.job_queue q WHERE q.queue = name AND q.tenant = space
            FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO peal.job_queue (queue, tenant) VALUES (name, space)
            ON CONFLICT (queue, tenant) DO NOTHING;
    END LOOP;
    IF held.paused <> 0 THEN
        RETURN 0;
    END IF;
    IF held.sweep_at = 0 OR (held.attempts, held.backoff_ms, held.timeout_ms, held.keep_completed,
            held.keep_failed) <> (tries, pause, span, completed, failed) THEN
        UPDATE peal.job_queue q SET attempts = tries, backoff_ms = pause, timeout_ms = span,
            keep_completed = completed, keep_failed = failed,
            sweep_at = CASE WHEN q.sweep_at = 0 THEN instant + 10000 ELSE q.sweep_at END
            WHERE q.queue = name AND q.tenant = space;
    END IF;
    SELECT count(*) INTO busy FROM (
        SELECT FROM peal.job j WHERE j.state = 1 AND j.queue = name AND j.tenant = space
        LIMIT room) a;
    RETURN room - busy;
END
$$;

-- Leases jobs of queues that are due, by priority, run_at and id. Queues are locked in the order of their
-- names; one without a job that is due is not locked. Without any, the one row says when the first of what is
-- delayed is due.
CREATE FUNCTION peal.job_lease(
    space text, names text[], rooms bigint[], tries bigint[], pauses bigint[], spans bigint[],
    completed bigint[], failed bigint[], most integer, as_worker text, as_lease uuid
) RETURNS TABLE (ret_now bigint, ret_next bigint, ret_job peal.job)
LANGUAGE plpgsql AS $$
DECLARE
    instant bigint := peal.instant();
    one record;
    free integer;
    open_names text[] := '{}';
    open_rooms integer[] := '{}';
    open_spans bigint[] := '{}';
BEGIN
    FOR one IN
        SELECT q.* FROM unnest(names, rooms, tries, pauses, spans, completed, failed)
            AS q (name, room, tries, pause, span, completed, failed)
        WHERE peal.job_is_due(q.name, space, instant) ORDER BY q.name COLLATE "C"
    LOOP
        free := peal.job_enter(one.name, space, instant, one.room::integer, one.tries::integer,
            one.pause, one.span, one.completed::integer, one.failed::integer);
        IF free > 0 THEN
            open_names := open_names || one.name;
            open_rooms := open_rooms || least(free, most);
            open_spans := open_spans || one.span;
        END IF;
    END LOOP;
    instant := peal.instant();
    RETURN QUERY WITH found AS MATERIALIZED (
        SELECT c.place FROM unnest(open_names, open_rooms) AS q (name, room) CROSS JOIN LATERAL (
            SELECT d.* FROM unnest('{0,1,2,3}'::smallint[]) AS p (priority) CROSS JOIN LATERAL (
                SELECT j.ctid AS place, j.priority, j.run_at, j.id FROM peal.job j
                WHERE j.state = 0 AND j.queue = q.name AND j.tenant = space
                    AND j.priority = p.priority AND j.run_at <= instant
                ORDER BY j.run_at, j.id LIMIT q.room FOR UPDATE SKIP LOCKED
            ) d ORDER BY d.priority DESC, d.run_at, d.id LIMIT q.room
        ) c ORDER BY c.priority DESC, c.run_at, c.id LIMIT most
    ), given AS (
        UPDATE peal.job j SET state = 1, attempt = j.attempt + 1, started_at = instant,
            until = instant + open_spans[array_position(open_names, j.queue)], lease = as_lease,
            worker = as_worker, percentage = 0, stage = '', message = ''
            WHERE j.ctid = ANY (ARRAY(SELECT f.place FROM found f))
            RETURNING j AS whole
    )
    SELECT instant, 0::bigint, g.whole FROM given g
        ORDER BY (g.whole).priority DESC, (g.whole).run_at, (g.whole).id;
    IF NOT FOUND THEN
        RETURN QUERY SELECT instant, coalesce(min(d.run_at), 0), NULL::peal.job
            FROM unnest(names) AS q (name) CROSS JOIN unnest('{0,1,2,3}'::smallint[]) AS p (priority)
            CROSS JOIN LATERAL (
                SELECT j.run_at FROM peal.job j WHERE j.state = 0 AND j.queue = q.name
                    AND j.tenant = space AND j.priority = p.priority AND j.run_at > instant
                ORDER BY j.run_at LIMIT 1
            ) d;
    END IF;
END
$$;

-- What becomes of one job; the verbs and outcomes are those of sql/store_job.h. Locks it, and nothing else.
CREATE FUNCTION peal.job_step(
    which smallint, with_id uuid, space text, verb integer, with_lease uuid, percent integer,
    as_stage text, as_message text, as_result bytea, as_error text, final integer, jitter integer,
    wait_ms bigint
) RETURNS TABLE (ret_outcome integer, ret_now bigint, ret_job peal.job)
LANGUAGE plpgsql AS $$
DECLARE
    one record;
    job peal.job;
    rule peal.job_queue;
    instant bigint;
    pause bigint;
BEGIN
    SELECT f.ctid AS place, f AS whole INTO one FROM peal.job f
        WHERE f.slot = which AND f.id >= with_id AND f.id <= with_id ORDER BY f.id LIMIT 1
        FOR UPDATE;
    IF NOT FOUND OR (one.whole).tenant <> space THEN
        RETURN QUERY SELECT 1, 0::bigint, NULL::peal.job;
        RETURN;
    END IF;
    job := one.whole;
    instant := peal.instant();
    IF verb < 4 AND (job.state <> 1 OR job.lease <> with_lease) THEN
        RETURN QUERY SELECT 2, instant, job;
        RETURN;
    END IF;
    IF verb = 5 THEN
        DELETE FROM peal.job j WHERE j.ctid = one.place;
        RETURN QUERY SELECT 0, instant, job;
        RETURN;
    END IF;
    SELECT q.* INTO rule FROM peal.job_queue q WHERE q.queue = job.queue AND q.tenant = space;
    IF verb = 0 THEN
        job.percentage := percent;
        job.stage := as_stage;
        job.message := as_message;
        job.until := instant + rule.timeout_ms;
    ELSIF verb = 1 THEN
        job.state := 2;
        job.result := as_result;
        job.error := '';
        job.percentage := 100;
        job.stage := 'completed';
        job.ended_at := instant;
    ELSIF verb = 2 THEN
        job.error := as_error;
        IF final = 0 AND job.attempt < rule.attempts THEN
            pause := least((rule.backoff_ms * power(2, job.attempt - 1))::numeric, 43200000)::bigint;
            job.state := 0;
            job.run_at := instant + greatest(pause + pause * jitter / 1000, wait_ms);
        ELSE
            job.state := CASE WHEN final > 0 THEN 3 ELSE 4 END;
            job.ended_at := instant;
        END IF;
    ELSIF verb = 3 THEN
        job.state := 0;
        job.attempt := job.attempt - 1;
        job.run_at := CASE WHEN wait_ms > 0 THEN instant + wait_ms ELSE job.run_at END;
        job.error := CASE WHEN as_error <> '' THEN as_error ELSE job.error END;
    ELSIF job.state > 2 OR (job.state = 0 AND job.run_at > instant) THEN
        job.state := 0;
        job.attempt := 0;
        job.stalls := 0;
        job.percentage := 0;
        job.run_at := instant;
        job.ended_at := 0;
        job.stage := '';
        job.message := '';
    ELSE
        RETURN QUERY SELECT 3, instant, job;
        RETURN;
    END IF;
    IF verb > 0 THEN
        job.lease := NULL;
        job.until := 0;
    END IF;
    UPDATE peal.job j SET state = job.state, attempt = job.attempt, stalls = job.stalls,
        percentage = job.percentage, run_at = job.run_at, until = job.until,
        ended_at = job.ended_at, lease = job.lease, stage = job.stage, message = job.message,
        error = job.error, result = job.result
        WHERE j.ctid = one.place;
    RETURN QUERY SELECT 0, instant, job;
END
$$;

-- Gives back jobs whose lease is over, or ends them; those that somebody has locked are left for the next time.
CREATE FUNCTION peal.job_expire(most integer) RETURNS SETOF peal.job
LANGUAGE plpgsql AS $$
DECLARE
    instant bigint := peal.instant();
BEGIN
    RETURN QUERY WITH over AS MATERIALIZED (
        SELECT l.place, coalesce(q.attempts, 1) AS attempts FROM (
            SELECT j.ctid AS place, j.queue, j.tenant FROM peal.job j
            WHERE j.state = 1 AND j.until <= instant
            ORDER BY j.until LIMIT most FOR UPDATE SKIP LOCKED
        ) l LEFT JOIN LATERAL (
            SELECT r.attempts FROM peal.job_queue r
            WHERE r.queue = l.queue AND r.tenant = l.tenant LIMIT 1
        ) q ON true
    ), tries AS MATERIALIZED (
        SELECT array_agg(o.place) AS places, array_agg(o.attempts) AS attempts FROM over o
    )
    UPDATE peal.job j SET stalls = j.stalls + 1, error = 'stalled', lease = NULL, until = 0,
        state = CASE WHEN j.attempt < t.attempts[array_position(t.places, j.ctid)]
            THEN 0 ELSE 4 END,
        ended_at = CASE WHEN j.attempt < t.attempts[array_position(t.places, j.ctid)]
            THEN 0 ELSE instant END
        FROM tries t WHERE j.ctid = ANY (ARRAY(SELECT o.place FROM over o))
        RETURNING j.*;
END
$$;

-- Drops what is behind the newest `keep` in a state; how many.
CREATE FUNCTION peal.job_drop_ended(name text, space text, which smallint, keep integer, most integer)
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    edge_at bigint;
    edge_id uuid;
    gone bigint;
BEGIN
    SELECT j.ended_at, j.id INTO edge_at, edge_id FROM peal.job j
        WHERE j.state > 1 AND j.queue = name AND j.tenant = space AND j.state = which
        ORDER BY j.ended_at DESC, j.id DESC OFFSET keep LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    DELETE FROM peal.job d WHERE d.ctid = ANY (ARRAY(
        SELECT j.ctid FROM peal.job j
        WHERE j.state > 1 AND j.queue = name AND j.tenant = space AND j.state = which
            AND (j.ended_at, j.id) <= (edge_at, edge_id)
        ORDER BY j.ended_at, j.id LIMIT most FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;

-- A step of what goes: ended jobs of the queue that is due first and that nobody has locked, then keys. A queue
-- is looked at again while jobs of it are active; no other can become so meanwhile, because its row is locked.
CREATE FUNCTION peal.job_sweep(most integer) RETURNS TABLE (ret_dropped bigint, ret_more boolean)
LANGUAGE plpgsql AS $$
DECLARE
    instant bigint := peal.instant();
    held peal.job_queue;
    gone bigint;
    dropped bigint := 0;
    fully boolean := true;
    busy boolean;
    looked bigint;
BEGIN
    SELECT q.* INTO held FROM peal.job_queue q WHERE q.sweep_at > 0 AND q.sweep_at <= instant
        ORDER BY q.sweep_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    ret_more := FOUND;
    IF FOUND THEN
        FOR which IN 2 .. 4 LOOP
            gone := peal.job_drop_ended(held.queue, held.tenant, which::smallint,
                CASE WHEN which = 2 THEN held.keep_completed ELSE held.keep_failed END, most);
            dropped := dropped + gone;
            fully := fully AND gone < most;
        END LOOP;
        IF fully THEN
            SELECT EXISTS (SELECT FROM peal.job j WHERE j.state = 1 AND j.queue = held.queue
                AND j.tenant = held.tenant LIMIT 1) INTO busy;
            UPDATE peal.job_queue q SET sweep_at = CASE WHEN busy THEN instant + 10000 ELSE 0 END
                WHERE q.queue = held.queue AND q.tenant = held.tenant;
        END IF;
    END IF;
    WITH old AS MATERIALIZED (
        SELECT k.ctid AS place, k.id FROM peal.job_key k WHERE k.at <= instant - 604800000
        ORDER BY k.at LIMIT most FOR UPDATE SKIP LOCKED
    ), stays AS MATERIALIZED (
        SELECT o.place FROM old o CROSS JOIN LATERAL (
            SELECT FROM peal.job j WHERE j.slot = ('x' || substr(o.id::text, 16, 3))::bit(12)::integer::smallint
                AND j.id >= o.id AND j.id <= o.id ORDER BY j.id LIMIT 1
        ) f
    ), kept AS (
        UPDATE peal.job_key k SET at = instant
            WHERE k.ctid = ANY (ARRAY(SELECT s.place FROM stays s))
    ), freed AS (
        DELETE FROM peal.job_key k WHERE k.ctid = ANY (ARRAY(
            SELECT o.place FROM old o WHERE NOT o.place = ANY (ARRAY(SELECT s.place FROM stays s))))
    )
    SELECT count(*) FROM old INTO looked;
    ret_dropped := dropped;
    ret_more := ret_more OR looked >= most;
    RETURN NEXT;
END
$$;

-- Where notifications are pushed to (codec/device.h). address_hash: of the tenant and the address, which
-- belongs to one device of it. foreground_at: since when it is in front; 0: it is not.
CREATE TABLE peal.device (
    slot smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    address_hash uuid NOT NULL,
    body text NOT NULL,
    created_at bigint NOT NULL,
    registered_at bigint NOT NULL,
    foreground_at bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (slot, tenant, user_id, id)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX device_address ON peal.device (address_hash);

-- Registers a device under the lock of its user's inbox. Who registers the same address at the same time for
-- another user is waited for by the index, and found by the next turn. user_id is not compared as the column: its
-- index must not be taken.
CREATE FUNCTION peal.device_put(
    which smallint, space text, who text, proposed uuid, given boolean, address uuid, content text, most integer
) RETURNS TABLE (ret_moved bigint, ret_dropped bigint, ret_device peal.device)
LANGUAGE plpgsql AS $$
DECLARE
    instant bigint := peal.instant();
    device uuid := proposed;
BEGIN
    LOOP
        BEGIN
            IF NOT given THEN
                device := coalesce((SELECT d.id FROM peal.device d WHERE d.address_hash = address
                    AND d.user_id || '' = who), proposed);
            END IF;
            WITH gone AS (
                DELETE FROM peal.device d WHERE d.address_hash = address AND (d.user_id <> who OR d.id <> device) RETURNING d.user_id
            ) SELECT count(*) FILTER (WHERE g.user_id <> who) INTO ret_moved FROM gone g;
            INSERT INTO peal.device AS d (slot, tenant, user_id, id, address_hash, body,
                    created_at, registered_at)
                VALUES (which, space, who, device, address, content, instant, instant)
                ON CONFLICT (slot, tenant, user_id, id) DO UPDATE SET
                    address_hash = excluded.address_hash, body = excluded.body,
                    registered_at = greatest(d.registered_at, excluded.registered_at)
                RETURNING d.* INTO ret_device;
            EXIT;
        EXCEPTION WHEN unique_violation THEN
            NULL;
        END;
    END LOOP;
    WITH gone AS (
        DELETE FROM peal.device d WHERE d.ctid = ANY (ARRAY(SELECT o.ctid FROM peal.device o
            WHERE o.slot = which AND o.tenant = space AND o.user_id = who AND o.id <> device
            ORDER BY o.registered_at DESC, o.id DESC OFFSET most - 1)) RETURNING 1
    ) SELECT count(*) INTO ret_dropped FROM gone g;
    UPDATE peal.inbox i SET devices = 1
        WHERE i.slot = which AND i.tenant = space AND i.user_id = who AND i.devices = 0;
    INSERT INTO peal.push_reach (slot, tenant, user_id, rev)
        SELECT i.slot, i.tenant, i.user_id, i.rev FROM peal.inbox i
        WHERE i.slot = which AND i.tenant = space AND i.user_id = who
        ON CONFLICT (slot, tenant, user_id) DO NOTHING;
    RETURN NEXT;
END
$$;

-- What was said in rooms whose type keeps it. n is the order; slot: of (tenant, room); user_id: who said it, or
-- empty. Rows are added, and go when they are over.
CREATE TABLE peal.room_message (
    slot smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    room text COLLATE "C" NOT NULL,
    n bigint GENERATED ALWAYS AS IDENTITY,
    id uuid NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    event bytea NOT NULL,
    args bytea NOT NULL,
    at bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (slot, tenant, room, n)
);
CREATE UNIQUE INDEX room_message_id ON peal.room_message (slot, id);
CREATE INDEX room_message_user ON peal.room_message (tenant, user_id, n) WHERE user_id <> '';
CREATE INDEX room_message_expires ON peal.room_message (expires_at);

-- Up to which rev hand-offs to devices of a user were arranged (sql/store_push.h); received: the highest seq that
-- a client of the user has. Its lock comes behind that of the inbox, and alone where hand-offs are arranged.
CREATE TABLE peal.push_reach (
    slot smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    rev bigint NOT NULL,
    received bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (slot, tenant, user_id)
) WITH (fillfactor = 70);

-- What was handed over: a row and a device, as of `rev` of the row. state: 1 sent, 2 failed, 3 cleared.
CREATE TABLE peal.push (
    slot smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    device uuid NOT NULL,
    rev bigint NOT NULL,
    type text NOT NULL,
    state smallint NOT NULL,
    at bigint NOT NULL,
    error text NOT NULL DEFAULT '',
    PRIMARY KEY (slot, tenant, user_id, id, device)
);
CREATE INDEX push_at ON peal.push (at);
CREATE INDEX push_shown ON peal.push (slot, tenant, user_id, device) WHERE state = 1;

-- A new id for a job of the slot of `id`, and of its time.
CREATE FUNCTION peal.push_job_id(id uuid) RETURNS uuid
LANGUAGE sql VOLATILE AS $$ SELECT (left(id::text, 19) || right(gen_random_uuid()::text, 17))::uuid $$;

-- Whether a row may be on a lock screen: it is there, unread or seen.
CREATE FUNCTION peal.push_is_open(which smallint, space text, who text, with_id uuid) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce((SELECT n.tenant = space AND n.user_id = who AND n.state < 2 FROM (
        SELECT f.tenant, f.user_id, f.state FROM peal.notification f
        WHERE f.slot = which AND f.id >= with_id AND f.id <= with_id ORDER BY f.id LIMIT 1) n), false)
$$;

-- Arranges what one user's devices are to be handed, of `most` rows (and all of the last one's rev); how many jobs,
-- how many that clear, and whether there may be more. NULL: somebody else is doing it.
CREATE FUNCTION peal.push_arrange_user(
    which smallint, space text, who text, wait_ms bigint, most integer, most_clear integer,
    OUT ret_jobs bigint, OUT ret_clears bigint, OUT ret_rest boolean
)
LANGUAGE plpgsql AS $$
DECLARE
    instant bigint := peal.instant();
    done bigint;
    head bigint;
    edge bigint;
    looked integer;
BEGIN
    SELECT p.rev INTO done FROM peal.push_reach p
        WHERE p.slot = which AND p.tenant = space AND p.user_id = who FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT i.rev INTO head FROM peal.inbox i
        WHERE i.slot = which AND i.tenant = space AND i.user_id = who;
    SELECT max(w.new_rev), count(*) INTO edge, looked FROM (
        SELECT n.new_rev FROM peal.notification n
        WHERE n.slot = which AND n.tenant = space AND n.user_id = who AND n.new_rev > done
        ORDER BY n.new_rev LIMIT most) w;
    ret_rest := looked = most;
    head := CASE WHEN ret_rest THEN edge ELSE greatest(head, edge) END;
    WITH added AS (
        INSERT INTO peal.job (slot, tenant, user_id, id, queue, type, payload, priority, created_at, run_at)
            SELECT which, '', '', peal.push_job_id(w.id), 'push', 'push', convert_to(jsonb_build_object(
                'tenant', space, 'user', who, 'id', w.id, 'device', d.id, 'rev', w.new_rev)::text, 'UTF8'),
                w.priority, instant, instant + wait_ms
            FROM (SELECT n.id, n.new_rev, n.priority, n.state FROM peal.notification n
                WHERE n.slot = which AND n.tenant = space AND n.user_id = who
                    AND n.new_rev > done AND n.new_rev <= head ORDER BY n.new_rev) w
            CROSS JOIN LATERAL (SELECT o.id FROM peal.device o
                WHERE o.slot = which AND o.tenant = space AND o.user_id = who ORDER BY o.id LIMIT 100) d
            WHERE w.state < 2 RETURNING 1
    ) SELECT count(*) INTO ret_jobs FROM added;
    WITH over AS MATERIALIZED (
        SELECT s.ctid AS place, s.id, s.device FROM peal.push s
        WHERE s.slot = which AND s.tenant = space AND s.user_id = who AND s.state = 1
            AND NOT peal.push_is_open(which, space, who, s.id)
    ), changed AS (
        UPDATE peal.push s SET state = 3, at = instant WHERE s.ctid = ANY (ARRAY(SELECT o.place FROM over o))
    ), parts AS (
        SELECT o.id, o.device, (row_number() OVER (PARTITION BY o.device ORDER BY o.id) - 1) / most_clear AS part
        FROM over o
    ), added AS (
        INSERT INTO peal.job (slot, tenant, user_id, id, queue, type, payload, priority, created_at, run_at)
            SELECT which, '', '', peal.push_job_id(g.one), 'push', 'clear', convert_to(jsonb_build_object(
                'tenant', space, 'user', who, 'device', g.device, 'clear', g.ids)::text, 'UTF8'),
                3, instant, instant
            FROM (SELECT p.device, (array_agg(p.id))[1] AS one, jsonb_agg(p.id) AS ids
                FROM parts p GROUP BY p.device, p.part) g RETURNING 1
    ) SELECT count(*) INTO ret_clears FROM added;
    UPDATE peal.push_reach p SET rev = head
        WHERE p.slot = which AND p.tenant = space AND p.user_id = who AND p.rev <> head;
END
$$;

-- A step over the inboxes of users with devices that have changed behind a place: where it has come to, how many jobs
-- it has made, and the first of those that others had locked.
CREATE FUNCTION peal.push_arrange(
    past_at integer, past_slot smallint, past_tenant text, past_user text, wait_ms bigint,
    most_looked integer, most_users integer, most_rows integer, most_clear integer, keep_ms bigint
) RETURNS TABLE (
    ret_jobs bigint, ret_clears bigint, ret_more boolean, ret_at bigint, ret_slot smallint, ret_tenant text,
    ret_user text, ret_held bigint, ret_begin bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    one record;
    made record;
    looked integer := 0;
    arranged integer := 0;
BEGIN
    ret_jobs := 0;
    ret_clears := 0;
    ret_more := false;
    ret_held := 0;
    SELECT floor(extract(epoch FROM least(now(), min(a.xact_start))) / 10)::bigint - 1 INTO ret_begin
        FROM pg_stat_activity a WHERE a.datname = current_database() AND a.backend_xid IS NOT NULL;
    FOR one IN
        SELECT w.*, (SELECT p.rev < w.rev FROM peal.push_reach p WHERE p.slot = w.slot
            AND p.tenant = w.tenant AND p.user_id = w.user_id LIMIT 1) AS behind
        FROM (SELECT i.changed_at, i.slot, i.tenant, i.user_id, i.rev FROM peal.inbox i
            WHERE i.devices > 0 AND (i.changed_at, i.slot, i.tenant, i.user_id)
                > (past_at, past_slot, past_tenant, past_user)
            ORDER BY i.changed_at, i.slot, i.tenant, i.user_id LIMIT most_looked) w
    LOOP
        looked := looked + 1;
        ret_at := one.changed_at;
        ret_slot := one.slot;
        ret_tenant := one.tenant;
        ret_user := one.user_id;
        IF one.behind THEN
            made := peal.push_arrange_user(one.slot, one.tenant, one.user_id, wait_ms, most_rows, most_clear);
            IF made.ret_rest IS NOT FALSE THEN
                ret_held := CASE WHEN ret_held = 0 THEN one.changed_at ELSE least(ret_held, one.changed_at) END;
            END IF;
            ret_jobs := ret_jobs + coalesce(made.ret_jobs, 0);
            ret_clears := ret_clears + coalesce(made.ret_clears, 0);
            arranged := arranged + 1;
            EXIT WHEN arranged = most_users;
        END IF;
    END LOOP;
    ret_more := looked = most_looked OR arranged = most_users;
    IF NOT ret_more THEN
        DELETE FROM peal.push s WHERE s.ctid = ANY (ARRAY(SELECT o.ctid FROM peal.push o
            WHERE o.at < peal.instant() - keep_ms ORDER BY o.at LIMIT 500));
    END IF;
    RETURN NEXT;
END
$$;

-- What became of a push; whether the row was read, or went, meanwhile, and what is unread. Behind the lock of the position, so that who
-- arranges sees the note, or the note what is arranged.
CREATE FUNCTION peal.push_note(
    which smallint, space text, who text, with_id uuid, for_device uuid, of_rev bigint, of_type text,
    outcome smallint, why text, OUT ret_closed boolean, OUT ret_unread bigint
)
LANGUAGE plpgsql AS $$
BEGIN
    ret_closed := outcome = 1;
    ret_unread := 0;
    PERFORM FROM peal.push_reach p WHERE p.slot = which AND p.tenant = space AND p.user_id = who FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    ret_closed := outcome = 1 AND NOT peal.push_is_open(which, space, who, with_id);
    SELECT i.unread INTO ret_unread FROM peal.inbox i
        WHERE i.slot = which AND i.tenant = space AND i.user_id = who;
    INSERT INTO peal.push (slot, tenant, user_id, id, device, rev, type, state, at, error)
        VALUES (which, space, who, with_id, for_device, of_rev, of_type,
            CASE WHEN ret_closed THEN 3 ELSE outcome END, peal.instant(), why)
        ON CONFLICT (slot, tenant, user_id, id, device) DO UPDATE SET rev = excluded.rev,
            type = excluded.type, state = excluded.state, at = excluded.at, error = excluded.error;
END
$$;
