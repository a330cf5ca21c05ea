/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of broadcasts (deliver/retained.h) between the nodes: in Redis, in one hash beside
 * the replay stream and in the same slot, written by the script that adds the entry to the stream.
 * So the hash is at any time what the stream has led to.
 *
 * A node reads the hash before it begins with the stream, or goes on with it, and takes from it
 * what does not come by the stream; everything later comes there, in one order on all nodes. The
 * index here says what was passed on, so that nothing is passed on twice, or behind what is newer.
 *
 * Order of this file: life, writing, passing on. Reading is in kept_read.c.
 */
#include "actors/order/sequencer_kept.h"

#include "actors/deliver/broadcast.h"
#include "actors/order/bus_origin.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"

enum { TIMEOUT_MS = 5000 };

/*
 * KEYS: stream, hash. ARGV: 1 most entries, 2 origin, 3 serial, 4 message, 5 name, 6 until, 7 "1"
 * for a removal, 8 value behind the id, 9 ms until it ends, 10 … fields. XADD comes first: it is
 * refused when Redis is out of memory, and then nothing has been done.
 */
static const char add_script[] =
    "local id=redis.call('xadd',KEYS[1],'MAXLEN','~',ARGV[1],'*','origin',ARGV[2],'serial',ARGV[3],"
    "'message',ARGV[4],'retain',ARGV[5],'until',ARGV[6],'removed',ARGV[7]) "
    "for i=10,#ARGV do if ARGV[7]=='1' then redis.call('hdel',KEYS[2],ARGV[i]) "
    "else redis.call('hset',KEYS[2],ARGV[i],id..' '..ARGV[8]) end end "
    "if ARGV[7]~='1' and redis.call('pttl',KEYS[2])<tonumber(ARGV[9]) then "
    "redis.call('pexpire',KEYS[2],ARGV[9]) end return id";

/* Delete a field (ARGV 1) whose value still begins with an id (2). */
static const char drop_script[] =
    "local v=redis.call('hget',KEYS[1],ARGV[1]) "
    "if v and string.sub(v,1,#ARGV[2])==ARGV[2] then return redis.call('hdel',KEYS[1],ARGV[1]) end "
    "return 0";

/* Life. */

void sequencer_kept_start(struct sequencer *sequencer)
{
    const struct actor_config *config = shard_of(&sequencer->actor)->config;
    if (config->retain.bytes == 0 || !bytes_eq(buf_bytes(sequencer->nsp), BYTES("/"))) {
        return;
    }
    struct sequencer_kept *kept = mem_alloc(sizeof(*kept));
    struct builder key = {0};
    bus_name_retained(&config->names, buf_bytes(sequencer->nsp), &key);
    kept->key = builder_finish(&key);
    CHECK(kept->key != NULL); /* as the node starts */
    kept->sequencer = sequencer;
    kept->index = retained_create(shard_of(&sequencer->actor), false);
    timer_init(&kept->timer, NULL);
    sequencer->kept = kept;
}

void sequencer_kept_finish(struct sequencer *sequencer)
{
    struct sequencer_kept *kept = sequencer->kept;
    if (kept != NULL) {
        sequencer->kept = NULL;
        timer_cancel(sched_timers(sequencer->actor.sched), &kept->timer);
        retained_destroy(kept->index);
        buf_unref(kept->key);
        mem_free(kept);
    }
}

/* Writing. */

static void write_field(struct bytes target, struct bytes name, struct builder *out)
{
    builder_add(out, target);
    builder_byte(out, '\n');
    builder_add(out, name);
}

/*
 * `until uid flags exceptions LF`, the exceptions, each with its LF, and the event: all behind the
 * id of the entry and a blank.
 */
static void write_value(
    const struct sequencer_kept *kept, const struct broadcast *broadcast, struct builder *out)
{
    builder_u64(out, broadcast->retain->until_ms);
    builder_byte(out, ' ');
    bus_origin_write_uid(kept_shard(kept), out);
    builder_byte(out, ' ');
    builder_u64(out, broadcast->event->flags);
    builder_byte(out, ' ');
    builder_u64(out, broadcast->except_count);
    builder_byte(out, '\n');
    for (uint32_t i = 0; i < broadcast->except_count; i++) {
        builder_add(out, broadcast_except(broadcast)[i]);
        builder_byte(out, '\n');
    }
    builder_add(out, broadcast->event->data);
}

