/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks for a node's lease once for all who wait, and keeps what was answered, also that there is
 * none.
 */
#include "hub/cluster/node_directory.h"

#include <stdio.h>
#include <string.h>

#include "actors/bus.h"
#include "actors/core/sched.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/bus_name.h"
#include "hub/cluster/cluster_link.h"

enum { STALE_MS = 600000 };

struct node_directory {
    struct bus *bus;
    struct bus_link *link;
    struct sched *sched;
    const struct bus_names *names;
    struct map nodes; /* struct node by tag */
};

struct node {
    struct node_directory *directory;
    struct list questions; /* node_question.link */
    uint64_t until_ms; /* monotonic: the address holds so long */
    uint16_t tag;
    bool asking; /* Redis */
    char address[CLUSTER_ADDRESS_MAX]; /* empty: there is no such node */
};

static struct bytes node_key(const void *object)
{
    const struct node *node = object;
    return bytes_of(&node->tag, sizeof(node->tag));
}

/* Everybody who waits gets the same answer. */
static void answer(struct node *node, int status)
{
    struct list questions;
    list_init(&questions);
    list_splice(&questions, &node->questions);
    char address[CLUSTER_ADDRESS_MAX];
    memcpy(address, node->address, sizeof(address));
    for (struct list *link; (link = list_pop(&questions)) != NULL;) {
        struct node_question *question = container_of(link, struct node_question, link);
        question->fn(question, status, status == 0 ? address : NULL);
    }
}

/* The address behind the node's name in a lease; false when there is none that can be one. */
static bool read_lease(struct bytes lease, char ret_address[CLUSTER_ADDRESS_MAX])
{
    const char *blank = lease.len > 0 ? memchr(lease.at, ' ', lease.len) : NULL;
    if (blank == NULL) {
        return false;
    }
    struct bytes address = bytes_skip(lease, (size_t)(blank - lease.at) + 1);
    if (address.len == 0 || address.len >= CLUSTER_ADDRESS_MAX) {
        return false;
    }
    memcpy(ret_address, address.at, address.len);
    ret_address[address.len] = '\0';
    return true;
}

static void on_reply(void *context, int status, const struct bus_reply *reply)
{
    struct node *node = context;
    uint64_t now = sched_now(node->directory->sched);
    node->asking = false;
    if (status != 0 || reply->type == BUS_ERROR) {
        node->until_ms = now; /* ask again with the next question */
        bool known = node->address[0] != '\0' && status != STATUS_CANCELLED;
        answer(node, known ? 0 : status == STATUS_CANCELLED ? status : STATUS_UNAVAILABLE);
        return;
    }
    bool there = reply->type == BUS_STRING && read_lease(reply->text, node->address);
    if (!there) {
        node->address[0] = '\0';
    }
    node->until_ms = now + (there ? NODE_KNOWN_MS : NODE_ABSENT_MS);
    answer(node, there ? 0 : STATUS_NOT_FOUND);
}

static void ask_redis(struct node *node)
{
    char key[BUS_NAME_MAX];
    bus_name_node(node->directory->names, node->tag, key);
    const struct bytes argv[] = {BYTES("GET"), bytes_str(key)};
    struct node_directory *directory = node->directory;
    node->asking = true;
    directory->bus->ops->command(directory->link, argv, ARRAY_LEN(argv), 0, on_reply, node);
}

struct node_directory *node_directory_open(
    struct bus *bus, struct sched *sched, const struct bus_names *names)
{
    static const struct bus_events events = {0};
    struct node_directory *directory = mem_alloc(sizeof(*directory));
    directory->bus = bus;
    directory->sched = sched;
    directory->names = names;
    directory->link = bus->ops->open(bus, "peal-nodes", &events, directory);
    map_init(&directory->nodes, node_key);
    return directory;
}

void node_directory_close(struct node_directory *directory)
{
    size_t cursor = 0;
    struct node *node;
    directory->bus->ops->close(directory->link); /* answers what is under way */
    while ((node = map_next(&directory->nodes, &cursor)) != NULL) {
        mem_free(node);
    }
    map_finish(&directory->nodes);
    mem_free(directory);
}

