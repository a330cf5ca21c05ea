/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares what Redis says of itself and of the stream with what was seen before, and decides what
 * is read again.
 *
 * Order of this file: the text in the store, reading again, what Redis says, asking.
 */
#include "actors/ingest/ingest_history.h"

#include <stdio.h>

#include "actors/bus.h"
#include "actors/inbox/positions.h"
#include "actors/ingest/ingest_gauges.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/redis_info.h"
#include "sql/store.h"

enum { COMMAND_MS = 5000, ID_TEXT_MAX = 48 };

static const struct stream_id zero = {0};

static const char *write_id(struct stream_id id, char at[ID_TEXT_MAX])
{
    snprintf(at, ID_TEXT_MAX, "%llu-%llu", (unsigned long long)id.ms, (unsigned long long)id.seq);
    return at;
}

static bool is_below(struct stream_id a, struct stream_id b)
{
    return stream_id_cmp(a, b) < 0;
}

static struct stream_id lower(struct stream_id a, struct stream_id b)
{
    return is_below(a, b) ? a : b;
}

static struct stream_id higher(struct stream_id a, struct stream_id b)
{
    return is_below(a, b) ? b : a;
}

/* Empty when it does not fit: a history that is not known is compared with none. */
static void set_replid(char *replid, struct bytes text)
{
    size_t len = text.len < INGEST_REPLID_MAX ? text.len : 0;
    if (len > 0) {
        memcpy(replid, text.at, len);
    }
    replid[len] = '\0';
}

void ingest_history_init(
    struct ingest_history *history, struct shard *shard, struct bus_link *link, uint32_t number)
{
    *history =
        (struct ingest_history){.shard = shard, .link = link, .gauge = &shard->streams->of[number]};
    bus_name_in(&shard->config->names, number, history->stream);
}

/* The text in the store: "<position> [<replid> <covered> <offset>]". */

static struct bytes take_word(struct bytes *text)
{
    const char *blank = text->len > 0 ? memchr(text->at, ' ', text->len) : NULL;
    size_t len = blank != NULL ? (size_t)(blank - text->at) : text->len;
    struct bytes word = bytes_of(text->at, len);
    *text = bytes_skip(*text, blank != NULL ? len + 1 : len);
    return word;
}

/*
 * Tokens only grow. A position may be set back, by who owns the stream: where nobody did between
 * this term and the last one of this node, it is what this node has written.
 */
static void check_store(
    const struct ingest_history *history, uint64_t token, struct stream_id position)
{
    struct store_loss loss = {"token", history->token, token - 1};
    if (token == history->token + 1 && is_below(position, history->stored)) {
        loss = (struct store_loss){"stream", history->stored.ms, position.ms};
    } else if (token > history->token) {
        return;
    }
    store_tell_loss(history->shard->store_root, &loss);
}

struct stream_id ingest_history_begin(
    struct ingest_history *history, uint64_t token, struct bytes kept)
{
    struct stream_id position = zero;
    history->stale = history->asking;
    history->unsure = true;
    history->again = false;
    history->replid[0] = '\0';
    history->covered = history->repeats = history->until = history->deleted = zero;
    history->offset = history->added = 0;
    ingest_keep_forget(&history->keep);
    if (stream_id_read(take_word(&kept), &position) != 0) {
        position = zero;
    }
    check_store(history, token, position);
    history->token = token;
    history->stored = position;
    history->written = zero;
    history->asked_position = history->asked_read = position;
    struct bytes replid = take_word(&kept);
    struct bytes covered = take_word(&kept);
    if (stream_id_read(covered, &history->covered) == 0 &&
        bytes_to_u64(kept, UINT64_MAX, &history->offset) == 0) {
        set_replid(history->replid, replid);
    }
    return position;
}

struct bytes ingest_history_write(
    struct ingest_history *history, struct stream_id id, char at[INGEST_POSITION_MAX])
{
    char position[ID_TEXT_MAX];
    char covered[ID_TEXT_MAX];
    history->written = zero;
    if (history->again && is_below(id, history->until)) {
        return BYTES("");
    }
    if (is_below(id, history->stored)) {
        history->stored = zero; /* until it is known which of the two is there */
    }
    history->written = id;
    write_id(id, position);
    if (history->replid[0] == '\0') {
        snprintf(at, INGEST_POSITION_MAX, "%s", position);
    } else {
        snprintf(at, INGEST_POSITION_MAX, "%s %s %s %llu", position, history->replid,
            write_id(history->covered, covered), (unsigned long long)history->offset);
    }
    return bytes_str(at);
}

