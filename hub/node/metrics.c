/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of /metrics, from the table of metrics and what the shards have published.
 *
 * Order of this file: sums, the process, the text, requests.
 */
#include "hub/node/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/close.h"
#include "actors/jobs/jobs.h"
#include "actors/presence/presence.h"
#include "actors/values/values.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_handlers.h"
#include "hub/config/config.h"
#include "hub/net/connection.h"
#include "hub/net/http_server.h"
#include "hub/net/loop.h"
#include "hub/net/tls_stream.h"
#include "hub/node/hub_hooks.h"
#include "hub/node/hub_outboxes.h"
#include "hub/node/hub_settings.h"
#include "hub/node/log_writer.h"
#include "hub/node/memory_guard.h"
#include "hub/node/node.h"
#include "hub/redis/redis.h"
#include "hub/series/series.h"
#include "hub/series/series_export.h"
#include "sql/store.h"

enum { STATEMENTS_MAX = 128 };

#define PREFIX "peal_"

static const char *const close_names[] = {
#define X(name, text, ...) text,
#include "actors/close.def"
#undef X
};
_Static_assert(ARRAY_LEN(close_names) == CLOSE_REASON_COUNT, "a name for each reason");

/* Sums. */

_Static_assert(sizeof(struct metrics_sums) % sizeof(uint64_t) == 0, "only counters");
_Static_assert(_Alignof(struct metrics_sums) == _Alignof(uint64_t), "only counters");

static struct link_counts count_links(const struct shard *shard)
{
    struct link_counts counts = {0};
    if (shard->bus != NULL) {
        struct redis_stats stats = redis_get_stats(shard->bus);
        counts.bus_down = stats.links - stats.links_up;
        counts.bus_refused = stats.refused;
        counts.bus_timeouts = stats.timeouts;
        counts.bus_protocol_errors = stats.protocol_errors;
        counts.bus_moved = stats.moved;
        counts.bus_asked = stats.asked;
        counts.bus_retried = stats.retried;
        counts.bus_uncovered = stats.uncovered;
    }
    if (shard->store != NULL) {
        counts.store_refused = store_port_refused(shard->store);
    }
    return counts;
}

/* Each part goes straight to its place in the copy. */
#define PUBLISH(shard, member, source)                                                             \
    published_write(                                                                               \
        (shard)->copy.words + offsetof(struct metrics_sums, member) / sizeof(uint64_t), source,    \
        PUBLISHED_WORDS(((struct metrics_sums *)NULL)->member))

void metrics_publish(void *shard)
{
    struct hub_shard *own = shard;
    struct link_counts links = count_links(&own->shard);
    PUBLISH(own, shards, &own->shard.stats);
    PUBLISH(own, sched, sched_stats(own->shard.sched));
    PUBLISH(own, api, &own->answers);
    PUBLISH(own, cache, read_cache_stats(own->api.cache));
    if (own->shard.values != NULL) {
        PUBLISH(own, values, values_get_stats(own->shard.values));
    }
    if (own->shard.hooks != NULL) {
        PUBLISH(own, hooks, hooks_get_stats(own->shard.hooks));
        PUBLISH(own, outgoing, hooks_get_requests(own->shard.hooks));
        PUBLISH(own, out, out_get_stats(own->out));
    }
    if (own->shard.webhooks.webhooks != NULL) {
        PUBLISH(own, webhooks, webhooks_get_stats(own->shard.webhooks.webhooks));
        PUBLISH(own, told, webhooks_get_requests(own->shard.webhooks.webhooks));
    }
    if (own->shard.push != NULL) {
        PUBLISH(own, push, push_get_stats(own->shard.push));
        PUBLISH(own, handoffs, handoffs_get_stats(own->handoffs));
    }
    if (own->shard.presence != NULL) {
        PUBLISH(own, presence, presence_get_stats(own->shard.presence));
    }
    if (own->shard.jobs != NULL) {
        PUBLISH(own, jobs, jobs_get_stats(own->shard.jobs));
    }
    if (own->series != NULL) {
        PUBLISH(own, series, series_get_stats(own->hub->api.series));
    }
    PUBLISH(own, tokens, jwt_counts(own->api.jwt));
    PUBLISH(own, memory, &own->memory);
    PUBLISH(own, forwards, &own->forward_counts);
    PUBLISH(own, polls, &own->poll_counts);
    PUBLISH(own, links, &links);
    const struct tls_counts *tls = connection_tls_counts(own->loop);
    if (tls != NULL) {
        PUBLISH(own, tls, tls);
    }
}

