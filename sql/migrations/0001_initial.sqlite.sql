CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- The slot follows from tenant and user_id (codec/slot.h). changed_at: when rev was last raised, in
-- tens of seconds since 1970; so coarse, it seldom changes, and its index seldom with it. born: the number of
-- the tenant's posts when the inbox was made; through: it has what it gets of all posts up to it.
-- devices: 1 where the user has devices, or had some.
CREATE TABLE inbox (
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    seq INTEGER NOT NULL DEFAULT 0,
    rev INTEGER NOT NULL DEFAULT 0,
    unread INTEGER NOT NULL DEFAULT 0 CHECK (unread >= unseen),
    unseen INTEGER NOT NULL DEFAULT 0 CHECK (unseen >= 0),
    tombstone_floor INTEGER NOT NULL DEFAULT 0,
    changed_at INTEGER NOT NULL DEFAULT 0,
    born INTEGER NOT NULL DEFAULT 0,
    through INTEGER NOT NULL DEFAULT 0,
    topics INTEGER NOT NULL DEFAULT 0,
    preference_rev INTEGER NOT NULL DEFAULT 0,
    devices INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (slot, tenant, user_id)
) WITHOUT ROWID;
CREATE INDEX inbox_changed ON inbox (changed_at);
-- Those of users with devices (sql/store_push.h).
CREATE INDEX inbox_devices ON inbox (changed_at) WHERE devices > 0;

-- What a user wants (codec/preferences.h), durations in ms; asked for where inbox.preference_rev is
-- not 0, which counts the changes.
CREATE TABLE preference (
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    body TEXT NOT NULL,
    hidden INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (slot, tenant, user_id)
) WITHOUT ROWID;

