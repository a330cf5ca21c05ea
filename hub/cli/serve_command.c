/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve_command - `peal serve`: a node from start to the signal that ends it.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <uv.h>

#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/status.h"
#include "hub/cli/cli.h"
#include "hub/cli/cli_refuse.h"
#include "hub/config/config.h"
#include "hub/node/dev.h"
#include "hub/node/hub.h"
#include "hub/node/hub_settings.h"
#include "hub/node/hub_shard.h"
#include "hub/node/log_writer.h"
#include "hub/node/memory_guard.h"
#include "hub/node/node.h"
#include "hub/node/reload.h"

enum {
    POLL_MS = 50,
    DEV_WARN_MS = 60000,
    LOG_RING = 1 << 20,
    LOG_END_MS = 2000,
    MEMORY_MS = 100,
    EXIT_FAILED = 1, /* it did not start */
    EXIT_LEFT = 3, /* it ended, but not everything in it did */
};

/* The main thread: waits for signals while the shards work. */
struct serve {
    uv_loop_t loop;
    uv_signal_t term;
    uv_signal_t interrupt;
    uv_signal_t hangup;
    uv_signal_t anew; /* of ourselves: the store went back (store_watch.c) */
    uv_timer_t poll; /* while draining */
    uv_timer_t warn; /* in development */
    uv_timer_t memory; /* keeps the reserve of this thread */
    struct hub *hub;
    uint64_t drain_by; /* monotonic ms; 0: not draining */
    bool stopped; /* the hub has ended */
    bool signalled; /* since it was about to end */
};

/*
 * Outside the life of a hub these would end the process: a SIGHUP that comes while it starts or
 * starts anew, and a late SIGUSR1 of our own. A second handler keeps them; nobody looks at it.
 */
struct deaf {
    uv_loop_t loop;
    uv_signal_t hangup;
    uv_signal_t anew;
};

static void on_nothing(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
}

/* Between two hubs there is nothing to put away. */
static void on_end(int number)
{
    (void)number;
    _exit(0);
}

static void start_deaf(struct deaf *deaf)
{
    uv_loop_init(&deaf->loop);
    uv_signal_init(&deaf->loop, &deaf->hangup);
    uv_signal_init(&deaf->loop, &deaf->anew);
    uv_signal_start(&deaf->hangup, on_nothing, SIGHUP);
    uv_signal_start(&deaf->anew, on_nothing, SIGUSR1);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void close_loop(uv_loop_t *loop)
{
    uv_walk(loop, close_handle, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
}

static void end(struct serve *serve)
{
    uv_stop(&serve->loop);
}

static void on_poll(uv_timer_t *timer)
{
    struct serve *serve = timer->data;
    if (hub_sessions(serve->hub) == 0 || clock_mono_ms() >= serve->drain_by) {
        end(serve);
    }
}

/* The first signal drains, the second ends at once. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct serve *serve = handle->data;
    serve->signalled = true;
    if (serve->stopped) {
        return;
    }
    if (serve->drain_by != 0) {
        end(serve);
        return;
    }
    log_info("DRAIN", "asking clients to leave", "signal=%d clients=%llu", number,
        (unsigned long long)hub_sessions(serve->hub));
    serve->drain_by = clock_mono_ms() + serve->hub->settings->config->drain_deadline_ms;
    hub_drain(serve->hub);
    uv_timer_start(&serve->poll, on_poll, POLL_MS, POLL_MS);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    const struct serve *serve = handle->data;
    (void)number;
    if (serve->drain_by == 0 && !serve->stopped) {
        (void)reload_settings(serve->hub); /* it has said what is wrong */
    }
}

static void on_anew(uv_signal_t *handle, int number)
{
    struct serve *serve = handle->data;
    (void)number;
    if (!serve->stopped && atomic_load_explicit(&serve->hub->outdated, memory_order_relaxed)) {
        end(serve);
    }
}

static void on_warn(uv_timer_t *timer)
{
    (void)timer;
    log_warn("DEV", "development mode: tokens are public and rooms are open", "next_ms=%d",
        (int)DEV_WARN_MS);
}

static void on_memory(uv_timer_t *timer)
{
    (void)timer;
    memory_guard_keep();
}

