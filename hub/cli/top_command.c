/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top_command - `peal top`: what a running node does, from two looks at its /metrics.
 *
 * Order of this file: reading metrics, numbers, the table, the screen, looking again and again,
 * arguments. One line a number, "name  value", so that scripts cut it as easily as people read it;
 * on a terminal bytes and times are in the units that people use.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/iso_time.h"
#include "hub/cli/cli.h"
#include "hub/cli/cli_refuse.h"
#include "hub/cli/http_client.h"
#include "hub/config/config.h"

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

/* The value of `label` of the only sample of `metric`; empty when there is none. */
static struct bytes read_label(const struct look *look, const char *metric, const char *label)
{
    struct bytes text = builder_bytes(&look->text);
    char before[2 * LABEL_MAX];
    int len = snprintf(before, sizeof(before), "\n%s{", metric);
    const char *line = text.len > 0 ? memmem(text.at, text.len, before, (size_t)len) : NULL;
    if (line == NULL) {
        return bytes_of(NULL, 0);
    }
    struct bytes rest = bytes_skip(text, (size_t)(line - text.at) + 1);
    const char *end = memchr(rest.at, '\n', rest.len);
    rest.len = end != NULL ? (size_t)(end - rest.at) : rest.len;
    len = snprintf(before, sizeof(before), "%s=\"", label);
    const char *at = memmem(rest.at, rest.len, before, (size_t)len);
    if (at == NULL) {
        return bytes_of(NULL, 0);
    }
    rest = bytes_skip(rest, (size_t)(at - rest.at) + (size_t)len);
    end = memchr(rest.at, '"', rest.len);
    return bytes_of(rest.at, end != NULL ? (size_t)(end - rest.at) : 0);
}

/* Numbers. */

enum unit { COUNT, PER_SECOND, PERCENT, BYTES, BYTES_PER_SECOND, SECONDS };

/* "12.3 MiB": three or four digits that say how much. */
static void write_bytes(double value, const char *suffix, char *at, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    for (; value >= 1024 && i + 1 < ARRAY_LEN(units); i++) {
        value /= 1024;
    }
    snprintf(at, size, "%14.*f %s%s", i > 0 && value < 100 ? 1 : 0, value, units[i], suffix);
}

/* "3d 04:05:06" */
static void write_seconds(double value, char *at, size_t size)
{
    unsigned long seconds = (unsigned long)value;
    char days[24] = "";
    char text[48];
    if (seconds >= 86400) {
        snprintf(days, sizeof(days), "%lud ", seconds / 86400);
    }
    snprintf(text, sizeof(text), "%s%02lu:%02lu:%02lu", days, seconds / 3600 % 24,
        seconds / 60 % 60, seconds % 60);
    snprintf(at, size, "%14s", text);
}

/* What a table is written for: `people` at a terminal, or a program. */
static void print_row(const char *name, double value, enum unit unit, bool people)
{
    static const char *const suffixes[] = {"", " /s", " %", " B", " B/s", " s"};
    char text[64];
    if (people && (unit == BYTES || unit == BYTES_PER_SECOND)) {
        write_bytes(value, unit == BYTES ? "" : "/s", text, sizeof(text));
    } else if (people && unit == SECONDS) {
        write_seconds(value, text, sizeof(text));
    } else {
        bool whole = unit == COUNT || unit == BYTES || unit == SECONDS;
        snprintf(text, sizeof(text), "%14.*f%s", whole ? 0 : 1, value, suffixes[unit]);
    }
    printf("%-22s%s\n", name, text);
}

/* The table. */

