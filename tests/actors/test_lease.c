/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases of two holders on one server: one has it, a key that is lost is put back, one that is
 * another's is left alone, an answer of an earlier term says nothing, nor does one that is no
 * answer.
 */
#include <criterion/criterion.h>

#include "actors/lease.h"
#include "tests/support/nodes.h"

TestSuite(lease, .timeout = 60);

static const char *const key = "peal:test";

struct holder {
    struct lease lease;
    struct shard *shard;
    struct bus_link *link;
    unsigned held;
    unsigned renewed;
    unsigned lost;
    unsigned refused;
    enum lease_end why;
    bool unwilling;
};

static bool may_claim(void *context)
{
    return !((const struct holder *)context)->unwilling;
}

static void on_held(void *context)
{
    ((struct holder *)context)->held++;
}

static void on_renewed(void *context)
{
    ((struct holder *)context)->renewed++;
}

static void on_lost(void *context, enum lease_end why)
{
    struct holder *holder = context;
    holder->lost++;
    holder->why = why;
}

static void on_refused(void *context, struct bytes text)
{
    (void)text;
    ((struct holder *)context)->refused++;
}

static const struct lease_events events = {
    .may_claim = may_claim,
    .on_held = on_held,
    .on_renewed = on_renewed,
    .on_lost = on_lost,
    .on_refused = on_refused,
};

static void begin(
    struct nodes *nodes, unsigned node, struct holder *holder, const struct lease_config *config)
{
    static const struct bus_events no_events = {0};
    *holder = (struct holder){.shard = nodes_on(nodes, node, 0)};
    holder->link = holder->shard->bus->ops->open(holder->shard->bus, "lease", &no_events, holder);
    lease_start(&holder->lease, holder->shard, holder->link, config, &events, holder);
}

static void finish(struct nodes *nodes, unsigned node, struct holder *holder)
{
    nodes_on(nodes, node, 0);
    lease_stop(&holder->lease);
    holder->shard->bus->ops->close(holder->link);
}

static struct nodes *two_nodes(uint64_t seed)
{
    const struct nodes_options options = {.nodes = 2, .shards = 1, .bus = true};
    return nodes_create(seed, &options);
}

static struct lease_config described(const char *holder)
{
    return (struct lease_config){
        .key = key, .holder = holder, .ttl_ms = 1500, .renew_ms = 400, .claim_ms = 250};
}

Test(lease, one_of_two_has_it_and_the_other_gets_it_when_it_is_given_back)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct nodes *nodes = two_nodes(seed);
        static struct holder a;
        static struct holder b;
        struct lease_config config = described("anna");
        config.note = "10.0.0.1:80";
        begin(nodes, 0, &a, &config);
        nodes_advance(nodes, 1000);
        config = described("ann"); /* the start of the other's name is not the name */
        begin(nodes, 1, &b, &config);
        nodes_advance(nodes, 5000);
        cr_assert_eq(a.held, 1);
        cr_assert_gt(a.renewed, 5);
        cr_assert_eq(b.held, 0);
        cr_assert_str_eq(fake_data_key(fake_redis_data(nodes->redis), key), "anna 10.0.0.1:80");
        a.unwilling = true;
        nodes_on(nodes, 0, 0);
        lease_release(&a.lease, NULL, NULL);
        cr_assert(!lease_is_held(&a.lease));
        nodes_advance(nodes, 1000);
        cr_assert_eq(b.held, 1);
        cr_assert_eq(a.held, 1);
        cr_assert_eq(a.lost, 0);
        finish(nodes, 0, &a);
        finish(nodes, 1, &b);
        nodes_destroy(nodes);
    }
}

Test(lease, a_lost_key_is_put_back_and_a_changed_note_is_told)
{
    struct nodes *nodes = two_nodes(7);
    struct fake_data *data = fake_redis_data(nodes->redis);
    static struct holder a;
    const struct lease_config config = described("anna");
    begin(nodes, 0, &a, &config);
    nodes_advance(nodes, 1000);
    cr_assert_str_eq(fake_data_key(data, key), "anna");
    fake_data_set_key(data, key, NULL);
    lease_set_note(&a.lease, "v2");
    nodes_advance(nodes, 1000);
    cr_assert_str_eq(fake_data_key(data, key), "anna v2");
    cr_assert_eq(a.lost, 0);
    cr_assert_eq(a.held, 1);
    finish(nodes, 0, &a);
    nodes_destroy(nodes);
}

Test(lease, a_key_of_another_is_left_alone_and_the_lease_is_lost)
{
    struct nodes *nodes = two_nodes(8);
    struct fake_data *data = fake_redis_data(nodes->redis);
    static struct holder a;
    struct lease_config config = described("anna");
    config.lasting = true;
    config.held = true;
    begin(nodes, 0, &a, &config);
    nodes_advance(nodes, 1000);
    fake_data_set_key(data, key, "annabel x");
    nodes_advance(nodes, 1000);
    cr_assert_str_eq(fake_data_key(data, key), "annabel x");
    cr_assert_eq(a.lost, 1);
    cr_assert_eq(a.why, LEASE_TAKEN);
    finish(nodes, 0, &a);
    nodes_destroy(nodes);
}