/* Whether what is remembered of a node is worth nothing: an address is, while Redis is away. */
static bool is_stale(const struct node *node, uint64_t now)
{
    uint64_t grace = node->address[0] != '\0' ? STALE_MS : 0;
    return !node->asking && node->until_ms + grace <= now;
}

/* Forget a node that is stale; false: there is none. */
static bool forget_one(struct node_directory *directory)
{
    size_t cursor = 0;
    struct node *node;
    uint64_t now = sched_now(directory->sched);
    while ((node = map_next(&directory->nodes, &cursor)) != NULL) {
        if (is_stale(node, now)) {
            map_remove(&directory->nodes, node_key(node));
            mem_free(node);
            return true;
        }
    }
    return false;
}

/* NULL: too many are under way, or no memory. */
static struct node *find_node(struct node_directory *directory, uint16_t tag)
{
    struct node *node = map_get(&directory->nodes, bytes_of(&tag, sizeof(tag)));
    if (node != NULL) {
        return node;
    }
    if (map_count(&directory->nodes) >= NODE_DIRECTORY_MAX && !forget_one(directory)) {
        return NULL;
    }
    node = mem_try_calloc(1, sizeof(*node));
    if (node == NULL) {
        return NULL;
    }
    node->directory = directory;
    node->tag = tag;
    list_init(&node->questions);
    if (!map_put(&directory->nodes, node)) {
        mem_free(node);
        return NULL;
    }
    return node;
}

void node_directory_ask(
    struct node_directory *directory, uint16_t tag, struct node_question *question)
{
    struct node *node = find_node(directory, tag);
    list_init(&question->link);
    if (node == NULL) {
        question->fn(question, STATUS_UNAVAILABLE, NULL);
        return;
    }
    list_append(&node->questions, &question->link);
    if (node->asking) {
        return;
    }
    if (node->until_ms > sched_now(directory->sched)) {
        answer(node, node->address[0] != '\0' ? 0 : STATUS_NOT_FOUND);
    } else {
        ask_redis(node);
    }
}

void node_directory_take_back(struct node_question *question)
{
    list_remove(&question->link);
}

/* The tag that a member of the roster begins with. */
static bool read_tag(struct bytes member, uint16_t *ret_tag)
{
    enum { DIGITS = 4 };
    unsigned tag = 0;
    if (member.len <= DIGITS || member.at[DIGITS] != ' ') {
        return false;
    }
    for (size_t i = 0; i < DIGITS; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = member.at[i] != '\0' ? strchr(digits, member.at[i]) : NULL;
        if (digit == NULL) {
            return false;
        }
        tag = tag << 4 | (unsigned)(digit - digits);
    }
    *ret_tag = (uint16_t)tag;
    return true;
}

static void on_roster(void *context, int status, const struct bus_reply *reply)
{
    struct node_census *census = context;
    uint16_t tags[NODE_DIRECTORY_MAX];
    size_t count = 0;
    bool complete = true;
    if (status != 0 || reply->type != BUS_ARRAY) {
        census->fn(
            census, status == STATUS_CANCELLED ? status : STATUS_UNAVAILABLE, NULL, 0, false);
        return;
    }
    for (size_t i = 0; i < reply->count && complete; i++) {
        uint16_t tag;
        if (reply->items[i]->type == BUS_STRING && read_tag(reply->items[i]->text, &tag)) {
            complete = count < NODE_DIRECTORY_MAX;
            if (complete) {
                tags[count++] = tag;
            }
        }
    }
    census->fn(census, 0, tags, count, complete);
}

void node_directory_census(struct node_directory *directory, struct node_census *census)
{
    char key[BUS_NAME_MAX];
    bus_name_roster(directory->names, key);
    const struct bytes argv[] = {BYTES("ZRANGE"), bytes_str(key), BYTES("0"), BYTES("-1")};
    directory->bus->ops->command(directory->link, argv, ARRAY_LEN(argv), 0, on_roster, census);
}

void node_directory_doubt(struct node_directory *directory, uint16_t tag)
{
    struct node *node = map_get(&directory->nodes, bytes_of(&tag, sizeof(tag)));
    if (node != NULL) {
        node->until_ms = 0;
    }
}
