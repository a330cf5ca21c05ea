-- SPDX-License-Identifier: Apache-2.0
-- What applications post within their own transactions: peal.post and peal.publish (docs/reference/sql.md). It stands on
-- nothing of the steps before but the schema: `peal migrate --outbox` runs it in databases that are no store of Peal.
--
-- A row is seen when its transaction commits. Which committed first is told by outbox_commit, whose number a transaction
-- takes as it commits, not when it posts: a trigger that is deferred, once for each transaction. So a transaction whose
-- COMMIT was answered before another's was sent is in front of it, whichever posted first. A number may appear later than
-- a higher one; rows are removed when they were taken, and no position is kept that could pass it.

CREATE TABLE peal.outbox (
    xid xid8 NOT NULL, -- of the transaction
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    first boolean NOT NULL, -- of its transaction
    is_event boolean NOT NULL,
    bytes integer NOT NULL,
    posted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    tenant text,
    target text, -- a user, of an event a room
    type text,
    title text,
    message text,
    data text,
    key text,
    priority text,
    expires_at text,
    deliver_at text,
    collapse text,
    event text,
    args text,
    retain text,
    PRIMARY KEY (xid, id)
);

CREATE TABLE peal.outbox_commit (
    n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What could not be stored, with the field at fault.
CREATE TABLE peal.outbox_dead (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    died_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    field text NOT NULL,
    reason text NOT NULL,
    post jsonb NOT NULL
);

-- Whether the reader is to be woken by the next commit: 1 or 0. A sequence, because what is set is seen at once by all,
-- takes no lock that lasts, and makes no version of a row.
CREATE SEQUENCE peal.outbox_armed AS smallint MINVALUE 0 MAXVALUE 1 START 0;

-- One transaction wakes the reader; those behind it find it awake. `SET LOCAL peal.wake = off` is for who prepares a
-- transaction for two phases, which may not notify: the reader finds it within a second.
CREATE FUNCTION peal.outbox_commits() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO peal.outbox_commit (xid) VALUES (NEW.xid);
    IF (SELECT last_value FROM peal.outbox_armed) = 1
        AND current_setting('peal.wake', true) IS DISTINCT FROM 'off' THEN
        PERFORM setval('peal.outbox_armed', 0);
        PERFORM pg_notify('peal_outbox', '');
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER outbox_commits AFTER INSERT ON peal.outbox
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.first)
    EXECUTE FUNCTION peal.outbox_commits();

-- Milliseconds since 1970; what is none is refused where it is read, by its name, and not in the transaction.
CREATE FUNCTION peal.outbox_time(at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN isfinite($1) THEN floor(extract(epoch FROM $1) * 1000)::bigint::text ELSE $1::text END
$$;

-- How large a row is, which is refused at once where it never could be taken.
CREATE FUNCTION peal.outbox_bytes(content text) RETURNS integer
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF octet_length(content) > 1048576 THEN
        RAISE EXCEPTION 'peal: a post of more than 1 MiB' USING ERRCODE = 'program_limit_exceeded';
    END IF;
    RETURN octet_length(content);
END $$;

-- Post a notification for a user when the caller commits. Returns its key, made up where none is given.
CREATE FUNCTION peal.post(
    user_id text, type text, title text DEFAULT NULL, message text DEFAULT NULL,
    data jsonb DEFAULT NULL, key text DEFAULT NULL, priority text DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL, deliver_at timestamptz DEFAULT NULL,
    collapse text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    x xid8 := pg_current_xact_id();
    own_key text := coalesce(nullif(key, ''), gen_random_uuid()::text);
    content text := data::text;
BEGIN
    INSERT INTO peal.outbox (xid, first, is_event, bytes, tenant, target, type, title, message,
        data, key, priority, expires_at, deliver_at, collapse)
    VALUES (x, NOT EXISTS (SELECT FROM peal.outbox o WHERE o.xid = x), false,
        peal.outbox_bytes(concat(tenant, user_id, type, title, message, content, key, priority, collapse)),
        tenant, user_id, type, title, message, content, own_key, priority,
        peal.outbox_time(expires_at), peal.outbox_time(deliver_at), collapse);
    RETURN own_key;
END $$;

-- Publish an event to a room when the caller commits.
CREATE FUNCTION peal.publish(
    room text, event text, args jsonb DEFAULT '[]', tenant text DEFAULT NULL,
    priority text DEFAULT NULL, retain text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    x xid8 := pg_current_xact_id();
    content text := args::text;
BEGIN
    INSERT INTO peal.outbox (xid, first, is_event, bytes, tenant, target, event, args, priority, retain)
    VALUES (x, NOT EXISTS (SELECT FROM peal.outbox o WHERE o.xid = x), true,
        peal.outbox_bytes(concat(tenant, room, event, content, priority, retain)),
        tenant, room, event, content, priority, retain);
END $$;