/* Columns: what is shown, the metric, its unit (of rates: of the difference), its factor. */
static const struct row {
    const char *name;
    const char *metric;
    enum unit unit;
    bool rate;
    double factor;
} rows[] = {
    {"uptime", "peal_uptime_seconds", SECONDS, false, 1},
    {"connections", "peal_connections", COUNT, false, 1},
    {"sockets", "peal_sockets", COUNT, false, 1},
    {"users", "peal_users", COUNT, false, 1},
    {"rooms", "peal_rooms", COUNT, false, 1},
    {"events in", "peal_events_received_total", PER_SECOND, true, 1},
    {"broadcasts by shard", "peal_broadcasts_total", PER_SECOND, true, 1},
    {"deliveries", "peal_deliveries_total", PER_SECOND, true, 1},
    {"bytes out", "peal_bytes_out_total", BYTES_PER_SECOND, true, 1},
    {"stored", "peal_notifications_stored_total", PER_SECOND, true, 1},
    {"shed", "peal_messages_shed_total", PER_SECOND, true, 1},
    {"processor", "peal_process_cpu_seconds_total", PERCENT, true, 100},
};

/* Which node it is, and when it was looked at. */
static void print_head(const struct look *now)
{
    static const char *const labels[] = {"node", "version"};
    struct builder time = {0};
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        struct bytes value = read_label(now, "peal_build_info", labels[i]);
        printf("%-22s%14.*s\n", labels[i], (int)value.len, value.len > 0 ? value.at : "");
    }
    if (iso_time_write((int64_t)clock_wall_ms(), &time) == 0) {
        struct bytes text = builder_bytes(&time);
        printf("%-22s%.*s\n", "time", (int)text.len, text.at);
    }
    builder_reset(&time);
}

static void print_rows(const struct look *before, const struct look *now, bool people)
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
        print_row(row->name, value * row->factor, row->unit, people);
    }
}

/* How many of the reads between the two looks were answered from what was kept. */
static void print_cache(const struct look *before, const struct look *now)
{
    double hits = 0;
    double misses = 0;
    double earlier = 0;
    read_sum(now, "peal_read_cache_hits_total", &hits);
    read_sum(before, "peal_read_cache_hits_total", &earlier);
    hits -= earlier;
    read_sum(now, "peal_read_cache_misses_total", &misses);
    read_sum(before, "peal_read_cache_misses_total", &earlier);
    misses -= earlier;
    print_row("cache hits", hits + misses > 0 ? hits * 100 / (hits + misses) : 0, PERCENT, false);
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

static void print_memory(const struct look *now, bool people)
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
        char text[64];
        snprintf(name, sizeof(name), "memory %s", sample.label);
        if (people) {
            write_bytes(sample.value, "", text, sizeof(text));
        } else {
            snprintf(text, sizeof(text), "%14.0f B", sample.value);
        }
        printf("%-22s%-19s%7.0f%s a connection\n", name, text,
            connections > 0 ? sample.value / connections : 0, people ? " B" : "");
        owned += sample.value;
    }
    print_row("memory rest", resident > owned ? resident - owned : 0, BYTES, people);
    print_row("memory all", resident, BYTES, people);
}

static void print_table(const struct look *before, const struct look *now, bool people)
{
    print_head(now);
    print_rows(before, now, people);
    print_cache(before, now);
    print_health(now);
    print_memory(now, people);
}

/* The screen. */

/* A terminal that is shown table after table, and read key by key where there is a keyboard. */
struct screen {
    bool on; /* standard output is a terminal, and more than one table is wanted */
    bool keys;
    struct termios before; /* how the terminal was, with `keys` */
};

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
    (void)number;
    signalled = 1;
}

static void screen_begin(struct screen *screen, bool once)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    const struct sigaction action = {.sa_handler = on_signal};
    screen->on = !once && isatty(STDOUT_FILENO);
    screen->keys =
        screen->on && isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &screen->before) == 0;
    for (size_t i = 0; screen->keys && i < ARRAY_LEN(numbers); i++) {
        sigaction(numbers[i], &action, NULL);
    }
    if (screen->keys) {
        struct termios raw = screen->before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
}

static void screen_end(const struct screen *screen)
{
    if (screen->keys) {
        tcsetattr(STDIN_FILENO, TCSANOW, &screen->before);
    }
}

