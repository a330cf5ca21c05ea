/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the store of a run, says what the model's numbers stand for, and ends a run that failed.
 */
#include "tests/unit/sql/model_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "codec/base/status.h"

void run_fail(const struct run *run, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "operation %zu: ", run->step);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    (void)fflush(stderr);
    _exit(RUN_HAS_FAILED);
}

void run_tell(const struct run *run, const char *format, ...)
{
    if (!run->traces) {
        return;
    }
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "%5zu  ", run->step);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
}

uint64_t run_draw(struct run *run, uint64_t bound)
{
    return rand_below(&run->rand, bound);
}

/*
 * Where the machine has other things to do, a database may end what took too long. Nothing was
 * stored then, and it is asked again, as the product does.
 */
int run_try(struct run *run, struct store_request *request)
{
    enum { TRIES = 20 };
    unsigned shard = (unsigned)run_draw(run, HARNESS_SHARDS);
    int status = harness_run(&run->harness, shard, request);
    for (unsigned i = 0; i < TRIES && (status == STATUS_UNAVAILABLE || status == STATUS_TIMEOUT);
         i++) {
        store_request_finish(request);
        status = harness_run(&run->harness, shard, request);
    }
    if (status == STATUS_UNKNOWN) { /* and nobody can know: the model neither */
        (void)fprintf(stderr, "operation %zu: the answer was lost\n", run->step);
        _exit(RUN_IS_LOST);
    }
    return status;
}

void run_ask(struct run *run, struct store_request *request)
{
    int status = run_try(run, request);
    MUST(run, status == 0, "%d of request %d", status, request->op);
}

struct store_user run_user(const struct model_inbox *inbox)
{
    return (struct store_user){.tenant = run_tenant(inbox->tenant), .user = bytes_str(inbox->user)};
}

struct bytes run_tenant(unsigned tenant)
{
    return tenant == 0 ? BYTES("") : BYTES("other");
}

struct bytes run_topic(unsigned topic)
{
    static const char *const topics[MODEL_TOPICS] = {"news", "sport", "weather"};
    return bytes_str(topics[topic]);
}

struct bytes run_type(unsigned type)
{
    static const char *const types[MODEL_TYPES] = {"comment", "invoice", "system"};
    return bytes_str(types[type]);
}

struct bytes run_title(unsigned title)
{
    static const char *const titles[] = {"", "Paid", "F\xc3\xb6hn", "Late again"};
    return bytes_str(titles[title]);
}

struct bytes run_message(unsigned message)
{
    static const char *const messages[] = {"", "It is done", "\xe2\x82\xac 7", "Call me"};
    return bytes_str(messages[message]);
}

struct bytes run_data(unsigned data)
{
    static const char *const texts[] = {"", "{\"id\": 7}", "[1,2]"};
    return bytes_str(texts[data]);
}
