/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part is a list of places and a list of who holds whom; a user without a holder is not there.
 *
 * Order of this file: parts, the scripts, commands, what tests do.
 */
#include "tests/support/fake_presence.h"

#include <stdio.h>
#include <string.h>

#include "actors/deliver/owner.h"
#include "actors/presence/presence_scripts.h"
#include "codec/base/buf.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "tests/support/fake_data.h"

enum {
    SHA_LEN = 40,
    ARGS = 4,
    NAME_MAX_LEN = 24,
    KEY_MAX_LEN = 160,
    USER_MAX_LEN = 300,
    PIECES = 3,
    VERSIONS = 4,
    SWEEPS_MS = 3000,
    FIRST_USER = ARGS + 10,
};

struct fake_place {
    char name[NAME_MAX_LEN];
    uint64_t until_ms;
    uint64_t version;
    uint64_t number;
    uint64_t connections;
    char node[KEY_MAX_LEN];
};

struct fake_holder {
    char user[USER_MAX_LEN];
    char place[NAME_MAX_LEN];
    uint64_t connections;
    int64_t shown; /* enum owner_shown */
};

/* Sums of the places of a version. */
struct fake_sums {
    uint64_t version;
    uint64_t nodes;
    uint64_t connections;
};

struct fake_part {
    char key[KEY_MAX_LEN];
    uint64_t until_ms;
    uint64_t changes;
    uint64_t due_ms; /* the sums are old then */
    uint64_t claim_ms; /* until then nobody else sweeps */
    uint64_t users;
    uint64_t ended;
    uint64_t check;
    struct fake_sums sums[VERSIONS];
    size_t sum_count;
    struct fake_place *places;
    size_t place_count;
    struct fake_holder *holders;
    size_t holder_count;
};

/* Parts. */

static void copy_text(char *at, size_t size, struct bytes text)
{
    CHECK(text.len < size);
    if (text.len > 0) {
        memcpy(at, text.at, text.len);
    }
    at[text.len] = '\0';
}

static uint64_t number_of(struct bytes text)
{
    uint64_t number = 0;
    CHECK(bytes_to_u64(text, UINT64_MAX, &number) == 0);
    return number;
}

static void drop_part(struct fake_presence *presence, size_t i)
{
    mem_free(presence->parts[i].places);
    mem_free(presence->parts[i].holders);
    presence->parts[i] = presence->parts[--presence->count];
}

static void expire(struct fake_presence *presence, uint64_t now_ms)
{
    for (size_t i = presence->count; i-- > 0;) {
        if (presence->parts[i].until_ms <= now_ms) {
            drop_part(presence, i);
        }
    }
}

static struct fake_part *find_part(struct fake_presence *presence, struct bytes key)
{
    for (size_t i = 0; i < presence->count; i++) {
        if (bytes_eq_str(key, presence->parts[i].key)) {
            return &presence->parts[i];
        }
    }
    return NULL;
}

static struct fake_part *make_part(struct fake_presence *presence, struct bytes key)
{
    struct fake_part *part = find_part(presence, key);
    if (part == NULL) {
        presence->parts =
            mem_realloc_array(presence->parts, presence->count + 1, sizeof(*presence->parts));
        part = &presence->parts[presence->count++];
        *part = (struct fake_part){0};
        copy_text(part->key, sizeof(part->key), key);
    }
    return part;
}

static struct fake_place *find_place(const struct fake_part *part, struct bytes name)
{
    for (size_t i = 0; part != NULL && i < part->place_count; i++) {
        if (bytes_eq_str(name, part->places[i].name)) {
            return &part->places[i];
        }
    }
    return NULL;
}

static struct fake_place *add_place(struct fake_part *part, struct bytes name)
{
    part->places = mem_realloc_array(part->places, part->place_count + 1, sizeof(*part->places));
    struct fake_place *place = &part->places[part->place_count++];
    *place = (struct fake_place){0};
    copy_text(place->name, sizeof(place->name), name);
    return place;
}

static bool counts(const struct fake_part *part, const char *place, uint64_t now_ms)
{
    const struct fake_place *found = find_place(part, bytes_str(place));
    return found != NULL && found->until_ms > now_ms;
}

static size_t count_users(const struct fake_part *part)
{
    size_t count = 0;
    for (size_t i = 0; i < part->holder_count; i++) {
        bool first = true;
        for (size_t j = 0; j < i && first; j++) {
            first = strcmp(part->holders[i].user, part->holders[j].user) != 0;
        }
        count += first;
    }
    return count;
}

/* The scripts. */

/* The connections of an argument, whose last letter is cut off: what others may know. */
static uint64_t read_connections(struct bytes text, int64_t *ret_shown)
{
    char last = text.at[text.len - 1];
    *ret_shown = last == 'h' ? OWNER_HIDDEN : last == 'u' ? OWNER_UNKNOWN : OWNER_SHOWN;
    return number_of(bytes_of(text.at, text.len - (last == 'h' || last == 'u')));
}