void ingest_history_committed(struct ingest_history *history)
{
    if (stream_id_cmp(history->written, zero) != 0) {
        history->stored = history->written;
        history->written = zero;
    }
}

/* Reading again. */

static void count(_Atomic(uint64_t) *number)
{
    ingest_gauge_set(number, ingest_gauge_get(number) + 1);
}

struct stream_id ingest_history_repeats(const struct ingest_history *history)
{
    return history->again ? history->repeats : zero;
}

static void begin_again(struct ingest_history *history, struct stream_id from,
    struct stream_id repeats, struct stream_id until)
{
    history->again = is_below(from, until);
    history->repeats = repeats;
    history->until = until;
    history->covered = zero;
    history->offset = 0;
    history->deleted = higher(history->deleted, history->view.deleted);
    ingest_keep_forget(&history->keep);
    count(&history->gauge->reread);
    history->read_again(history->context, from);
}

void ingest_history_passed(struct ingest_history *history, struct stream_id id)
{
    if (!history->again || is_below(id, history->until)) {
        return;
    }
    history->again = false;
    log_info("INGEST-AGREES", "what Redis has kept is stored", "stream=%s", history->stream);
    /* Repeats were not announced. */
    positions_look(history->shard);
}

/* Another history: from where it is the one that is known, if it is that at all. */
static void change_history(struct ingest_history *history)
{
    const struct ingest_view *view = &history->view;
    bool continues = strcmp(view->replid2, history->replid) == 0 && history->offset < view->reached;
    struct stream_id from = continues ? history->covered : zero;
    struct stream_id dealt = history->asked_position;
    char at[ID_TEXT_MAX];
    char position[ID_TEXT_MAX];
    if (history->again) {
        dealt = higher(dealt, history->repeats);
    }
    log_warn("INGEST-HISTORY", "Redis has another history: what it has kept is read again",
        "stream=%s from=%s position=%s was=%s is=%s", history->stream, write_id(from, at),
        write_id(dealt, position), history->replid, view->replid);
    memcpy(history->replid, view->replid, sizeof(history->replid));
    begin_again(history, from, lower(dealt, view->tip), view->tip);
}

/*
 * A stream whose tip is below the position was deleted: XREAD above the tip would be silent for
 * ever. What is in it is new, whatever the ids say.
 */
static void begin_anew(struct ingest_history *history)
{
    char tip[ID_TEXT_MAX];
    char position[ID_TEXT_MAX];
    log_error("INGEST-TIP", "the stream is behind what is stored: reading it again from the start",
        "stream=%s tip=%s position=%s", history->stream, write_id(history->view.tip, tip),
        write_id(history->asked_position, position));
    begin_again(history, zero, zero, zero);
}

/* Fewer were ever added than before: it is another stream under the same name. */
static void replace(struct ingest_history *history)
{
    log_error("INGEST-REPLACED",
        "the stream was replaced by one with fewer entries: reading it again from the start",
        "stream=%s was=%llu is=%llu", history->stream, (unsigned long long)history->added,
        (unsigned long long)history->view.added);
    count(&history->gauge->lost);
    begin_again(
        history, zero, lower(history->asked_position, history->view.tip), history->view.tip);
}

/* Entries that were deleted before they were read. */
static void check_deleted(struct ingest_history *history)
{
    struct stream_id deleted = history->view.deleted;
    struct stream_id known = higher(history->asked_read, history->asked_position);
    char at[ID_TEXT_MAX];
    char read[ID_TEXT_MAX];
    if (stream_id_cmp(known, zero) != 0 && is_below(known, deleted) &&
        is_below(history->deleted, deleted) && !history->again) {
        log_error("INGEST-DELETED", "entries were deleted before they were read",
            "stream=%s deleted=%s read=%s", history->stream, write_id(deleted, at),
            write_id(known, read));
        count(&history->gauge->lost);
    }
    history->deleted = higher(history->deleted, deleted);
}

static void trim(struct ingest_history *history)
{
    struct stream_id id;
    char at[ID_TEXT_MAX];
    uint64_t now = sched_now(history->shard->sched);
    if (history->again || !ingest_keep_note(&history->keep, now, history->shard->config->keep_ms,
                              history->asked_position, history->view.length, &id)) {
        return;
    }
    const struct bytes argv[] = {BYTES("XTRIM"), bytes_str(history->stream), BYTES("MINID"),
        BYTES("~"), bytes_str(write_id(id, at))};
    history->shard->bus->ops->command(history->link, argv, ARRAY_LEN(argv), COMMAND_MS, NULL, NULL);
}

