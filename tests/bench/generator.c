/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns the epoll loop, and plays a scenario: connect, warm up, measure, end.
 */
#include "tests/bench/generator.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "codec/base/check.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"

enum { EVENTS_MAX = 256, PUBLISH_EVERY = 16 };

void generator_init(struct generator *generator, const struct client_ops *ops)
{
    const struct options *options = &generator->options;
    generator->world = (struct client_world){
        .options = options,
        .ops = ops,
        .context = generator,
        .epoll = epoll_create1(EPOLL_CLOEXEC),
        .record = -1,
    };
    CHECK(generator->world.epoll >= 0);
    if (options->record != NULL) {
        generator->world.record =
            open(options->record, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    }
    generator->clients = mem_alloc_array(options->connections, sizeof(*generator->clients));
    for (uint32_t i = 0; i < options->connections; i++) {
        generator->clients[i] = (struct client){.world = &generator->world, .index = i, .user = i};
        generator->clients[i].receiver.room = options->rooms > 0 ? i % options->rooms : i;
    }
    generator->next_user = options->connections;
}

void generator_finish(struct generator *generator)
{
    for (uint32_t i = 0; i < generator->options.connections; i++) {
        client_finish(&generator->clients[i]);
    }
    publish_close(generator->publish);
    mem_free(generator->clients);
    mem_free(generator->world.batch.raw);
    mem_free(generator->world.batch.markers);
    (void)close(generator->world.epoll);
}

static int timeout_ms(uint64_t until_ns)
{
    uint64_t now_ns = clock_mono_ns();
    if (until_ns <= now_ns) {
        return 0;
    }
    uint64_t ms = (until_ns - now_ns) / 1000000;
    return ms > 1000 ? 1000 : (int)ms;
}

void generator_turn(struct generator *generator, uint64_t until_ns)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(generator->world.epoll, events, EVENTS_MAX, timeout_ms(until_ns));
    for (int i = 0; i < count; i++) {
        void *tag = events[i].data.ptr;
        if (generator->publish == NULL || !publish_handle(generator->publish, tag)) {
            client_handle(tag, events[i].events);
        }
        if (generator->publish != NULL && generator->started_ns > 0 && generator->ended_ns == 0 &&
            i % PUBLISH_EVERY == PUBLISH_EVERY - 1) {
            (void)publish_run(generator->publish);
        }
    }
}

bool generator_connect(struct generator *generator)
{
    const struct options *options = &generator->options;
    uint64_t until_ns = clock_mono_ns() + (uint64_t)(options->timeout * 1e9);
    while (
        generator->ready + generator->failed < options->connections && clock_mono_ns() < until_ns) {
        while (generator->under_way < options->ramp && generator->opened < options->connections) {
            if (client_open(&generator->clients[generator->opened++])) {
                generator->under_way++;
            } else {
                generator->failed++;
            }
        }
        generator_turn(generator, until_ns);
    }
    return generator->ready == options->connections;
}

void generator_hold(struct generator *generator, double seconds)
{
    uint64_t until_ns = clock_mono_ns() + (uint64_t)(seconds * 1e9);
    while (clock_mono_ns() < until_ns) {
        generator_turn(generator, until_ns);
    }
}

void generator_begin(struct generator *generator)
{
    generator->server_ns = process_cpu_ns(&generator->options.server);
    generator->user_ns = process_user_ns(&generator->options.server);
    generator->softirq_ns = process_softirq_ns();
    generator->own_ns = process_own_cpu_ns();
    generator->started_ns = clock_mono_ns();
    generator->ended_ns = 0;
}

void generator_end(struct generator *generator)
{
    generator->ended_ns = clock_mono_ns();
    generator->server_ns = process_cpu_ns(&generator->options.server) - generator->server_ns;
    generator->user_ns = process_user_ns(&generator->options.server) - generator->user_ns;
    generator->softirq_ns = process_softirq_ns() - generator->softirq_ns;
    generator->own_ns = process_own_cpu_ns() - generator->own_ns;
}