static void tell_user(
    struct fake_part *part, const char *me, struct bytes user, struct bytes text, uint64_t now_ms)
{
    int64_t shown;
    uint64_t connections = read_connections(text, &shown);
    for (size_t i = part->holder_count; i-- > 0;) {
        const struct fake_holder *holder = &part->holders[i];
        if (bytes_eq_str(user, holder->user) &&
            (strcmp(holder->place, me) == 0 || !counts(part, holder->place, now_ms))) {
            part->holders[i] = part->holders[--part->holder_count];
        }
    }
    if (connections > 0) {
        part->holders =
            mem_realloc_array(part->holders, part->holder_count + 1, sizeof(*part->holders));
        struct fake_holder *holder = &part->holders[part->holder_count++];
        *holder = (struct fake_holder){.connections = connections, .shown = shown};
        copy_text(holder->user, sizeof(holder->user), user);
        copy_text(holder->place, sizeof(holder->place), bytes_str(me));
    }
}

static struct bus_reply *refused(int64_t why)
{
    struct bus_reply *reply = fake_reply_array(1);
    reply->items[0] = fake_reply_integer(why);
    return reply;
}

/* Whether the node has a place before that of `at` which counts. */
static bool is_node_known(const struct fake_part *part, size_t at, uint64_t now_ms)
{
    bool known = false;
    for (size_t i = 0; i < at; i++) {
        known = known || (part->places[i].until_ms > now_ms &&
                             strcmp(part->places[i].node, part->places[at].node) == 0);
    }
    return known;
}

static struct fake_sums *find_sums(struct fake_part *part, uint64_t version)
{
    for (size_t i = 0; i < part->sum_count; i++) {
        if (part->sums[i].version == version) {
            return &part->sums[i];
        }
    }
    CHECK(part->sum_count < VERSIONS);
    part->sums[part->sum_count] = (struct fake_sums){.version = version};
    return &part->sums[part->sum_count++];
}

/* Make the sums anew; those that have ended are appended to `names` if this one is to sweep. */
static void sum(
    struct fake_part *part, const struct bytes *args, uint64_t now_ms, struct builder *names)
{
    uint64_t keep_ms = number_of(args[9]);
    part->due_ms = now_ms + keep_ms;
    part->users = count_users(part);
    part->ended = 0;
    part->check = 0;
    part->sum_count = 0;
    bool sweeps = now_ms >= part->claim_ms && number_of(args[4]) > 0;
    for (size_t i = 0; i < part->place_count; i++) {
        const struct fake_place *place = &part->places[i];
        if (place->until_ms <= now_ms) {
            part->ended++;
            if (sweeps) {
                builder_printf(names, "%s,", place->name);
            }
            continue;
        }
        struct fake_sums *sums = find_sums(part, place->version);
        sums->connections += place->connections;
        sums->nodes += !is_node_known(part, i, now_ms);
        part->check += hash_unseeded(bytes_str(place->name)) >> 20;
    }
    part->claim_ms = sweeps && part->ended > 0 ? now_ms + SWEEPS_MS : part->claim_ms;
}

static struct bus_reply *reply_part(const struct fake_part *part, const struct builder *names)
{
    struct bus_reply *reply = fake_reply_array(6 + 3 * part->sum_count);
    reply->items[0] = fake_reply_integer(1);
    reply->items[1] = fake_reply_integer((int64_t)part->users);
    reply->items[2] = fake_reply_integer((int64_t)part->changes);
    reply->items[3] = fake_reply_integer((int64_t)part->ended);
    reply->items[4] = fake_reply_integer((int64_t)part->check);
    reply->items[5] = fake_reply_text(BUS_STRING, builder_bytes(names));
    for (size_t i = 0; i < part->sum_count; i++) {
        struct bus_reply **items = reply->items + 6 + 3 * i;
        items[0] = fake_reply_integer((int64_t)part->sums[i].version);
        items[1] = fake_reply_integer((int64_t)part->sums[i].nodes);
        items[2] = fake_reply_integer((int64_t)part->sums[i].connections);
    }
    return reply;
}

/* Renew the place, which may have to be added; earlier ones of the shard count no more. */
static struct fake_place *renew(struct fake_part *part, const struct bytes *args, uint64_t now_ms)
{
    struct fake_place *place = find_place(part, args[0]);
    place = place != NULL ? place : add_place(part, args[0]);
    place->until_ms = now_ms + number_of(args[4]);
    place->version = number_of(args[1]);
    copy_text(place->node, sizeof(place->node), args[2]);
    place->number = number_of(args[3]) + 1;
    place->connections = number_of(args[6]);
    part->until_ms = now_ms + number_of(args[5]);
    for (size_t i = 0; i < part->place_count; i++) {
        struct fake_place *other = &part->places[i];
        if (other != place && strncmp(other->name, place->name, PRESENCE_SHARD_DIGITS) == 0) {
            other->connections = 0;
            other->until_ms = bytes_eq_str(args[7], "1") ? 0 : other->until_ms;
        }
    }
    return place;
}