void metrics_read(const struct hub_shard *shard, struct metrics_sums *ret_counts)
{
    published_read(shard->copy.words, PUBLISHED_WORDS(*ret_counts), ret_counts);
}

void metrics_sum(const struct hub *hub, struct metrics_sums *ret_sums)
{
    struct metrics_sums sums = {0};
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct metrics_sums counts;
        metrics_read(&hub->shards[i], &counts);
        uint64_t *to = (uint64_t *)(void *)&sums;
        const uint64_t *from = (const uint64_t *)(const void *)&counts;
        for (size_t word = 0; word < PUBLISHED_WORDS(sums); word++) {
            to[word] += from[word];
        }
    }
    const uint64_t *told = (const uint64_t *)(const void *)&sums.told;
    for (size_t word = 0; word < PUBLISHED_WORDS(sums.told); word++) { /* shown together */
        ((uint64_t *)(void *)&sums.outgoing)[word] += told[word];
    }
    *ret_sums = sums;
}

/* The process. */

/* Newer kernels tell how many there are as the size of the folder; else they are counted. */
static uint64_t open_files(void)
{
    struct stat info;
    uint64_t count = 0;
    if (stat("/proc/self/fd", &info) == 0 && info.st_size > 0) {
        return (uint64_t)info.st_size;
    }
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) {
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        count += entry->d_name[0] != '.' ? 1 : 0;
    }
    closedir(folder);
    return count > 0 ? count - 1 : 0; /* the folder itself */
}

