/* SPDX-License-Identifier: Apache-2.0 */
/* Events by name: who sends them decides how many names there are. */
#include <criterion/criterion.h>

#include "codec/base/mem.h"
#include "hub/node/node_counts.h"

TestSuite(node_counts, .timeout = 60);

Test(node_counts, without_memory_an_event_counts_among_the_others)
{
    struct event_counts counts;
    event_counts_init(&counts);
    event_counts_add(&counts, BYTES("known"), 2);
    mem_refuse(true);
    event_counts_add(&counts, BYTES("new"), 3);
    event_counts_add(&counts, BYTES("known"), 1);
    mem_refuse(false);
    cr_expect_eq(counts.other, 3);
    cr_expect_eq(map_count(&counts.names), 1);
    event_counts_add(&counts, BYTES("new"), 1);
    cr_expect_eq(map_count(&counts.names), 2);
    cr_expect_eq(counts.other, 3);
    event_counts_finish(&counts);
}