static void judge(struct ingest_history *history)
{
    const struct ingest_view *view = &history->view;
    uint64_t added = history->added;
    bool is_known = view->known && view->replid[0] != '\0';
    history->added = view->added;
    if (is_known && history->replid[0] != '\0' && strcmp(view->replid, history->replid) != 0) {
        change_history(history);
        return;
    }
    if (is_known) {
        memcpy(history->replid, view->replid, sizeof(history->replid));
    }
    /* What was committed since the question was sent may be newer than the answer. */
    if (is_below(view->tip, history->asked_position)) {
        begin_anew(history);
    } else if (view->added < added) {
        history->added = added;
        replace(history);
        history->added = view->added;
    } else {
        check_deleted(history);
        if (is_known && !history->again) {
            history->covered = history->asked_position;
            history->offset = view->offset;
        }
        trim(history);
    }
}

/* What Redis says. */

static uint64_t number_of(struct bytes text)
{
    uint64_t number;
    return bytes_to_u64(text, UINT64_MAX, &number) == 0 ? number : 0;
}

static void on_info(void *context, int status, const struct bus_reply *reply)
{
    struct ingest_history *history = context;
    struct ingest_view *view = &history->view;
    *view = (struct ingest_view){.known = status == 0 && reply->type == BUS_STRING};
    if (view->known) {
        set_replid(view->replid, redis_info_field(reply->text, "master_replid"));
        set_replid(view->replid2, redis_info_field(reply->text, "master_replid2"));
        view->reached = number_of(redis_info_field(reply->text, "second_repl_offset"));
        view->offset = number_of(redis_info_field(reply->text, "master_repl_offset"));
    }
}

/* Whether it is about the stream: that there is none is, that Redis is busy is not. */
static bool says_something(const struct bus_reply *reply)
{
    return reply->type == BUS_ARRAY ||
           (reply->type == BUS_ERROR && bytes_starts(reply->text, BYTES("ERR no such key")));
}

static void read_stream(struct ingest_view *view, const struct bus_reply *reply)
{
    for (size_t i = 0; reply->type == BUS_ARRAY && i + 1 < reply->count; i += 2) {
        struct bytes name = reply->items[i]->text;
        const struct bus_reply *value = reply->items[i + 1];
        if (bytes_eq_str(name, "last-generated-id")) {
            (void)!stream_id_read(value->text, &view->tip);
        } else if (bytes_eq_str(name, "max-deleted-entry-id")) {
            (void)!stream_id_read(value->text, &view->deleted);
        } else if (bytes_eq_str(name, "entries-added")) {
            view->added = (uint64_t)value->integer;
        } else if (bytes_eq_str(name, "length")) {
            view->length = (uint64_t)value->integer;
        }
    }
}

/* Asking. */

static void on_stream(void *context, int status, const struct bus_reply *reply)
{
    struct ingest_history *history = context;
    char tip[ID_TEXT_MAX];
    bool stale = history->stale;
    history->asking = false;
    history->stale = false;
    bool answered = status == 0 && says_something(reply);
    if (status == 0 && !answered) {
        ingest_gauge_complain(history->gauge, INGEST_TROUBLE_READ, history->stream,
            reply->type == BUS_ERROR ? reply->text : BYTES("no answer to XINFO STREAM"));
    }
    if (!answered || ingest_gauge_get(&history->gauge->owner) == 0) {
        return; /* asked again when the lease is renewed */
    }
    if (stale) {
        ingest_history_ask(history, history->asked_position, history->asked_read);
        return;
    }
    history->unsure = false;
    read_stream(&history->view, reply);
    ingest_gauge_note_tip(
        history->gauge, history->stream, bytes_str(write_id(history->view.tip, tip)));
    judge(history);
    history->go_on(history->context);
}

void ingest_history_ask(
    struct ingest_history *history, struct stream_id position, struct stream_id read)
{
    const struct bus_ops *ops = history->shard->bus->ops;
    const struct bytes info[] = {BYTES("INFO"), BYTES("replication")};
    const struct bytes stream[] = {BYTES("XINFO"), BYTES("STREAM"), bytes_str(history->stream)};
    if (history->asking) {
        return;
    }
    history->asking = true;
    history->asked_position = position;
    history->asked_read = read;
    /* Of the server that has the stream. */
    bus_command_near(history->shard->bus, history->link, bytes_str(history->stream),
        &(struct bus_command){info, ARRAY_LEN(info), on_info, history});
    ops->command(history->link, stream, ARRAY_LEN(stream), COMMAND_MS, on_stream, history);
}