static double cpu_seconds(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* The text. */

static void begin(struct builder *out, const char *name, const char *kind, const char *help)
{
    builder_printf(out, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help, name, kind);
}

static void write_u64(
    struct builder *out, const char *name, const char *kind, const char *help, uint64_t value)
{
    begin(out, name, kind, help);
    builder_printf(out, PREFIX "%s %llu\n", name, (unsigned long long)value);
}

static void write_double(
    struct builder *out, const char *name, const char *kind, const char *help, double value)
{
    begin(out, name, kind, help);
    builder_printf(out, PREFIX "%s %.6f\n", name, value);
}

static void write_rows(const struct metrics_sums *sums, struct builder *out)
{
#define WRITE_COUNTER(name, help, value) write_u64(out, name, "counter", help, value)
#define WRITE_GAUGE(name, help, value) write_u64(out, name, "gauge", help, value)
#define WRITE_SECONDS(name, help, value)                                                           \
    write_double(out, name, "gauge", help, (double)(value) / 1e3)
#define X(member, name, kind, help) WRITE_##kind(name, help, sums->member);
#include "hub/node/metrics.def"
#undef X
}

static void write_closed(const struct metrics_sums *sums, struct builder *out)
{
    begin(out, "closed_total", "counter", "Connections and sockets that ended, by reason.");
    for (unsigned i = 0; i < CLOSE_REASON_COUNT; i++) {
        builder_printf(out, PREFIX "closed_total{reason=\"%s\"} %llu\n", close_names[i],
            (unsigned long long)sums->shards.closed[i]);
    }
}

static void write_tls(
    const struct hub_tls *tls, const struct tls_counts *counts, struct builder *out)
{
    begin(out, "tls_handshakes_failed_total", "counter",
        "TLS handshakes that did not come to their end, by reason.");
    for (unsigned i = 0; i < TLS_FAILURE_COUNT; i++) {
        builder_printf(out, PREFIX "tls_handshakes_failed_total{reason=\"%s\"} %llu\n",
            tls_failure_label((enum tls_failure)i), (unsigned long long)counts->failed[i]);
    }
    begin(out, "tls_certificate_days", "gauge",
        "Days until a certificate ends, by listener and its place in the setting.");
    hub_tls_write_ends(tls, out);
}

static void write_memory(const struct memory_use *memory, struct builder *out)
{
    begin(out, "memory_bytes", "gauge",
        "What owners take of the memory, as counts times sizes; without what waits to be sent.");
#define X(owner, help)                                                                             \
    builder_printf(out, PREFIX "memory_bytes{owner=\"" #owner "\"} %llu\n",                        \
        (unsigned long long)memory->owner);
#include "hub/node/memory.def"
#undef X
}

static void write_api(const struct api_counts *api, struct builder *out)
{
    uint64_t count = 0;
    begin(out, "api_requests_total", "counter", "Requests of the API answered, by class.");
    for (unsigned i = 1; i < API_CLASS_COUNT; i++) {
        builder_printf(out, PREFIX "api_requests_total{class=\"%uxx\"} %llu\n", i,
            (unsigned long long)api->classes[i]);
    }
    begin(out, "api_request_duration_seconds", "histogram",
        "Time from a complete request head to its answer.");
    for (unsigned i = 0; i < API_BUCKET_COUNT; i++) {
        count += api->buckets[i];
        builder_printf(out, PREFIX "api_request_duration_seconds_bucket{le=\"%g\"} %llu\n",
            (double)api_bucket_us[i] / 1e6, (unsigned long long)count);
    }
    count += api->buckets[API_BUCKET_COUNT];
    builder_printf(out,
        PREFIX "api_request_duration_seconds_bucket{le=\"+Inf\"} %llu\n" PREFIX
               "api_request_duration_seconds_sum %.6f\n" PREFIX
               "api_request_duration_seconds_count %llu\n",
        (unsigned long long)count, (double)api->total_us / 1e6, (unsigned long long)count);
}

static void write_statements(const struct hub *hub, struct builder *out)
{
    struct store_statement_stats stats[STATEMENTS_MAX];
    size_t count = store_statements(hub->store, stats, STATEMENTS_MAX);
    begin(out, "store_statements_total", "counter", "Statements run, by name.");
    for (size_t i = 0; i < count; i++) {
        builder_printf(out, PREFIX "store_statements_total{statement=\"%s\"} %llu\n", stats[i].name,
            (unsigned long long)stats[i].count);
    }
    begin(out, "store_statement_seconds_total", "counter", "Time spent in statements, by name.");
    for (size_t i = 0; i < count; i++) {
        builder_printf(out, PREFIX "store_statement_seconds_total{statement=\"%s\"} %.6f\n",
            stats[i].name, (double)stats[i].total_us / 1e6);
    }
    begin(out, "store_statement_p99_seconds", "gauge",
        "The time that 99 of 100 statements took at most, by name.");
    for (size_t i = 0; i < count; i++) {
        builder_printf(out, PREFIX "store_statement_p99_seconds{statement=\"%s\"} %.6f\n",
            stats[i].name, (double)stats[i].p99_us / 1e6);
    }
    begin(out, "store_slow_statements_total", "counter", "Statements over the slow threshold.");
    for (size_t i = 0; i < count; i++) {
        builder_printf(out, PREFIX "store_slow_statements_total{statement=\"%s\"} %llu\n",
            stats[i].name, (unsigned long long)stats[i].slow);
    }
}

static void write_store(const struct hub *hub, struct builder *out)
{
    struct store_health health;
    store_get_health(hub->store, &health);
    write_u64(out, "store_up", "gauge", "Whether the store can be written.",
        !atomic_load_explicit(&hub->verdict.write_down, memory_order_relaxed));
    write_u64(out, "store_readable", "gauge", "Whether the store can be read.",
        !atomic_load_explicit(&hub->verdict.read_down, memory_order_relaxed));
    write_u64(out, "store_outages_total", "counter", "Times that the store went away.",
        atomic_load_explicit(&hub->verdict.outages, memory_order_relaxed));
    write_u64(out, "store_failures_total", "counter",
        "Requests that failed because the database could not do them.", health.failures);
}

static uint64_t age_ms(uint64_t id_ms)
{
    uint64_t now = clock_wall_ms();
    return id_ms > 0 && id_ms < now ? now - id_ms : 0;
}

/* The members of struct ingest_gauge of each stream that this node reads, or waits for. */
static void write_streams(const struct hub *hub, struct builder *out)
{
    static const struct {
        const char *name;
        size_t at;
        bool age; /* of an id, in seconds */
        const char *help;
    } rows[] = {
#define AGE true
#define VALUE false
#define X(member, name, kind, help) {name, offsetof(struct ingest_gauge, member), kind, help},
#include "hub/node/metrics_streams.def"
#undef X
#undef VALUE
#undef AGE
    };
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        begin(out, rows[row].name, "gauge", rows[row].help);
        for (unsigned i = 0; i < INGEST_STREAMS_MAX; i++) {
            const struct ingest_gauge *gauge = &hub->streams.of[i];
            const _Atomic(uint64_t) *number =
                (const _Atomic(uint64_t) *)(const void *)((const char *)gauge + rows[row].at);
            uint64_t value = ingest_gauge_get(number);
            if (ingest_gauge_get(&gauge->begun) != 0) {
                builder_printf(out, PREFIX "%s{stream=\"%u\"} %.3f\n", rows[row].name, i,
                    rows[row].age ? (double)age_ms(value) / 1e3 : (double)value);
            }
        }
    }
}