/* Let `ms` pass; false when it is to end: a `q`, a signal, a keyboard that went. */
static bool screen_wait(const struct screen *screen, uint64_t ms)
{
    uint64_t end = clock_mono_ms() + ms;
    for (uint64_t now = end - ms; now < end && !signalled; now = clock_mono_ms()) {
        struct pollfd keyboard = {.fd = screen->keys ? STDIN_FILENO : -1, .events = POLLIN};
        char key = 0;
        if (poll(&keyboard, 1, (int)(end - now)) <= 0 || keyboard.revents == 0) {
            continue;
        }
        if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q') {
            return false;
        }
    }
    return !signalled;
}

static void screen_show(
    const struct screen *screen, const struct look *before, const struct look *now, bool once)
{
    fputs(screen->on ? "\033[H\033[2J" : "", stdout);
    print_table(before, now, screen->on);
    fputs(screen->keys ? "\nq ends it\n" : screen->on || once ? "" : "\n", stdout);
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

/* Show tables until `q`, a signal, the node does not answer, or after the first. */
static int watch(struct http_client *client, unsigned every_s, bool once)
{
    struct look looks[2] = {{.at_ns = 0}, {.at_ns = 0}};
    struct screen screen;
    unsigned turn = 0;
    bool more = true;
    bool answered = look_at(client, &looks[turn]);
    screen_begin(&screen, once);
    while (answered && more && screen_wait(&screen, every_s * 1000ull)) {
        answered = look_at(client, &looks[1 - turn]);
        if (answered) {
            screen_show(&screen, &looks[turn], &looks[1 - turn], once);
        }
        turn = 1 - turn;
        more = !once;
    }
    screen_end(&screen);
    builder_reset(&looks[0].text);
    builder_reset(&looks[1].text);
    return answered || signalled ? 0 : 1;
}

/* Arguments. */

/* Take the value behind a flag; NULL: it is missing. Not 0: it was refused. */
static int take_value(
    char **flag, const char *value, char url[URL_MAX], const char **ret_ca, uint64_t *every_s)
{
    if (strcmp(*flag, "--ca") == 0) {
        if (value == NULL) {
            return cli_refuse_value("top", *flag, value, "a PEM file");
        }
        *ret_ca = value;
        return 0;
    }
    if (strcmp(*flag, "--url") == 0) {
        if (value == NULL) {
            return cli_refuse_value("top", *flag, value, "http://HOST:PORT");
        }
        snprintf(url, URL_MAX, "%s", value);
        return 0;
    }
    if (strcmp(*flag, "--every") != 0) {
        return cli_refuse_argument("top", flag);
    }
    if (value == NULL || bytes_to_u64(bytes_str(value), EVERY_MAX_S, every_s) != 0 ||
        *every_s == 0) {
        return cli_refuse_value("top", *flag, value, "a number of seconds from 1 to 3600");
    }
    return 0;
}

int command_top(const struct config *config, int argc, char **argv)
{
    char url[URL_MAX];
    const char *ca = NULL;
    bool once = false;
    uint64_t every_s = 1;
    bool ipv6 = strchr(config->listen_internal_host, ':') != NULL;
    snprintf(url, sizeof(url), "http%s://%s%s%s:%u",
        config->listen_internal_tls_cert[0] != '\0' ? "s" : "", ipv6 ? "[" : "",
        config->listen_internal_host, ipv6 ? "]" : "", (unsigned)config->listen_internal_port);
    for (int i = 0; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--once") == 0) {
            once = true;
            continue;
        }
        int code = take_value(argv + i, value, url, &ca, &every_s);
        if (code != 0) {
            return code;
        }
        i++;
    }
    struct builder error = {0};
    struct http_client *client;
    if (http_client_create(url, ca, &error, &client) != 0) {
        struct bytes text = builder_bytes(&error);
        fprintf(stderr, "peal top: --url: %.*s\n", (int)text.len, text.len > 0 ? text.at : "");
        builder_reset(&error);
        return 2;
    }
    int code = watch(client, (unsigned)every_s, once);
    http_client_destroy(client);
    return code;
}