bool sequencer_kept_posts(struct sequencer *sequencer, struct broadcast *broadcast)
{
    if (sequencer->kept == NULL || broadcast->retain == NULL ||
        broadcast->event->form != EVENT_JSON) {
        return false;
    }
    return true;
}

static size_t count_targets(const struct broadcast *broadcast)
{
    return broadcast->room_count > 0 ? broadcast->room_count : 1;
}

/* The arguments of add_script behind those that every entry has; `fields` has their texts. False:
 * no memory. */
static bool fill_fields(
    const struct broadcast *broadcast, struct bytes *argv, struct builder *fields, size_t *lens)
{
    size_t count = count_targets(broadcast);
    for (size_t i = 0; i < count; i++) {
        struct bytes target =
            broadcast->room_count > 0 ? broadcast_rooms(broadcast)[i] : bytes_of(NULL, 0);
        size_t before = builder_bytes(fields).len;
        write_field(target, broadcast_kept_name(broadcast), fields);
        lens[i] = builder_bytes(fields).len - before;
    }
    const char *at = builder_bytes(fields).at;
    for (size_t i = 0; !builder_failed(fields) && i < count; i++) {
        argv[i] = bytes_of(at, lens[i]);
        at += lens[i];
    }
    return !builder_failed(fields);
}

/* What an entry is made of: its texts, of which none may lack. */
struct kept_texts {
    struct builder until;
    struct builder left;
    struct builder value;
    struct builder fields;
    struct bytes *argv;
    size_t *lens; /* of the fields */
};

enum { HEAD = 14 };

static void finish_texts(struct kept_texts *texts)
{
    builder_reset(&texts->until);
    builder_reset(&texts->left);
    builder_reset(&texts->value);
    builder_reset(&texts->fields);
    mem_free(texts->lens);
    mem_free(texts->argv);
}

/* False: no memory. */
static bool write_texts(
    const struct sequencer_kept *kept, const struct broadcast *broadcast, struct kept_texts *texts)
{
    size_t count = count_targets(broadcast);
    uint64_t until_ms = broadcast->retain->until_ms;
    uint64_t now = kept_wall(kept);
    texts->argv = mem_try_calloc(HEAD + count, sizeof(*texts->argv));
    texts->lens = mem_try_calloc(count, sizeof(*texts->lens));
    if (texts->argv == NULL || texts->lens == NULL) {
        return false;
    }
    builder_u64(&texts->until, until_ms);
    builder_u64(&texts->left, until_ms > now ? until_ms - now : 1);
    write_value(kept, broadcast, &texts->value);
    return fill_fields(broadcast, texts->argv + HEAD, &texts->fields, texts->lens) &&
           !builder_failed(&texts->until) && !builder_failed(&texts->left) &&
           !builder_failed(&texts->value);
}

bool sequencer_kept_add(
    struct sequencer *sequencer, const struct kept_entry *entry, bus_reply_fn fn, void *context)
{
    struct sequencer_kept *kept = sequencer->kept;
    struct kept_texts texts = {0};
    bool good = write_texts(kept, entry->broadcast, &texts);
    if (good) {
        const struct bytes head[HEAD] = {BYTES("EVAL"), bytes_str(add_script), BYTES("2"),
            entry->stream, buf_bytes(kept->key), entry->most, entry->origin, entry->serial,
            entry->message, broadcast_kept_name(entry->broadcast), builder_bytes(&texts.until),
            entry->broadcast->retain->removes ? BYTES("1") : BYTES("0"),
            builder_bytes(&texts.value), builder_bytes(&texts.left)};
        memcpy(texts.argv, head, sizeof(head));
        kept_ops(kept)->command(sequencer->sender, texts.argv,
            HEAD + count_targets(entry->broadcast), TIMEOUT_MS, fn, context);
    }
    finish_texts(&texts);
    return good;
}

