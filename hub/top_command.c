/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top_command - `peal top`: what a running node does, from two looks at its /metrics.
 *
 * Order of this file: reading metrics, the table, looking again and again, arguments. One line a
 * number, "name  value", so that scripts cut it as easily as people read it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "hub/cli.h"
#include "hub/config.h"
#include "hub/http_client.h"

enum { EVERY_MAX_S = 3600, URL_MAX = 300, LABEL_MAX = 64, TEXT_MAX = 4 << 20 };

/* What /metrics said, and when. */
struct look {
    struct builder text;
    uint64_t at_ns;
};

/* Reading metrics: a line is `name value` or `name{label="…"} value`. */

struct sample {
    char label[LABEL_MAX]; /* the value of the first label; "" without one */
    double value;
};

/* Take the next line of `metric` from `*rest`; false at the end. */
static bool next_sample(struct bytes *rest, const char *metric, struct sample *ret_sample)
{
    size_t len = strlen(metric);
    while (rest->len > 0) {
        const char *end = memchr(rest->at, '\n', rest->len);
        struct bytes line = bytes_of(rest->at, end ? (size_t)(end - rest->at) : rest->len);
        *rest = bytes_skip(*rest, line.len + (end ? 1 : 0));
        if (line.len <= len || !bytes_starts(line, bytes_str(metric)) ||
            (line.at[len] != ' ' && line.at[len] != '{')) {
            continue;
        }
        char copy[512];
        int cut = line.len < sizeof(copy) ? (int)line.len : (int)sizeof(copy) - 1;
        snprintf(copy, sizeof(copy), "%.*s", cut, line.at);
        *ret_sample = (struct sample){0};
        (void)sscanf(copy + len, "{%*[^=]=\"%63[^\"]\"", ret_sample->label);
        const char *value = strrchr(copy, ' ');
        if (value != NULL && sscanf(value, "%lf", &ret_sample->value) == 1) {
            return true;
        }
    }
    return false;
}

/* All label sets of `metric` added up; false when it is not there. */
static bool read_sum(const struct look *look, const char *metric, double *ret_sum)
{
    struct bytes rest = builder_bytes(&look->text);
    struct sample sample;
    double sum = 0;
    bool found = false;
    while (next_sample(&rest, metric, &sample)) {
        sum += sample.value;
        found = true;
    }
    *ret_sum = sum;
    return found;
}

/* The largest of `metric`, and whose it is. */
static struct sample read_most(const struct look *look, const char *metric)
{
    struct bytes rest = builder_bytes(&look->text);
    struct sample most = {.label = "none"};
    struct sample sample;
    while (next_sample(&rest, metric, &sample)) {
        most = sample.value > most.value ? sample : most;
    }
    return most;
}

/* The table. */

/* Columns: what is shown, the metric, whether as a rate, its factor and unit. */
static const struct row {
    const char *name;
    const char *metric;
    bool rate;
    double factor;
    const char *unit;
} rows[] = {
    {"uptime", "peal_uptime_seconds", false, 1, "s"},
    {"connections", "peal_connections", false, 1, ""},
    {"sockets", "peal_sockets", false, 1, ""},
    {"users", "peal_users", false, 1, ""},
    {"rooms", "peal_rooms", false, 1, ""},
    {"events in", "peal_events_received_total", true, 1, "/s"},
    {"broadcasts by shard", "peal_broadcasts_total", true, 1, "/s"},
    {"deliveries", "peal_deliveries_total", true, 1, "/s"},
    {"bytes out", "peal_bytes_out_total", true, 1, "/s"},
    {"stored", "peal_notifications_stored_total", true, 1, "/s"},
    {"shed", "peal_messages_shed_total", true, 1, "/s"},
    {"processor", "peal_process_cpu_seconds_total", true, 100, "%"},
};

/* Rates and shares have a digit behind the point. */
static void print_row(const char *name, double value, const char *unit)
{
    bool whole = strcmp(unit, "/s") != 0 && strcmp(unit, "%") != 0;
    printf("%-22s%14.*f%s%s\n", name, whole ? 0 : 1, value, unit[0] != '\0' ? " " : "", unit);
}

static void print_rows(const struct look *before, const struct look *now)
{
    double seconds = (double)(now->at_ns - before->at_ns) / 1e9;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        double value = 0;
        double earlier = 0;
        read_sum(now, row->metric, &value);
        if (row->rate) {
            read_sum(before, row->metric, &earlier);
            value = value > earlier && seconds > 0 ? (value - earlier) / seconds : 0;
        }
        print_row(row->name, value * row->factor, row->unit);
    }
}