static size_t count_places(const struct fake_part *part, struct bytes name)
{
    size_t count = 0;
    for (size_t i = 0; part != NULL && i < part->place_count; i++) {
        count += memcmp(part->places[i].name, name.at, PRESENCE_SHARD_DIGITS) == 0;
    }
    return count;
}

static struct bus_reply *do_tell(
    struct fake_presence *presence, const struct bytes *argv, size_t argc, uint64_t now_ms)
{
    const struct bytes *args = argv + ARGS;
    uint64_t number = number_of(args[3]);
    struct fake_part *part = find_part(presence, argv[3]);
    struct fake_place *place = find_place(part, args[0]);
    bool good = number == 0 ? place == NULL
                            : place != NULL && place->until_ms > now_ms && place->number == number;
    if (!good) {
        return refused(0);
    }
    if (number == 0 && count_places(part, args[0]) >= PRESENCE_SHARD_PLACES) {
        return refused(2);
    }
    part = make_part(presence, argv[3]);
    place = renew(part, args, now_ms);
    char me[NAME_MAX_LEN];
    copy_text(me, sizeof(me), args[0]);
    part->changes += argc > FIRST_USER;
    struct builder told = {0};
    builder_printf(&told, "%llu %llu %s", (unsigned long long)place->version,
        (unsigned long long)part->changes, place->node);
    for (size_t i = FIRST_USER; i + 1 < argc; i += 2) {
        tell_user(part, me, argv[i], argv[i + 1], now_ms);
        builder_byte(&told, '\n');
        builder_add(&told, argv[i]);
    }
    if (argc > FIRST_USER) {
        presence->publish(presence->context, args[8], builder_bytes(&told));
    }
    builder_reset(&told);
    struct builder names = {0};
    if (now_ms >= part->due_ms) {
        sum(part, args, now_ms, &names);
    }
    struct bus_reply *reply = reply_part(part, &names);
    builder_reset(&names);
    return reply;
}

static bool is_listed(const char *place, struct bytes list)
{
    size_t len = strlen(place);
    for (size_t i = 0; i + len < list.len; i++) {
        if (memcmp(list.at + i, place, len) == 0 && list.at[i + len] == ',') {
            return true;
        }
    }
    return false;
}

/* A piece of the users at a time. */
static struct bus_reply *do_sweep(struct fake_presence *presence, const struct bytes *argv)
{
    const struct bytes *args = argv + ARGS;
    struct fake_part *part = find_part(presence, argv[3]);
    uint64_t piece = number_of(args[0]);
    char next[NAME_MAX_LEN];
    (void)snprintf(next, sizeof(next), "%u", (unsigned)((piece + 1) % PIECES));
    for (size_t i = part != NULL ? part->holder_count : 0; i-- > 0;) {
        const struct fake_holder *holder = &part->holders[i];
        if (hash_unseeded(bytes_str(holder->user)) % PIECES == piece &&
            is_listed(holder->place, args[2])) {
            part->holders[i] = part->holders[--part->holder_count];
        }
    }
    for (size_t i = part != NULL && piece + 1 == PIECES ? part->place_count : 0; i-- > 0;) {
        if (is_listed(part->places[i].name, args[2])) {
            part->places[i] = part->places[--part->place_count];
        }
        part->due_ms = 0;
        part->claim_ms = 0;
    }
    return fake_reply_text(BUS_STRING, bytes_str(next));
}

static struct bus_reply *look_at(const struct fake_part *part, struct bytes user, uint64_t now_ms)
{
    size_t count = 0;
    for (size_t i = 0; part != NULL && i < part->holder_count; i++) {
        const struct fake_holder *holder = &part->holders[i];
        count += bytes_eq_str(user, holder->user) && counts(part, holder->place, now_ms);
    }
    if (count == 0) {
        return fake_reply_text(BUS_NIL, BYTES(""));
    }
    struct bus_reply *reply = fake_reply_array(3 * count);
    size_t at = 0;
    for (size_t i = 0; i < part->holder_count; i++) {
        const struct fake_holder *holder = &part->holders[i];
        if (bytes_eq_str(user, holder->user) && counts(part, holder->place, now_ms)) {
            const char *node = find_place(part, bytes_str(holder->place))->node;
            reply->items[at++] = fake_reply_text(BUS_STRING, bytes_str(node));
            reply->items[at++] = fake_reply_integer((int64_t)holder->connections);
            reply->items[at++] = fake_reply_integer(holder->shown);
        }
    }
    return reply;
}