-- rev: of the last change. new_rev: of the change that last made it new (stored, came back); lists go by
-- it. whole_rev: of the last change after which a device needs the whole row (also taken out of the
-- archive). state follows from the times behind it (codec/notification_mark.h). count: how many posts it
-- stands for; updated_at: when its content was replaced last; digest: what it remembers of posts of
-- its type that share it (codec/notification_digest.h), '' where they do not.
-- audience_n: of the post to many that it was made from, and audience: kind, id and topic of that
-- (sql/audience.h). A rowid table: appending stays cheap however many users share it.
CREATE TABLE notification (
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    new_rev INTEGER NOT NULL,
    whole_rev INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    type TEXT NOT NULL,
    title TEXT NOT NULL,
    message TEXT NOT NULL,
    data BLOB NOT NULL,
    priority INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL DEFAULT 0,
    seen_at INTEGER NOT NULL DEFAULT 0,
    read_at INTEGER NOT NULL DEFAULT 0,
    archived_at INTEGER NOT NULL DEFAULT 0,
    snoozed_until INTEGER NOT NULL DEFAULT 0,
    resurfaced_at INTEGER NOT NULL DEFAULT 0,
    collapse TEXT NOT NULL DEFAULT '',
    count INTEGER NOT NULL DEFAULT 1,
    updated_at INTEGER NOT NULL DEFAULT 0,
    audience_n INTEGER NOT NULL DEFAULT 0,
    audience TEXT NOT NULL DEFAULT '',
    audience_edit INTEGER NOT NULL DEFAULT 0,
    digest TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX notification_seq ON notification (slot, tenant, user_id, seq);
CREATE UNIQUE INDEX notification_id ON notification (id, slot);
CREATE INDEX notification_new ON notification (slot, tenant, user_id, new_rev, seq);
CREATE INDEX notification_changed ON notification (slot, tenant, user_id, rev)
    WHERE rev > new_rev;
CREATE INDEX notification_whole ON notification (slot, tenant, user_id, whole_rev)
    WHERE whole_rev > new_rev;
CREATE INDEX notification_open ON notification (slot, tenant, user_id, state, seq) WHERE state < 2;
CREATE INDEX notification_collapse ON notification (slot, tenant, user_id, collapse, seq)
    WHERE collapse <> '' AND state < 2;
CREATE INDEX notification_digest ON notification (slot, tenant, user_id, type, seq)
    WHERE digest <> '' AND state < 2;
CREATE INDEX notification_expiry ON notification (expires_at) WHERE expires_at > 0;
CREATE INDEX notification_snoozed ON notification (snoozed_until) WHERE snoozed_until > 0;
CREATE UNIQUE INDEX notification_audience ON notification (tenant, audience_n, user_id)
    WHERE audience_n > 0;

CREATE TABLE tombstone (
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    id BLOB NOT NULL,
    state INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (slot, tenant, user_id, seq)
) WITHOUT ROWID;
CREATE INDEX tombstone_rev ON tombstone (slot, tenant, user_id, rev);
CREATE INDEX tombstone_at ON tombstone (at);

CREATE TABLE dedup (
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    key_hash BLOB NOT NULL CHECK (length(key_hash) = 16),
    content_hash BLOB NOT NULL,
    seq INTEGER NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY (slot, tenant, user_id, key_hash)
) WITHOUT ROWID;

-- Posts to many. n: of a tenant's posts, without holes. kind 1: everybody, with the name '' those whose
-- inbox began before, with '+' also others; 2: the topic `name`; 3: a list of members of its own, whose
-- name is the post's id. digest_ms: for so long after the first one posts of its type share a row, unless a
-- user says otherwise; -1: it shares none, it was urgent.
-- ended: nobody gets it any more, and it is kept while rows of it are (retention).
CREATE TABLE audience_head (
    tenant TEXT PRIMARY KEY,
    n INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE audience_post (
    tenant TEXT NOT NULL,
    n INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    type TEXT NOT NULL,
    title TEXT NOT NULL,
    message TEXT NOT NULL,
    data BLOB NOT NULL,
    priority INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    unwanted INTEGER NOT NULL DEFAULT 0,
    digest_ms INTEGER NOT NULL DEFAULT 0,
    retracted INTEGER NOT NULL DEFAULT 0,
    ended INTEGER NOT NULL DEFAULT 0,
    edits INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX audience_post_n ON audience_post (tenant, n);
CREATE UNIQUE INDEX audience_post_id ON audience_post (id);
CREATE INDEX audience_post_name ON audience_post (tenant, kind, name, n);
CREATE INDEX audience_post_created ON audience_post (created_at);
CREATE INDEX audience_post_expiry ON audience_post (expires_at) WHERE expires_at > 0;

-- Who gets a post n of (kind, name): from_n < n <= to_n. Who leaves and comes back has two intervals.
CREATE TABLE member (
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    from_n INTEGER NOT NULL,
    to_n INTEGER NOT NULL DEFAULT 9223372036854775807,
    PRIMARY KEY (slot, tenant, user_id, kind, name, from_n)
);
CREATE UNIQUE INDEX member_open ON member (tenant, kind, name, user_id)
    WHERE to_n = 9223372036854775807;
CREATE INDEX member_list ON member (tenant, name, user_id) WHERE kind = 3;

-- Posts to many that joined a digest: post n is in the row `seq`, with the content of change `edit`. Of the
-- one that a digest began with the row itself says that (audience_n). What is here of a row that has gone
-- since goes with the post.
CREATE TABLE digest_post (
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    edit INTEGER NOT NULL,
    PRIMARY KEY (slot, tenant, user_id, n)
) WITHOUT ROWID;
CREATE UNIQUE INDEX digest_post_n ON digest_post (tenant, n, user_id);

CREATE TABLE audience_key (
    tenant TEXT NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    key_hash BLOB NOT NULL CHECK (length(key_hash) = 16),
    content_hash BLOB NOT NULL,
    n INTEGER NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY (tenant, kind, name, key_hash)
) WITHOUT ROWID;

-- Posts that are being taken back (edit 0): what was made of them goes. Or posts whose content was
-- changed: rows with an audience_edit below `edit` get of the post what was changed since, that is, each
-- field with a number above it (title_edit and those behind it: which edit changed it last); the sweep goes through
-- them by user and has come to `past`.
CREATE TABLE audience_change (
    tenant TEXT NOT NULL,
    n INTEGER NOT NULL,
    edit INTEGER NOT NULL DEFAULT 0,
    title_edit INTEGER NOT NULL DEFAULT 0,
    message_edit INTEGER NOT NULL DEFAULT 0,
    data_edit INTEGER NOT NULL DEFAULT 0,
    priority_edit INTEGER NOT NULL DEFAULT 0,
    expires_edit INTEGER NOT NULL DEFAULT 0,
    past TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, n)
) WITHOUT ROWID;

CREATE TABLE ingest (
    partition INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    token INTEGER NOT NULL,
    last_id TEXT NOT NULL DEFAULT ''
);

-- A row the node raises to prove that the store can be written; a number that is lower than one it
-- has seen proves that the store went back. `at`: ms since 1970.
CREATE TABLE witness (
    node TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;

-- What was posted and read by tenant, day (UTC, since 1970) and type; '' are the types of a day
-- behind the 100th (sql/store_summary.h). What makes rows counts them, a put once a type
-- (sqlite_put.c); whatever changes rows is counted here.
CREATE TABLE tally (
    tenant TEXT NOT NULL,
    day INTEGER NOT NULL,
    type TEXT NOT NULL,
    posted INTEGER NOT NULL DEFAULT 0,
    read INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, day, type)
) WITHOUT ROWID;
CREATE INDEX tally_day ON tally (day);
CREATE TRIGGER tally_changed AFTER UPDATE OF read_at, count ON notification
WHEN (new.read_at > 0 AND old.read_at = 0) OR new.count > old.count BEGIN
    INSERT INTO tally (tenant, day, type, posted, read)
    VALUES (new.tenant, unixepoch() / 86400, CASE WHEN EXISTS (
            SELECT 1 FROM tally t WHERE t.tenant = new.tenant AND t.day = unixepoch() / 86400
                AND t.type = new.type
        ) OR (
            SELECT count(*) FROM tally t WHERE t.tenant = new.tenant
                AND t.day = unixepoch() / 86400 AND t.type <> ''
        ) < 100 THEN new.type ELSE '' END,
        max(new.count - old.count, 0), new.read_at > 0 AND old.read_at = 0)
    ON CONFLICT (tenant, day, type) DO UPDATE
    SET posted = posted + excluded.posted, read = read + excluded.read;
END;

-- What is posted for later, until it is due: of user_id (kind 0), or for many, as in audience_post but
-- with the topic as `name`; user_id is '' then, and users of a list are members from and to never. part:
-- slot modulo 8. version: counts the changes. kind, key_hash and the rest: as it is stored when it is due.
CREATE TABLE schedule (
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    part INTEGER NOT NULL,
    deliver_at INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 0,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    include_new INTEGER NOT NULL,
    key_hash BLOB NOT NULL,
    content_hash BLOB NOT NULL,
    type TEXT NOT NULL,
    title TEXT NOT NULL,
    message TEXT NOT NULL,
    data BLOB NOT NULL,
    priority INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    collapse TEXT NOT NULL
);
CREATE UNIQUE INDEX schedule_user ON schedule (slot, tenant, user_id, id);
CREATE UNIQUE INDEX schedule_id ON schedule (slot, id);
CREATE INDEX schedule_due ON schedule (part, deliver_at);

-- How far the walk has come that takes what is older, or more, than a tenant keeps (sql/README.md). part 0 to
-- 7: inboxes of 512 slots each; 8: posts to many. slot, tenant, past: what is looked at next, of an inbox rows
-- behind (rev, seq), of a tenant posts above rev. began_at: 0: no walk is under way; ended_at: when the last
-- one ended, later than all others', so that they take turns, and what it took.
CREATE TABLE retention (
    part INTEGER PRIMARY KEY,
    slot INTEGER NOT NULL DEFAULT 0,
    tenant TEXT NOT NULL DEFAULT '',
    past TEXT NOT NULL DEFAULT '',
    rev INTEGER NOT NULL DEFAULT 0,
    seq INTEGER NOT NULL DEFAULT 0,
    began_at INTEGER NOT NULL DEFAULT 0,
    ended_at INTEGER NOT NULL,
    took_ms INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX retention_ended ON retention (ended_at);
INSERT INTO retention (part, ended_at)
    SELECT value, unixepoch() * 1000 + value FROM json_each('[0, 1, 2, 3, 4, 5, 6, 7, 8]');

-- What workers do. state: 0 waiting (delayed before run_at), 1 active, 2 completed, 3 failed, 4 dead. slot: of
-- user_id where there is one, else 0; what is found by its queue needs none. lease: the right to end it, while
-- it is active, until `until`. The rest: sql/store_job.h.
CREATE TABLE job (
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    queue TEXT NOT NULL,
    type TEXT NOT NULL,
    payload BLOB NOT NULL,
    priority INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    stalls INTEGER NOT NULL DEFAULT 0,
    percentage INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL DEFAULT 0,
    until INTEGER NOT NULL DEFAULT 0,
    ended_at INTEGER NOT NULL DEFAULT 0,
    lease BLOB NOT NULL DEFAULT x'',
    worker TEXT NOT NULL DEFAULT '',
    stage TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    result BLOB NOT NULL DEFAULT x''
);
CREATE UNIQUE INDEX job_id ON job (slot, id);
CREATE INDEX job_user ON job (slot, tenant, user_id, id);
CREATE INDEX job_ready ON job (queue, tenant, priority, run_at, id) WHERE state = 0;
CREATE INDEX job_active ON job (queue, tenant, until, id) WHERE state = 1;
CREATE INDEX job_until ON job (until) WHERE state = 1;
CREATE INDEX job_ended ON job (queue, tenant, state, ended_at, id) WHERE state > 1;

-- Keys of jobs, kept for a while beyond the job: a repeat gets the first one's id.
CREATE TABLE job_key (
    queue TEXT NOT NULL,
    tenant TEXT NOT NULL,
    key_hash BLOB NOT NULL,
    id BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (queue, tenant, key_hash)
) WITHOUT ROWID;
CREATE INDEX job_key_at ON job_key (at);

-- A queue of a tenant, from its first lease or pause on, with what its last lease came with. sweep_at: when it
-- is looked at for ended jobs beyond what is kept; 0: there are none to come.
CREATE TABLE job_queue (
    queue TEXT NOT NULL,
    tenant TEXT NOT NULL,
    paused INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 3,
    backoff_ms INTEGER NOT NULL DEFAULT 2000,
    timeout_ms INTEGER NOT NULL DEFAULT 60000,
    keep_completed INTEGER NOT NULL DEFAULT 100,
    keep_failed INTEGER NOT NULL DEFAULT 50,
    sweep_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (queue, tenant)
) WITHOUT ROWID;
CREATE INDEX job_queue_sweep ON job_queue (sweep_at) WHERE sweep_at > 0;

-- Where notifications are pushed to (codec/device.h). address_hash: of the tenant and the address, which
-- belongs to one device of it. foreground_at: since when it is in front; 0: it is not.
CREATE TABLE device (
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    address_hash BLOB NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    foreground_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (slot, tenant, user_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX device_address ON device (address_hash);

-- What was said in rooms whose type keeps it. n is the order; slot: of (tenant, room); user_id: who said it, or
-- empty.
CREATE TABLE room_message (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    room TEXT NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    user_id TEXT NOT NULL,
    event BLOB NOT NULL,
    args BLOB NOT NULL,
    at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX room_message_id ON room_message (slot, id);
CREATE INDEX room_message_room ON room_message (slot, tenant, room, n);
CREATE INDEX room_message_user ON room_message (tenant, user_id, n) WHERE user_id <> '';
CREATE INDEX room_message_expires ON room_message (expires_at);

-- Up to which rev hand-offs to devices of a user were arranged (sql/store_push.h); received: the highest seq that
-- a client of the user has.
CREATE TABLE push_reach (
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    rev INTEGER NOT NULL,
    received INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (slot, tenant, user_id)
) WITHOUT ROWID;

-- What was handed over: a row and a device, as of `rev` of the row. state: 1 sent, 2 failed, 3 cleared.
CREATE TABLE push (
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    id BLOB NOT NULL,
    device BLOB NOT NULL,
    rev INTEGER NOT NULL,
    type TEXT NOT NULL,
    state INTEGER NOT NULL,
    at INTEGER NOT NULL,
    error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (slot, tenant, user_id, id, device)
);
CREATE INDEX push_at ON push (at);
CREATE INDEX push_shown ON push (slot, tenant, user_id) WHERE state = 1;