static void print_health(const struct look *now)
{
    double up = 0;
    read_sum(now, "peal_store_up", &up);
    printf("%-22s%14s\n", "store", up > 0 ? "up" : "down");
    struct sample slowest = read_most(now, "peal_store_statement_p99_seconds");
    printf("%-22s%14.3f ms (%s)\n", "store p99", slowest.value * 1000, slowest.label);
    bool has_bus = read_sum(now, "peal_bus_up", &up);
    printf("%-22s%14s\n", "bus", !has_bus ? "none" : up > 0 ? "up" : "down");
}

static void print_memory(const struct look *now)
{
    struct bytes rest = builder_bytes(&now->text);
    struct sample sample;
    double connections = 0;
    double resident = 0;
    double owned = 0;
    read_sum(now, "peal_connections", &connections);
    read_sum(now, "peal_process_resident_memory_bytes", &resident);
    while (next_sample(&rest, "peal_memory_bytes", &sample)) {
        char name[LABEL_MAX + 8];
        snprintf(name, sizeof(name), "memory %s", sample.label);
        printf("%-22s%14.0f B%10.0f a connection\n", name, sample.value,
            connections > 0 ? sample.value / connections : 0);
        owned += sample.value;
    }
    print_row("memory rest", resident > owned ? resident - owned : 0, "B");
    print_row("memory all", resident, "B");
}

static void print_table(const struct look *before, const struct look *now)
{
    print_rows(before, now);
    print_health(now);
    print_memory(now);
    fflush(stdout);
}

/* Looking. */

/* Ask for the metrics; false after a sentence on stderr. */
static bool look_at(struct http_client *client, struct look *look)
{
    unsigned status = 0;
    builder_reset(&look->text);
    look->text.max = TEXT_MAX;
    int failed = http_client_get(client, "/metrics", &status, &look->text);
    look->at_ns = clock_mono_ns();
    double ignored;
    if (failed != 0) {
        fprintf(stderr, "peal top: %s\n", http_client_error(client));
    } else if (status != 200 || !read_sum(look, "peal_connections", &ignored)) {
        fprintf(stderr, "peal top: status %u without metrics of Peal\n", status);
    } else {
        return true;
    }
    return false;
}

/* Show tables until a signal ends the program, the node does not answer, or after the first. */
static int watch(struct http_client *client, unsigned every_s, bool once)
{
    struct look looks[2] = {{.at_ns = 0}, {.at_ns = 0}};
    bool clear = !once && isatty(STDOUT_FILENO);
    unsigned turn = 0;
    bool answered = look_at(client, &looks[turn]);
    while (answered) {
        sleep(every_s);
        answered = look_at(client, &looks[1 - turn]);
        if (answered) {
            fputs(clear ? "\033[H\033[2J" : "", stdout);
            print_table(&looks[turn], &looks[1 - turn]);
            fputs(clear || once ? "" : "\n", stdout);
        }
        turn = 1 - turn;
        if (once) {
            break;
        }
    }
    builder_reset(&looks[0].text);
    builder_reset(&looks[1].text);
    return answered ? 0 : 1;
}

/* Arguments. */

int command_top(const struct config *config, int argc, char **argv)
{
    char url[URL_MAX];
    bool once = false;
    uint64_t every_s = 1;
    bool ipv6 = strchr(config->listen_internal_host, ':') != NULL;
    snprintf(url, sizeof(url), "http://%s%s%s:%u", ipv6 ? "[" : "", config->listen_internal_host,
        ipv6 ? "]" : "", (unsigned)config->listen_internal_port);
    for (int i = 0; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--once") == 0) {
            once = true;
            continue;
        }
        if (value != NULL && strcmp(argv[i], "--url") == 0) {
            snprintf(url, sizeof(url), "%s", value);
        } else if (value == NULL || strcmp(argv[i], "--every") != 0 ||
                   bytes_to_u64(bytes_str(value), EVERY_MAX_S, &every_s) != 0 || every_s == 0) {
            return cli_refuse_argument("top", argv + i);
        }
        i++;
    }
    struct builder error = {0};
    struct http_client *client;
    if (http_client_create(url, &error, &client) != 0) {
        struct bytes text = builder_bytes(&error);
        fprintf(stderr, "peal top: --url: %.*s\n", (int)text.len, text.len > 0 ? text.at : "");
        builder_reset(&error);
        return 2;
    }
    int code = watch(client, (unsigned)every_s, once);
    http_client_destroy(client);
    return code;
}
