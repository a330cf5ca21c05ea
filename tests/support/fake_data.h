/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_data - what the server behind fake_bus keeps: streams, leases, the records of recovery
 * (fake_records.h) and last values (fake_kept.h), and the commands on them.
 */
#ifndef TESTS_SUPPORT_FAKE_DATA_H
#define TESTS_SUPPORT_FAKE_DATA_H

#include "actors/bus.h"
#include "tests/support/fake_kept.h"
#include "tests/support/fake_records.h"

enum { FAKE_NAME_MAX = 256, FAKE_KEYS_MAX = 32, FAKE_STREAMS_MAX = 32 };

struct entry {
    uint64_t ms;
    uint64_t seq;
    uint64_t offset; /* in the history */
    struct bytes *fields; /* owned, with their texts */
    size_t count;
};

struct stream {
    char name[FAKE_NAME_MAX];
    struct entry *entries;
    size_t count;
    size_t cap;
    uint64_t last_ms;
    uint64_t last_seq;
    uint64_t deleted_ms; /* the highest id that was trimmed */
    uint64_t deleted_seq;
    uint64_t added;
};

struct key {
    char name[FAKE_NAME_MAX]; /* empty: unused */
    char value[FAKE_NAME_MAX];
    uint64_t expires_ms;
};

struct fake_data {
    uint64_t (*now)(void *context);
    void *now_context;
    uint64_t ahead_ms; /* of the clock that ids are drawn from */
    const struct bus_reply *lie; /* what claims of leases are answered; NULL: the truth */
    const char *refused; /* a command that is answered with an error; NULL: none */
    const char *refused_key; /* only for this one; NULL: whatever it is for */
    const char *refusal; /* the error; NULL: a number, which is no answer to it */
    unsigned refusals; /* so far */
    struct key keys[FAKE_KEYS_MAX];
    struct stream streams[FAKE_STREAMS_MAX];
    struct fake_records records; /* of recovery */
    struct fake_kept kept; /* of events */
    size_t stream_count;
    unsigned history; /* what INFO says: the number of the history, */
    unsigned history_before; /* of the one before, 0: none, */
    uint64_t reached; /* and of the first offset that is not of it */
    uint64_t offset; /* grows with every write */
};

/* Carry out a command other than PUBLISH; NULL: an XREAD blocks, until `*blocked_until`. */
struct bus_reply *fake_data_carry_out(
    struct fake_data *data, const struct bytes *argv, size_t argc, uint64_t *blocked_until);

/* Free all streams. */
void fake_data_finish(struct fake_data *data);

/* XADD by somebody else, now. `fields` are `count` names and values. */
void fake_data_add(
    struct fake_data *data, const char *stream, const struct bytes *fields, size_t count);

/* Set a key for ever, or delete it (`value` NULL), as somebody else; read it (NULL: there is none).
 */
void fake_data_set_key(struct fake_data *data, const char *name, const char *value);
const char *fake_data_key(struct fake_data *data, const char *name);

/* From now on, ids of entries are drawn from a wall clock that is ahead by `ms`. */
void fake_data_set_ahead(struct fake_data *data, uint64_t ms);

/*
 * Come back as another server: one that has lost the newest `lost` entries of `stream` (NULL: of
 * each), and is a replica that was promoted (`promoted`), or was started from an older dump.
 */
void fake_data_go_back(struct fake_data *data, const char *stream, size_t lost, bool promoted);

/* Delete the oldest `count` entries of a stream, as a poster's XTRIM would. */
void fake_data_delete_oldest(struct fake_data *data, const char *stream, size_t count);

/* Forget a stream, as FLUSHALL would. */
void fake_data_delete_stream(struct fake_data *data, const char *stream);

/* The number of entries of a stream; the `field` of entry `i`, or an empty slice. */
size_t fake_data_length(const struct fake_data *data, const char *stream);
size_t fake_data_added(const struct fake_data *data, const char *stream); /* ever */
struct bytes fake_data_field(
    const struct fake_data *data, const char *stream, size_t i, const char *field);

/* A reply, whose items are the caller's to fill in, and its end. */
struct bus_reply *fake_reply_text(enum bus_reply_type type, struct bytes text);
struct bus_reply *fake_reply_integer(int64_t value);
struct bus_reply *fake_reply_array(size_t count);
void fake_reply_free(struct bus_reply *reply);

/* Copies of texts, alone or as a list, freed with fake_drop_texts; a name with its NUL. */
struct bytes fake_keep(struct bytes text);
struct bytes *fake_keep_all(const struct bytes *texts, size_t count);
void fake_drop_texts(struct bytes *texts, size_t count);
void fake_write_name(char name[FAKE_NAME_MAX], struct bytes text);

#endif