static struct bus_reply *do_look(
    struct fake_presence *presence, const struct bytes *argv, size_t argc, uint64_t now_ms)
{
    struct bus_reply *reply = fake_reply_array(argc - ARGS);
    for (size_t i = ARGS; i < argc; i++) {
        reply->items[i - ARGS] = look_at(find_part(presence, argv[3]), argv[i], now_ms);
    }
    return reply;
}

/* Commands. */

static int script_of(struct bytes text)
{
    for (int i = 0; i < PRESENCE_SCRIPT_COUNT; i++) {
        if (bytes_eq_str(text, presence_scripts[i])) {
            return i;
        }
    }
    return -1;
}

/* Digests of these scripts begin with a letter, those of values with a digit. */
static struct bus_reply *digest_of(struct bytes text)
{
    char sha[SHA_LEN + 1];
    (void)snprintf(sha, sizeof(sha), "p%0*d", SHA_LEN - 1, script_of(text));
    return fake_reply_text(BUS_STRING, bytes_str(sha));
}

static int script_asked(const struct bytes *argv, size_t argc)
{
    if (argc < ARGS) {
        return -1;
    }
    if (bytes_eq_str(argv[0], "EVALSHA") && argv[1].len == SHA_LEN && argv[1].at[0] == 'p') {
        return argv[1].at[SHA_LEN - 1] - '0';
    }
    return bytes_eq_str(argv[0], "EVAL") ? script_of(argv[1]) : -1;
}

bool fake_presence_takes(const struct bytes *argv, size_t argc)
{
    return (argc == 3 && bytes_eq_str(argv[0], "SCRIPT") && script_of(argv[2]) >= 0) ||
           script_asked(argv, argc) >= 0;
}

struct bus_reply *fake_presence_carry_out(
    struct fake_presence *presence, const struct bytes *argv, size_t argc, uint64_t now_ms)
{
    expire(presence, now_ms);
    if (bytes_eq_str(argv[0], "SCRIPT")) {
        presence->forgotten = false;
        return digest_of(argv[2]);
    }
    if (presence->forgotten && bytes_eq_str(argv[0], "EVALSHA")) {
        presence->forgot++;
        return fake_reply_text(BUS_ERROR, BYTES("NOSCRIPT No matching script. Please use EVAL."));
    }
    if (presence->refuse > 0) {
        presence->refuse--;
        return fake_reply_text(BUS_ERROR, BYTES("OOM command not allowed"));
    }
    CHECK(bytes_eq_str(argv[2], "1"));
    switch (script_asked(argv, argc)) {
    case PRESENCE_SCRIPT_TELL:
        return do_tell(presence, argv, argc, now_ms);
    case PRESENCE_SCRIPT_SWEEP:
        return do_sweep(presence, argv);
    default:
        return do_look(presence, argv, argc, now_ms);
    }
}

/* What tests do. */

void fake_presence_clear(struct fake_presence *presence)
{
    expire(presence, UINT64_MAX);
}

struct fake_presence fake_presence_copy(const struct fake_presence *presence)
{
    struct fake_presence copy = {.count = presence->count};
    copy.parts = mem_alloc_array(presence->count + 1, sizeof(*copy.parts));
    for (size_t i = 0; i < presence->count; i++) {
        const struct fake_part *from = &presence->parts[i];
        struct fake_part *to = &copy.parts[i];
        *to = *from;
        to->places = mem_alloc_array(from->place_count + 1, sizeof(*to->places));
        to->holders = mem_alloc_array(from->holder_count + 1, sizeof(*to->holders));
        memcpy(to->places, from->places, from->place_count * sizeof(*to->places));
        if (from->holder_count > 0) {
            memcpy(to->holders, from->holders, from->holder_count * sizeof(*to->holders));
        }
    }
    return copy;
}

void fake_presence_restore(struct fake_presence *presence, struct fake_presence *copy)
{
    fake_presence_clear(presence);
    mem_free(presence->parts);
    presence->parts = copy->parts;
    presence->count = copy->count;
    *copy = (struct fake_presence){0};
}

size_t fake_presence_users(struct fake_presence *presence, uint64_t now_ms)
{
    size_t count = 0;
    expire(presence, now_ms);
    for (size_t i = 0; i < presence->count; i++) {
        count += count_users(&presence->parts[i]);
    }
    return count;
}

size_t fake_presence_keys(struct fake_presence *presence, uint64_t now_ms)
{
    expire(presence, now_ms);
    return presence->count;
}

void fake_presence_finish(struct fake_presence *presence)
{
    fake_presence_clear(presence);
    mem_free(presence->parts);
    presence->parts = NULL;
}