static uint64_t read_gauge(const _Atomic(uint64_t) *gauge)
{
    return atomic_load_explicit(gauge, memory_order_relaxed);
}

/* As the first shard counted them last. */
static void write_queues(const struct queue_gauges *queues, struct builder *out)
{
    unsigned count = atomic_load_explicit(&queues->count, memory_order_acquire);
    begin(out, "jobs", "gauge",
        "Jobs in the store by queue and state, of all tenants, up to 10,000; counted every 15 s.");
    for (unsigned i = 0; i < count; i++) {
        const struct queue_gauge *gauge = &queues->of[i];
        builder_printf(out,
            PREFIX "jobs{queue=\"%s\",state=\"waiting\"} %llu\n" PREFIX
                   "jobs{queue=\"%s\",state=\"active\"} %llu\n" PREFIX
                   "jobs{queue=\"%s\",state=\"dead\"} %llu\n",
            gauge->name, (unsigned long long)read_gauge(&gauge->waiting), gauge->name,
            (unsigned long long)read_gauge(&gauge->active), gauge->name,
            (unsigned long long)read_gauge(&gauge->dead));
    }
    begin(out, "jobs_oldest_seconds", "gauge",
        "For how long the first job that waits could have been given, by queue.");
    for (unsigned i = 0; i < count; i++) {
        builder_printf(out, PREFIX "jobs_oldest_seconds{queue=\"%s\"} %.3f\n", queues->of[i].name,
            (double)read_gauge(&queues->of[i].waiting_ms) / 1e3);
    }
}

static void write_alerts(
    const struct config *config, const struct alert_gauges *gauges, struct builder *out)
{
    begin(out, "alert_firing", "gauge",
        "Whether an alert of the settings fires, wherever in the cluster.");
    for (size_t i = 0; i < config->alert_count; i++) {
        const char *name = config->alerts[i].name;
        builder_printf(out, PREFIX "alert_firing{alert=\"%s\"} %d\n", name,
            alert_gauges_since(gauges, name) != 0);
    }
    write_u64(out, "alerts_told_total", "counter",
        "Messages that an alert fires or is over, to the log, a room or a user, by this node.",
        read_gauge(&gauges->told));
    write_u64(out, "alerts_untold_total", "counter",
        "Times that somebody could not be told so, and it was given up.",
        read_gauge(&gauges->untold));
}

