/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps of each row that matches its score and where it stands: a search needs as much memory as
 * two pieces, a place for each row that matches, and a page.
 */
#include "actors/inbox/inbox_search.h"

#include <stdlib.h>
#include <string.h>

#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/notification_json.h"

enum {
    ROWS_MAX = 5000, /* the newest of what is meant */
    BYTES_MAX = 8 << 20, /* of their texts, if that comes first */
    PIECE_ROWS = 100, /* what is compared in one turn of the loop */
    PIECE_BYTES = 64 << 10,
};

struct match {
    uint64_t new_rev;
    uint64_t seq;
    uint32_t score;
};

const char inbox_search_busy[] = "Too many searches at once, try again";

struct inbox_search {
    struct shard *shard;
    const struct notification_query *query;
    struct store_user who; /* in `names` */
    char *names;
    size_t match_count;
    size_t rows;
    size_t bytes;
    size_t first; /* of the page, in the order of matches */
    size_t page; /* how many are in it */
    uint64_t rev; /* at the first piece */
    bool changed;
    uint64_t seqs[NOTIFICATION_QUERY_LIMIT_MAX];
    uint32_t scores[NOTIFICATION_QUERY_LIMIT_MAX]; /* of the items */
    struct match matches[ROWS_MAX];
};

static void ask_texts(struct inbox_search *search, union inbox_search_request *request,
    struct store_cursor before, store_done_fn done)
{
    const struct notification_query *query = search->query;
    request->texts = (struct store_list){
        .base = {.op = STORE_TEXTS, .done = done},
        .who = search->who,
        .before = before,
        .limit = PIECE_ROWS,
        .max_bytes = PIECE_BYTES,
        .states = query->states,
        .priorities = query->priorities,
        .types = query->types,
        .type_count = query->type_count,
        .from = query->from,
        .to = query->to,
    };
}

/* Its texts lie in `*ret_names`; NULL there: no memory. */
static struct store_user copy_names(struct store_user who, char **ret_names)
{
    char *names = mem_try_alloc(who.tenant.len + who.user.len + 1);
    struct store_user copy = {0};
    *ret_names = names;
    if (names != NULL) {
        memcpy(names, who.tenant.len > 0 ? who.tenant.at : "", who.tenant.len);
        memcpy(names + who.tenant.len, who.user.at, who.user.len);
        copy.tenant = bytes_of(names, who.tenant.len);
        copy.user = bytes_of(names + who.tenant.len, who.user.len);
    }
    return copy;
}

struct inbox_search *inbox_search_create(struct shard *shard,
    const struct notification_query *query, struct store_user who,
    union inbox_search_request *request)
{
    if (shard->stats.searches >= shard->config->searches) {
        shard->stats.searches_refused++;
        return NULL;
    }
    struct inbox_search *search = mem_try_calloc(1, sizeof(*search));
    if (search == NULL) {
        return NULL;
    }
    search->who = copy_names(who, &search->names);
    if (search->names == NULL) {
        mem_free(search);
        return NULL;
    }
    shard->stats.searches++;
    search->shard = shard;
    search->query = query;
    ask_texts(search, request, (struct store_cursor){0}, request->base.done);
    return search;
}

void inbox_search_destroy(struct inbox_search *search)
{
    if (search != NULL) {
        search->shard->stats.searches--;
        mem_free(search->names);
        mem_free(search);
    }
}

static void compare_texts(struct inbox_search *search, const struct store_list *texts)
{
    for (size_t i = 0; i < texts->count && search->rows < ROWS_MAX; i++) {
        const struct notification_item *item = &texts->items[i];
        uint32_t score = search_score(&search->query->search, item->title, item->message);
        search->rows++;
        search->bytes += item->title.len + item->message.len;
        if (score > 0) {
            search->matches[search->match_count++] =
                (struct match){.new_rev = item->new_rev, .seq = item->seq, .score = score};
        }
    }
}

/* The best first, of equal ones the newest. */
static int compare(const void *a, const void *b)
{
    const struct match *one = a;
    const struct match *two = b;
    if (one->score != two->score) {
        return one->score > two->score ? -1 : 1;
    }
    if (one->new_rev != two->new_rev) {
        return one->new_rev > two->new_rev ? -1 : 1;
    }
    return one->seq > two->seq ? -1 : one->seq < two->seq;
}

/* Which matches are in the page. */
static void choose(struct inbox_search *search)
{
    const struct notification_query *query = search->query;
    const struct match cursor = {
        .new_rev = query->after_rev, .seq = query->after_seq, .score = query->after_rank};
    if (search->match_count > 0) {
        qsort(search->matches, search->match_count, sizeof(*search->matches), compare);
    }
    search->first = query->page > 0 ? (size_t)(query->page - 1) * query->limit : 0;
    while (query->after_rev > 0 && search->first < search->match_count &&
           compare(&search->matches[search->first], &cursor) <= 0) {
        search->first++;
    }
    while (search->page < query->limit && search->first + search->page < search->match_count) {
        search->seqs[search->page] = search->matches[search->first + search->page].seq;
        search->page++;
    }
}

bool inbox_search_step(struct inbox_search *search, union inbox_search_request *request)
{
    store_done_fn done = request->base.done;
    struct store_cursor next = {0};
    if (request->base.op == STORE_PICK) {
        search->changed |= request->pick.position.rev != search->rev;
        for (size_t i = 0, at = 0; i < request->pick.count; i++) { /* some may have gone */
            while (at + 1 < search->page && search->seqs[at] != request->pick.items[i].seq) {
                at++;
            }
            search->scores[i] = search->matches[search->first + at].score;
        }
        return false;
    }
    search->changed |= search->rows > 0 && request->texts.position.rev != search->rev;
    search->rev = search->rows > 0 ? search->rev : request->texts.position.rev;
    compare_texts(search, &request->texts);
    if (search->rows < ROWS_MAX && search->bytes < BYTES_MAX) {
        next = request->texts.next;
    }
    store_request_finish(&request->base);
    if (next.new_rev > 0) {
        ask_texts(search, request, next, done);
        return true;
    }
    choose(search);
    request->pick = (struct store_pick){.base = {.op = STORE_PICK, .done = done},
        .who = search->who,
        .seqs = search->seqs,
        .seq_count = search->page};
    return true;
}

bool inbox_search_answer(const struct inbox_search *search,
    const union inbox_search_request *request, uint32_t max_bytes, bool ack, struct builder *out,
    uint64_t *ret_rev)
{
    const struct store_pick *pick = &request->pick;
    const struct notification_query *query = search->query;
    const struct notification_page body = {.items = pick->items,
        .count = pick->count,
        .more = search->first + search->page < search->match_count,
        .fields = query->fields,
        .omit_nulls = query->omit_nulls,
        .max_bytes = max_bytes,
        .ack = ack,
        .ranks = search->scores,
        .page = query->page,
        .limit = query->limit,
        .total = search->match_count,
        .total_max = ROWS_MAX};
    size_t given = notification_json_list(&body, out);
    *ret_rev = search->changed ? 0 : pick->position.rev;
    return query->page == 0 || given == pick->count;
}
