/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scenarios of the load generator. Order of this file: what all share, idle, fanout (and store,
 * which is a fan-out to one user at a time), echo, storm, rejoin.
 */
#include <stdio.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "tests/bench/generator.h"

enum { P50 = 500, P99 = 990, P999 = 999 };

static const double SETTLE_SECONDS = 0.3;

static double seconds_of(uint64_t ns)
{
    return (double)ns / 1e9;
}

static double ratio_of(double value, double to)
{
    return to > 0 ? value / to : 0;
}

/* The beginning of the line that every scenario prints. */
static void print_head(const struct generator *generator)
{
    double wall = seconds_of(generator->ended_ns - generator->started_ns);
    double server = seconds_of(generator->server_ns + generator->softirq_ns);
    printf("{\"scenario\":\"%s\",\"mode\":\"%s\",\"conns\":%u,\"ready\":%u,\"failed\":%u,"
           "\"dropped\":%u,\"wall_s\":%.3f,\"server_cpu_s\":%.4f,\"softirq_s\":%.4f,"
           "\"generator_cpu_s\":%.4f",
        generator->options.scenario, mode_names[generator->options.mode],
        generator->options.connections, generator->ready, generator->failed, generator->dropped,
        wall, server, seconds_of(generator->softirq_ns), seconds_of(generator->own_ns));
}

static void print_latency(const char *name, const struct histogram *histogram)
{
    printf(",\"%s\":{\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}", name,
        histogram_quantile_ms(histogram, P50), histogram_quantile_ms(histogram, P99),
        histogram_quantile_ms(histogram, P999), (double)histogram->max / 1000);
}

static bool print_end(bool fine)
{
    printf(",\"ok\":%s}\n", fine ? "true" : "false");
    return fine;
}

/* --- idle --- */

bool scenario_idle(struct generator *generator)
{
    const struct options *options = &generator->options;
    uint64_t before = process_rss(&options->server, false);
    uint64_t start_ns = clock_mono_ns();
    uint64_t cpu_ns = process_cpu_ns(&options->server);
    bool fine = generator_connect(generator);
    double connect_s = seconds_of(clock_mono_ns() - start_ns);
    cpu_ns = process_cpu_ns(&options->server) - cpu_ns;
    generator_hold(generator, SETTLE_SECONDS);
    generator_begin(generator);
    generator_hold(generator, options->seconds);
    generator_end(generator);
    uint64_t after = process_rss(&options->server, false);
    fine = fine && generator->dropped == 0;
    print_head(generator);
    printf(",\"rss_before\":%llu,\"rss_after\":%llu,\"bytes_per_connection\":%.0f,"
           "\"connect_s\":%.3f,\"connect_cpu_s\":%.3f",
        (unsigned long long)before, (unsigned long long)after,
        ratio_of((double)after - (double)before, generator->ready), connect_s, seconds_of(cpu_ns));
    return print_end(fine);
}

/* --- fanout, store --- */

/* How many receivers each target has. */
static uint32_t *count_receivers(const struct generator *generator, uint32_t *ret_targets)
{
    const struct options *options = &generator->options;
    *ret_targets = options->rooms > 0 ? options->rooms : options->connections;
    uint32_t *receivers = mem_alloc_array(*ret_targets, sizeof(*receivers));
    for (uint32_t i = 0; i < options->connections; i++) {
        receivers[generator->clients[i].receiver.room]++;
    }
    return receivers;
}

/* Post by the schedule, then wait for what is to come. */
static void play(struct generator *generator)
{
    uint64_t next_ns;
    while ((next_ns = publish_run(generator->publish)) != UINT64_MAX) {
        generator_turn(generator, next_ns);
    }
    uint64_t until_ns = clock_mono_ns() + (uint64_t)(generator->options.drain * 1e9);
    while (clock_mono_ns() < until_ns && generator->dropped < generator->ready &&
           (!publish_done(generator->publish) ||
               generator->world.track.received < publish_counts(generator->publish).expected)) {
        generator_turn(generator, until_ns);
    }
}