Test(lease, without_redis_it_expires_on_time_unless_it_is_lasting)
{
    for (int lasting = 0; lasting < 2; lasting++) {
        struct nodes *nodes = two_nodes(9 + (uint64_t)lasting);
        static struct holder a;
        struct lease_config config = described("anna");
        config.lasting = lasting;
        begin(nodes, 0, &a, &config);
        nodes_advance(nodes, 1000);
        cr_assert_eq(a.held, 1);
        fake_redis_reach(nodes->redis, 0, false);
        fake_redis_drop(nodes->redis, 0, 1);
        nodes_advance(nodes, 1600);
        cr_assert_eq(a.lost, !lasting);
        fake_redis_reach(nodes->redis, 0, true);
        nodes_advance(nodes, 3000);
        cr_assert_eq(a.held, lasting ? 1u : 2u);
        cr_assert(lease_is_held(&a.lease));
        finish(nodes, 0, &a);
        nodes_destroy(nodes);
    }
}

static struct bus_reply *text(enum bus_reply_type type, const char *text)
{
    static struct bus_reply replies[32];
    static size_t count;
    struct bus_reply *reply = &replies[count++ % ARRAY_LEN(replies)];
    *reply = (struct bus_reply){.type = type, .text = bytes_str(text)};
    return reply;
}

/* A node ends when it loses a lease that lasts: nothing but the name of another holder may do that.
 */
Test(lease, nonsense_for_an_answer_neither_ends_nor_renews_it)
{
    struct bus_reply *pair[] = {text(BUS_STRING, "taken"), text(BUS_STRING, "anna 10.0.0.1:80")};
    struct bus_reply *words[] = {text(BUS_STRING, "message"), text(BUS_STRING, "bob")};
    struct bus_reply *odd[] = {text(BUS_STRING, "taken"), text(BUS_NIL, "")};
    const struct bus_reply lies[] = {
        {.type = BUS_NIL},
        {.type = BUS_STATUS, .text = BYTES("OK")},
        {.type = BUS_STATUS, .text = BYTES("taken")},
        {.type = BUS_ERROR, .text = BYTES("LOADING Redis is loading")},
        {.type = BUS_INTEGER, .integer = 0},
        {.type = BUS_INTEGER, .integer = -1},
        {.type = BUS_STRING, .text = BYTES("")},
        {.type = BUS_STRING, .text = BYTES("bob")},
        {.type = BUS_ARRAY},
        {.type = BUS_ARRAY, .count = 1, .items = pair},
        {.type = BUS_ARRAY, .count = 2, .items = pair}, /* its own name */
        {.type = BUS_ARRAY, .count = 2, .items = words},
        {.type = BUS_ARRAY, .count = 2, .items = odd},
    };
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        struct nodes *nodes = two_nodes(20 + i);
        struct fake_data *data = fake_redis_data(nodes->redis);
        static struct holder a;
        struct lease_config config = described("anna");
        config.lasting = true;
        config.held = true;
        begin(nodes, 0, &a, &config);
        nodes_advance(nodes, 1000);
        unsigned renewed = a.renewed;
        data->lie = &lies[i];
        nodes_advance(nodes, 3000);
        cr_assert_eq(a.lost, 0, "lie %zu", i);
        cr_assert_leq(a.renewed, renewed + 1, "lie %zu", i);
        cr_assert_gt(a.refused, 3, "lie %zu", i);
        data->lie = NULL;
        nodes_advance(nodes, 1000);
        cr_assert_gt(a.renewed, renewed + 1, "lie %zu", i);
        finish(nodes, 0, &a);
        nodes_destroy(nodes);
    }
}

/* A renewal under way when the lease is given back is granted by the server, and must not count. */
Test(lease, an_answer_of_an_earlier_term_says_nothing)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct nodes *nodes = two_nodes(seed);
        static struct holder a;
        const struct lease_config config = described("anna");
        begin(nodes, 0, &a, &config);
        nodes_advance(nodes, 1000);
        a.unwilling = true;
        for (unsigned i = 0; i < 40 && !a.lease.asking; i++) {
            nodes_advance(nodes, 20);
        }
        nodes_on(nodes, 0, 0);
        lease_release(&a.lease, NULL, NULL);
        nodes_settle(nodes);
        cr_assert(!lease_is_held(&a.lease));
        cr_assert_null(fake_data_key(fake_redis_data(nodes->redis), key));
        finish(nodes, 0, &a);
        nodes_destroy(nodes);
    }
}
