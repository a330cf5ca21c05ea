/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_inbox - what reading inboxes costs. Started by run.py; by hand:
 *
 *   bench_inbox load|statements|explain URL USERS ROWS [COUNT]
 *   bench_inbox reads|offer PORT USERS ROWS COUNT|RATE [SECONDS]
 *
 * `reads` and `offer` want PEAL_BENCH_SECRET and PEAL_BENCH_API_KEY, the hub's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/check.h"
#include "tests/bench/inbox.h"

void inbox_print(const char *name, const struct histogram *times, const char *rest)
{
    printf("{\"name\":\"%s\",\"count\":%llu,\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f%s}\n", name,
        (unsigned long long)times->count, histogram_quantile_ms(times, 500),
        histogram_quantile_ms(times, 950), histogram_quantile_ms(times, 990), rest);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    enum { VERB = 1, WHERE, USERS, ROWS, COUNT, SECONDS };
    if (argc <= ROWS) {
        (void)fprintf(stderr, "usage: bench_inbox VERB WHERE USERS ROWS [COUNT [SECONDS]]\n");
        return 2;
    }
    struct inbox_world world = {.users = (uint32_t)strtoul(argv[USERS], NULL, 10),
        .rows = (uint32_t)strtoul(argv[ROWS], NULL, 10),
        .random = 1};
    uint32_t count = argc > COUNT ? (uint32_t)strtoul(argv[COUNT], NULL, 10) : 0;
    bool good = false;
    if (strcmp(argv[VERB], "load") == 0) {
        uint64_t rows = inbox_load(&world, argv[WHERE]);
        good = printf("{\"rows\":%llu}\n", (unsigned long long)rows) > 0;
    } else if (strcmp(argv[VERB], "explain") == 0) {
        inbox_explain(&world, argv[WHERE]);
        good = true;
    } else if (strcmp(argv[VERB], "statements") == 0) {
        good = inbox_time_statements(&world, argv[WHERE], count);
    } else if (strcmp(argv[VERB], "reads") == 0) {
        good = inbox_time_reads(&world, argv[WHERE], count);
    } else if (strcmp(argv[VERB], "offer") == 0 && argc > SECONDS) {
        good = inbox_offer_reads(&world, argv[WHERE], count, strtod(argv[SECONDS], NULL));
    }
    return good ? 0 : 1;
}