static bool print_fanout(const struct generator *generator)
{
    const struct track *track = &generator->world.track;
    struct publish_counts counts = publish_counts(generator->publish);
    double received = (double)track->received;
    double server = seconds_of(generator->server_ns + generator->softirq_ns);
    uint64_t last = track->last_ns > generator->started_ns ? track->last_ns : generator->ended_ns;
    double span = seconds_of(last - generator->started_ns);
    uint64_t lost = counts.expected > track->received ? counts.expected - track->received : 0;
    print_head(generator);
    printf(",\"rooms\":%u,\"size\":%u,\"offered\":%llu,\"accepted\":%llu,\"refused\":%llu,"
           "\"late_ms\":%.3f",
        generator->options.rooms, generator->options.size, (unsigned long long)counts.offered,
        (unsigned long long)counts.accepted, (unsigned long long)counts.refused,
        (double)counts.late_us / 1000);
    printf(",\"expected\":%llu,\"delivered\":%llu,\"lost\":%llu,\"doubled\":%llu,"
           "\"reordered\":%llu,\"messages\":%llu,\"bytes\":%llu",
        (unsigned long long)counts.expected, (unsigned long long)track->received,
        (unsigned long long)lost, (unsigned long long)track->doubled,
        (unsigned long long)track->reordered, (unsigned long long)track->messages,
        (unsigned long long)generator->world.bytes_in);
    print_latency("latency_ms", &track->latency);
    printf(",\"deliveries_per_s\":%.0f,\"deliveries_per_cpu_s\":%.0f,\"cpu_us_per_delivery\":%.3f,"
           "\"rss_peak\":%llu",
        ratio_of(received, span), ratio_of(received, server), ratio_of(server * 1e6, received),
        (unsigned long long)process_rss(&generator->options.server, true));
    return print_end(lost == 0 && track->doubled == 0 && track->reordered == 0 &&
                     generator->dropped == 0 && counts.refused == 0 && counts.offered > 0);
}

bool scenario_fanout(struct generator *generator)
{
    uint32_t targets;
    uint32_t *receivers = count_receivers(generator, &targets);
    bool fine = generator_connect(generator);
    if (fine) {
        generator->publish =
            publish_open(&generator->options, generator->world.epoll, targets, receivers);
        fine = generator->publish != NULL;
    }
    if (fine) {
        generator_hold(generator, SETTLE_SECONDS);
        generator->world.verify = true;
        generator->world.bytes_in = 0;
        generator_begin(generator);
        publish_start(generator->publish);
        play(generator);
        generator_end(generator);
        fine = print_fanout(generator);
    } else {
        print_head(generator);
        (void)print_end(false);
    }
    mem_free(receivers);
    return fine;
}

/* --- echo --- */

static void send_echo(struct client *client)
{
    const struct options *options = client->world->options;
    struct builder out = {0};
    if (options->mode == MODE_WS) {
        builder_str(&out, "[[2,");
        builder_add(&out, bytes_skip(bytes_str(options->emit), 1));
        builder_str(&out, "]");
    } else {
        builder_str(&out, "422");
        builder_str(&out, options->emit);
    }
    client->started_ns = clock_mono_ns();
    if (!client_send(client, builder_bytes(&out))) {
        client_close(client);
    }
    builder_reset(&out);
}

bool scenario_echo(struct generator *generator)
{
    bool fine = generator_connect(generator);
    struct histogram *latency = &generator->world.track.latency;
    generator_hold(generator, SETTLE_SECONDS);
    generator_begin(generator);
    for (uint32_t i = 0; fine && i < generator->options.connections; i++) {
        send_echo(&generator->clients[i]);
    }
    generator_hold(generator, generator->options.seconds);
    uint64_t answers = generator->answers;
    generator_end(generator);
    double server = seconds_of(generator->server_ns + generator->softirq_ns);
    print_head(generator);
    print_latency("latency_ms", latency);
    printf(",\"echoes\":%llu,\"echoes_per_s\":%.0f,\"echoes_per_cpu_s\":%.0f",
        (unsigned long long)answers,
        ratio_of((double)answers, seconds_of(generator->ended_ns - generator->started_ns)),
        ratio_of((double)answers, server));
    return print_end(fine && generator->dropped == 0 && answers >= generator->options.connections);
}

/* --- storm --- */

static void reopen(struct generator *generator, struct client *client)
{
    *client = (struct client){
        .world = client->world,
        .index = client->index,
        .user = generator->next_user++,
        .tail = client->tail,
        .tail_cap = client->tail_cap,
        .receiver.room = client->receiver.room,
    };
    if (!client_open(client)) {
        generator->failed++;
    }
}