static void write_process(const struct hub *hub, struct builder *out)
{
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    begin(out, "build_info", "gauge", "What runs: always 1.");
    builder_printf(out, PREFIX "build_info{version=\"%s\",node=\"%s\",store=\"%s\"} 1\n",
        PEAL_VERSION, hub->node, store_engine(hub->store));
    write_u64(out, "shards", "gauge", "Threads that serve connections.", hub->shard_count);
    write_u64(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
        memory_guard_resident(&hub->memory));
    write_u64(out, "process_open_fds", "gauge", "Open file descriptors.", open_files());
    write_u64(out, "process_max_fds", "gauge", "Most file descriptors that may be open.",
        (uint64_t)files.rlim_cur);
    write_double(
        out, "process_cpu_seconds_total", "counter", "Time the processors worked.", cpu_seconds());
    write_u64(out, "memory_limit_bytes", "gauge", "limits.memory in effect.",
        atomic_load_explicit(&hub->memory.limit, memory_order_relaxed));
    write_u64(out, "memory_group_bytes", "gauge",
        "Used by the cgroup nearest to its limit, without pages of files that the kernel takes "
        "back; 0: none has one.",
        atomic_load_explicit(&hub->memory.group_bytes, memory_order_relaxed));
    write_u64(out, "memory_group_limit_bytes", "gauge",
        "What that cgroup is kept below: 20 % less than its limit, at most 64 MiB less.",
        atomic_load_explicit(&hub->memory.group_limit, memory_order_relaxed));
    write_u64(out, "allocation_failures_total", "counter",
        "Allocations for a peer that failed: it was refused or closed.", mem_failures());
    write_u64(out, "memory_refused_total", "counter",
        "Clients refused because limits.memory or that of the cgroup was passed.",
        atomic_load_explicit(&hub->memory.refused, memory_order_relaxed));
    write_u64(out, "memory_shed_total", "counter",
        "Clients that read slowly, closed for the same reason.",
        atomic_load_explicit(&hub->memory.shed, memory_order_relaxed));
    write_u64(out, "log_lost_total", "counter",
        "Log records dropped, because who reads the log stood still.", log_writer_lost());
    write_double(out, "uptime_seconds", "gauge", "Time since the start.",
        (double)(clock_mono_ms() - hub->started_ms) / 1000.0);
    write_store(hub, out);
}

static void metrics_write(
    const struct hub *hub, const struct hub_settings *settings, struct builder *out)
{
    struct metrics_sums sums;
    metrics_sum(hub, &sums);
    write_process(hub, out);
    write_rows(&sums, out);
    write_closed(&sums, out);
    write_tls(&settings->tls, &sums.tls, out);
    write_memory(&sums.memory, out);
    write_api(&sums.api, out);
    write_statements(hub, out);
    write_streams(hub, out);
    begin(out, "breaker_state", "gauge",
        "Whether what is outside is asked, on the worst shard: 0 yes, 1 it is tried again, 2 no.");
    hub_hooks_write(&settings->hooks, &sums.hooks, out);
    hub_webhooks_write(&settings->webhooks, &sums.webhooks, out);
    write_queues(&hub->queues, out);
    write_alerts(settings->config, &hub->alerts, out);
    hub_outboxes_write(hub, out);
}

void metrics_show(struct http_request *request, void *context)
{
    struct builder out = {0};
    struct hub_shard *shard = hub_shard_of_http(context);
    metrics_publish(shard); /* what it has counted in this turn */
    metrics_write(shard->hub, shard->settings, &out);
    if (shard->shard.bus != NULL) {
        struct redis_stats stats = redis_get_stats(shard->shard.bus);
        write_u64(&out, "bus_up", "gauge",
            "Whether all links of the first shard to the bus are up.",
            stats.links > 0 && stats.links_up == stats.links ? 1 : 0);
        write_u64(&out, "bus_masters", "gauge",
            "Servers of a Redis cluster that have slots, as the first shard knows; else 0.",
            stats.masters);
        write_u64(&out, "bus_slots_uncovered", "gauge",
            "Slots of a Redis cluster that none of them has.", stats.uncovered);
    }
    if (shard->series != NULL) {
        series_export(shard->hub->api.series, &out);
    }
    if (builder_failed(&out)) {
        http_respond_error(request, ERROR_UNAVAILABLE, "Out of memory, try again", NULL);
    } else {
        http_respond(request, 200, "text/plain; version=0.0.4; charset=utf-8", bytes_of(NULL, 0),
            builder_bytes(&out));
    }
    builder_reset(&out);
}

/* Requests. */

void metrics_observe(
    void *context, const struct http_request *request, unsigned status, uint64_t took_ns)
{
    if (bytes_starts(request->path, BYTES("/api/"))) {
        struct hub_shard *shard = hub_shard_of_http(context);
        api_counts_add(&shard->answers, status, took_ns);
        route_counts_add(&shard->routes, http_route_of(request), status, took_ns,
            sched_wall(shard->shard.sched));
    }
}