/* Take a value out of Redis that has ended, unless it is another one by now. */
void kept_drop(struct sequencer_kept *kept, struct bytes field, struct stream_id place)
{
    struct builder id = {0};
    stream_id_write(place, &id);
    builder_byte(&id, ' ');
    const struct bytes argv[] = {BYTES("EVAL"), bytes_str(drop_script), BYTES("1"),
        buf_bytes(kept->key), field, builder_bytes(&id)};
    if (!builder_failed(&id)) { /* a part of it might name another one */
        kept_ops(kept)->command(
            kept->sequencer->sender, argv, ARRAY_LEN(argv), TIMEOUT_MS, NULL, NULL);
    }
    builder_reset(&id);
}

static void on_ended(void *context, const struct retained_value *value)
{
    struct builder field = {0};
    if (!value->broadcast->retain->removes) {
        write_field(retained_target_name(value), broadcast_kept_name(value->broadcast), &field);
        if (!builder_failed(&field)) { /* it ends in Redis by itself, or is not taken from there */
            kept_drop(context, builder_bytes(&field), value->place);
        }
        builder_reset(&field);
    }
}

/* Passing on. */

bool sequencer_kept_orders(const struct sequencer *sequencer, const struct broadcast *broadcast)
{
    const struct sequencer_kept *kept = sequencer->kept;
    if (kept == NULL) {
        return false;
    }
    bool orders = broadcast->retain != NULL ||
                  (broadcast->room_count == 0 && retained_knows(kept->index, bytes_of(NULL, 0)));
    for (uint32_t i = 0; !orders && i < broadcast->room_count; i++) {
        orders = retained_knows(kept->index, broadcast_rooms(broadcast)[i]);
    }
    return orders;
}

static void note(struct sequencer_kept *kept, struct bytes target, struct broadcast *broadcast)
{
    bool stray = broadcast->stream.ms == 0;
    struct stream_id passed = kept->sequencer->passed;
    if (passed.ms == 0) {
        passed.ms = UINT64_MAX; /* nothing was read yet: all that there was is older */
    }
    struct retained_value *value =
        retained_put(kept->index, target, broadcast, stray ? passed : broadcast->stream, true);
    if (value != NULL) {
        value->stray = stray;
        kept->strays = kept->strays || stray;
        kept->fresh = kept->fresh || stray;
    }
}

/*
 * What was posted again was told here before. If another value came in between, it is told once
 * more: it is the last one now.
 */
static void pass_again(const struct sequencer_kept *kept, struct broadcast *broadcast)
{
    struct bytes target =
        broadcast->room_count > 0 ? broadcast_rooms(broadcast)[0] : bytes_of(NULL, 0);
    const struct retained_value *value =
        retained_find(kept->index, target, broadcast_kept_name(broadcast));
    if (value == NULL || value->broadcast->event != broadcast->event) {
        broadcast->keep_only = false;
        broadcast->late = true;
    }
}

void sequencer_kept_pass(struct sequencer *sequencer, struct broadcast *broadcast)
{
    struct sequencer_kept *kept = sequencer->kept;
    if (kept == NULL || broadcast->retain == NULL) {
        return;
    }
    if (broadcast->late) {
        return; /* it was noted */
    }
    retained_look(kept->index, on_ended, kept);
    if (broadcast->reposted && broadcast->stream.ms > 0) {
        pass_again(kept, broadcast);
    }
    kept_shard(kept)->stats.retain.strays += broadcast->stream.ms == 0;
    for (uint32_t i = 0; i < broadcast->room_count; i++) {
        note(kept, broadcast_rooms(broadcast)[i], broadcast);
    }
    if (broadcast->room_count == 0) {
        note(kept, bytes_of(NULL, 0), broadcast);
    }
}

void sequencer_kept_of_entry(struct broadcast *broadcast, const struct kept_fields *fields)
{
    uint64_t until_ms;
    if (broadcast->retain == NULL && fields->name.len > 0 && fields->name.len <= KEPT_NAME_MAX &&
        bytes_to_u64(fields->until, UINT64_MAX, &until_ms) == 0 &&
        !broadcast_keep(broadcast, fields->name, until_ms, bytes_eq(fields->removed, BYTES("1")))) {
        log_error("RETAIN-NOMEM", "there is no memory for a value that is to be kept", "name=%s",
            log_quote(fields->name));
    }
}