static void prepare(struct serve *serve)
{
    uv_loop_init(&serve->loop);
    uv_signal_init(&serve->loop, &serve->term);
    uv_signal_init(&serve->loop, &serve->interrupt);
    uv_signal_init(&serve->loop, &serve->hangup);
    uv_signal_init(&serve->loop, &serve->anew);
    uv_timer_init(&serve->loop, &serve->poll);
    uv_timer_init(&serve->loop, &serve->warn);
    uv_timer_init(&serve->loop, &serve->memory);
    serve->term.data = serve;
    serve->interrupt.data = serve;
    serve->hangup.data = serve;
    serve->anew.data = serve;
    serve->poll.data = serve;
    uv_signal_start(&serve->term, on_signal, SIGTERM);
    uv_signal_start(&serve->interrupt, on_signal, SIGINT);
    uv_signal_start(&serve->hangup, on_hangup, SIGHUP);
    uv_signal_start(&serve->anew, on_anew, SIGUSR1);
    uv_timer_start(&serve->memory, on_memory, MEMORY_MS, MEMORY_MS);
    if (serve->hub->config->dev) {
        uv_timer_start(&serve->warn, on_warn, DEV_WARN_MS, DEV_WARN_MS);
    }
}

static void log_warnings(const struct config *config)
{
    for (size_t i = 0; i < config->warnings.count; i++) {
        log_warn("CONFIG", "a setting needs attention, continuing", "what=%s",
            log_quote(bytes_str(config->warnings.items[i])));
    }
}

/* What a node is to start with. */
struct run {
    const struct config *config;
    struct hub_settings *settings; /* whose config it is, one reference; NULL: of the command */
    bool again; /* it is to start anew */
};

/* Go on with the settings in force: takes the reference. Those that SIGHUP has loaded own theirs.
 */
static void start_again(struct run *run, struct hub_settings *settings)
{
    run->again = true;
    if (settings->config == run->config) {
        hub_settings_unref(settings);
        return;
    }
    hub_settings_unref(run->settings);
    run->settings = settings;
    run->config = settings->config;
}

/* The hub is gone: what came while it ended is looked at, and the handlers go. */
static void close_serve(struct serve *serve)
{
    serve->stopped = true;
    serve->hub = NULL;
    uv_timer_stop(&serve->poll);
    uv_run(&serve->loop, UV_RUN_NOWAIT);
    close_loop(&serve->loop);
}

/* Returns the exit code. */
static int serve_until_signal(struct run *run)
{
    const struct config *config = run->config;
    struct serve serve = {0};
    run->again = false;
    _Static_assert((int)LOG_FORMAT_JSON == (int)LOG_AS_JSON, "formats in one order");
    log_set_format((enum log_format)config->log_format);
    log_set_level((enum log_level)config->log_level);
    log_warnings(config);
    int status = hub_start(config, &serve.hub);
    if (status != 0) {
        return status == STATUS_TIMEOUT ? EXIT_LEFT : EXIT_FAILED;
    }
    prepare(&serve);
    hub_print_start(serve.hub);
    dev_print(serve.hub);
    uv_run(&serve.loop, UV_RUN_DEFAULT);
    bool again =
        serve.drain_by == 0 && atomic_load_explicit(&serve.hub->outdated, memory_order_relaxed);
    struct hub_settings *settings = hub_settings_ref(serve.hub->settings);
    if (hub_stop(serve.hub) != 0) {
        return EXIT_LEFT;
    }
    close_serve(&serve);
    if (again && !serve.signalled) {
        signal(SIGTERM, on_end);
        signal(SIGINT, on_end);
        start_again(run, settings);
    } else {
        hub_settings_unref(settings);
    }
    log_info("STOP", "ended", "deadline_passed=%d",
        serve.drain_by != 0 && clock_mono_ms() >= serve.drain_by);
    return 0;
}

int command_serve(const struct config *config, int argc, char **argv)
{
    if (argc > 0) {
        return cli_refuse_argument("serve", argv);
    }
    (void)prctl(PR_SET_DUMPABLE, config->core_dumps ? 1 : 0, 0, 0, 0);
    log_writer_start(STDERR_FILENO, LOG_RING);
    memory_guard_start();
    struct run run = {.config = config, .again = true};
    struct deaf deaf;
    int code = 0;
    start_deaf(&deaf);
    while (run.again) {
        code = serve_until_signal(&run);
    }
    if (code != EXIT_LEFT) {
        hub_settings_unref(run.settings);
        close_loop(&deaf.loop);
    }
    log_writer_stop(LOG_END_MS);
    if (code == EXIT_LEFT) {
        _exit(code); /* threads run: nothing of the process is to be put away under them */
    }
    return code;
}