bool scenario_storm(struct generator *generator)
{
    const struct options *options = &generator->options;
    uint32_t slots = options->connections;
    for (uint32_t i = 0; i < slots; i++) {
        (void)client_open(&generator->clients[i]);
    }
    generator_hold(generator, SETTLE_SECONDS);
    generator_begin(generator);
    histogram_reset(&generator->handshakes);
    uint64_t until_ns = generator->started_ns + (uint64_t)(options->seconds * 1e9);
    while (clock_mono_ns() < until_ns) {
        for (uint32_t i = 0; i < slots; i++) {
            struct client *client = &generator->clients[i];
            if (client->state == CLIENT_READY) {
                client_close(client);
            }
            if (client->state == CLIENT_CLOSED) {
                reopen(generator, client);
            }
        }
        generator_turn(generator, until_ns);
    }
    generator_end(generator);
    double count = (double)generator->handshakes.count;
    print_head(generator);
    print_latency("latency_ms", &generator->handshakes);
    printf(",\"handshakes\":%.0f,\"handshakes_per_s\":%.0f,\"handshakes_per_cpu_s\":%.0f", count,
        ratio_of(count, seconds_of(generator->ended_ns - generator->started_ns)),
        ratio_of(count, seconds_of(generator->server_ns + generator->softirq_ns)));
    return print_end(generator->failed == 0 && count > 0);
}

/* --- rejoin --- */

/* Everybody drops, and is not noticed by on_closed. */
static void drop_all(struct generator *generator)
{
    for (uint32_t i = 0; i < generator->options.connections; i++) {
        struct client *client = &generator->clients[i];
        struct client_past past = client->past;
        client_close(client);
        *client = (struct client){
            .world = client->world,
            .index = client->index,
            .user = client->user,
            .tail = client->tail,
            .tail_cap = client->tail_cap,
            .past = past,
            .receiver.room = client->receiver.room,
        };
    }
    generator->ready = 0;
    generator->opened = 0;
}

/* All clients come back at once as who they were, where there is more than one node to another. */
bool scenario_rejoin(struct generator *generator)
{
    uint32_t recovered = 0;
    generator_begin(generator);
    bool fine = generator_connect(generator);
    generator_end(generator);
    uint64_t first_ns = generator->user_ns;
    generator_hold(generator, SETTLE_SECONDS);
    drop_all(generator);
    generator_hold(generator, generator->options.seconds);
    histogram_reset(&generator->handshakes);
    generator->world.shift++;
    generator_begin(generator);
    fine = generator_connect(generator) && fine;
    generator_end(generator);
    for (uint32_t i = 0; i < generator->options.connections; i++) {
        recovered += generator->clients[i].recovered;
    }
    print_head(generator);
    print_latency("latency_ms", &generator->handshakes);
    printf(",\"recovered\":%u,\"cpu_us_per_client\":%.1f,\"user_us_per_client\":%.1f", recovered,
        ratio_of(seconds_of(generator->server_ns + generator->softirq_ns) * 1e6, generator->ready),
        ratio_of(seconds_of(generator->user_ns) * 1e6, generator->ready));
    printf(",\"first_user_us_per_client\":%.1f",
        ratio_of(seconds_of(first_ns) * 1e6, generator->options.connections));
    return print_end(fine && recovered == generator->options.connections);
}

/* --- main --- */

static void on_ready(struct client *client)
{
    struct generator *generator = client->world->context;
    generator->ready++;
    generator->under_way -= generator->under_way > 0;
    histogram_add(&generator->handshakes, (clock_mono_ns() - client->started_ns) / 1000, 1);
}

static void on_answer(struct client *client)
{
    struct generator *generator = client->world->context;
    if (generator->started_ns == 0 || generator->ended_ns != 0) {
        return;
    }
    generator->answers++;
    histogram_add(&client->world->track.latency, (clock_mono_ns() - client->started_ns) / 1000, 1);
    send_echo(client);
}

static void on_closed(struct client *client, bool ready)
{
    struct generator *generator = client->world->context;
    if (ready) {
        generator->dropped++;
    } else {
        generator->failed++;
        generator->under_way -= generator->under_way > 0;
    }
}

static const struct client_ops ops = {
    .on_ready = on_ready,
    .on_answer = on_answer,
    .on_closed = on_closed,
};

static bool (*find_scenario(const char *name))(struct generator *generator)
{
    static const struct {
        const char *name;
        bool (*run)(struct generator *generator);
    } scenarios[] = {
        {"idle", scenario_idle},
        {"fanout", scenario_fanout},
        {"echo", scenario_echo},
        {"storm", scenario_storm},
        {"rejoin", scenario_rejoin},
        {"store", scenario_fanout},
    };
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++) {
        if (strcmp(name, scenarios[i].name) == 0) {
            return scenarios[i].run;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct generator generator;
    if (!options_parse(&generator.options, argc, argv)) {
        return 2;
    }
    bool (*run)(struct generator * generator) = find_scenario(generator.options.scenario);
    if (run == NULL) {
        (void)fprintf(stderr, "peal-bench: no scenario %s\n", generator.options.scenario);
        return 2;
    }
    generator_init(&generator, &ops);
    bool fine = run(&generator);
    generator_finish(&generator);
    return fine ? 0 : 1;
}
