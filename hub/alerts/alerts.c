/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look: count, hear of the other nodes, judge, keep, tell. Order of this file: the store,
 * telling, keeping, judging, looking, life.
 *
 * What has changed is kept first, then told: told is whoever has no bit in `told` of the entry,
 * with each look again until it worked. A state is judged only when it is known: where this node
 * begins to evaluate it asks the store, too, and the higher number holds.
 */
#include "hub/alerts/alerts.h"

#include <stdio.h>
#include <string.h>

#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/alerts/alert_hook.h"
#include "hub/alerts/alert_tell.h"
#include "hub/alerts/alerts_bus.h"
#include "hub/config/config.h"
#include "sql/store.h"

enum { FIRST_MS = 100, TRIES_MAX = 60 };

#define NOTE BYTES("alerts")

/* What is remembered of an alert of the settings, by its place there, as long as it has the name.
 */
struct watch {
    char name[ALERT_NAME_MAX + 1];
    struct alert_watch watch;
    char value[ALERT_VALUE_MAX];
    uint32_t asked; /* set of the places of targets that are being told */
    unsigned tries; /* that have failed, since all were told last */
};

struct alerts {
    struct alerts_options options;
    struct timer timer;
    struct alerts_bus *bus; /* NULL without Redis */
    struct alert_teller teller;
    struct figures_window window;
    struct figures own; /* at the last look */
    struct alert_state state;
    struct watch watches[ALERTS_MAX];
    struct store_note note; /* to the store, or from it */
    struct builder from; /* its texts */
    struct builder to;
    unsigned under_way; /* targets that are being told */
    bool known; /* this node evaluates, and `state` is what was kept last */
    bool reading; /* `note` is under way, as the next */
    bool writing;
    bool unwritten; /* the store has not got `state` yet */
    bool saving; /* Redis is asked to keep it */
    bool resave; /* it has changed since */
    bool reporting; /* Redis is asked for figures */
    bool ending;
    bool bus_ended;
};

static void tell_all(struct alerts *alerts);

static const struct config *settings_of(const struct alerts *alerts)
{
    return alerts->options.config(alerts->options.context);
}

static void show(struct alerts *alerts)
{
    alert_gauges_set(alerts->options.gauges, &alerts->state);
}

/* --- the store --- */

/* What the store has is what the next text takes the place of. */
static void take_note(struct alerts *alerts)
{
    struct alert_state state;
    bool ours = bytes_eq_str(builder_bytes(&alerts->to), alerts->note.text);
    builder_reset(&alerts->from);
    builder_str(&alerts->from, alerts->note.text);
    if (ours || alert_state_read(bytes_str(alerts->note.text), &state) != 0) {
        return;
    }
    if (state.number > alerts->state.number) {
        alerts->state = state;
    }
    alerts->unwritten |= alerts->writing; /* another text was there */
}

static void on_note(struct store_request *request)
{
    struct alerts *alerts = container_of(request, struct alerts, note.base);
    bool good = request->status == 0;
    bool wrote = alerts->writing;
    if (good) {
        take_note(alerts);
    } else {
        alerts->unwritten |= wrote;
    }
    store_request_finish(request);
    alerts->known |= alerts->reading && (good || alerts->bus != NULL);
    alerts->reading = false;
    alerts->writing = false;
    if (wrote && alerts->bus == NULL && !alerts->ending) {
        tell_all(alerts);
    }
}

static void ask_store(struct alerts *alerts, bool write)
{
    struct shard *shard = alerts->options.shard;
    if (shard->store == NULL || alerts->reading || alerts->writing) {
        return;
    }
    builder_reset(&alerts->to);
    if (write) {
        alert_state_write(&alerts->state, &alerts->to);
    }
    if (builder_failed(&alerts->to) || builder_failed(&alerts->from)) {
        return; /* with another look */
    }
    alerts->unwritten = alerts->unwritten && !write;
    alerts->reading = !write;
    alerts->writing = write;
    alerts->note = (struct store_note){.base = {.op = STORE_NOTE, .done = on_note},
        .name = NOTE,
        .from = builder_bytes(&alerts->from),
        .to = builder_bytes(&alerts->to)};
    store_submit(shard->store, &alerts->note.base);
}

/* --- keeping --- */

static void save(struct alerts *alerts)
{
    alerts->resave = alerts->saving;
    if (!alerts->saving) {
        alerts->saving = true;
        alerts_bus_save(alerts->bus, &alerts->state);
    }
}

static void keep(struct alerts *alerts)
{
    alerts->state.number++;
    alerts->unwritten = true;
    show(alerts);
    ask_store(alerts, true);
    if (alerts->bus != NULL) {
        save(alerts);
    }
}

static void on_saved(void *context, bool ours)
{
    struct alerts *alerts = context;
    alerts->saving = false;
    alerts->known = alerts->known && ours;
    if (!alerts->known) {
        return;
    }
    if (alerts->resave) {
        save(alerts);
    }
    tell_all(alerts);
}

static void on_lost(void *context)
{
    ((struct alerts *)context)->known = false;
}

/* --- telling --- */

static struct watch *find_watch(struct alerts *alerts, const char *name)
{
    for (unsigned i = 0; i < ALERTS_MAX; i++) {
        if (strcmp(alerts->watches[i].name, name) == 0) {
            return &alerts->watches[i];
        }
    }
    return NULL;
}

static const struct config_alert *find_alert(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->alert_count; i++) {
        if (strcmp(config->alerts[i].name, name) == 0) {
            return &config->alerts[i];
        }
    }
    return NULL;
}

static void on_told(void *context, const struct alert_told *told)
{
    struct alerts *alerts = context;
    struct watch *watch = find_watch(alerts, told->name);
    struct alert_entry *entry = alert_state_find(&alerts->state, told->name);
    uint32_t bit = 1u << told->place;
    alerts->under_way--;
    if (watch != NULL) {
        watch->asked &= ~bit;
        watch->tries += !told->good;
    }
    bool same =
        entry != NULL && entry->since_ms == told->since_ms && entry->resolved == told->resolved;
    if (told->good && same && !alerts->ending) {
        entry->told |= bit;
        (void)atomic_fetch_add_explicit(&alerts->options.gauges->told, 1, memory_order_relaxed);
        keep(alerts);
    }
}

/* What one alert is to be told to: all that is needed to do so. */
struct turn {
    struct alerts *alerts;
    struct alert_entry *entry;
    struct watch *watch;
    struct config_list targets;
    struct alert_event event;
    bool changed;
    bool failed;
};

static void tell_target(struct turn *turn, unsigned place)
{
    struct alerts *alerts = turn->alerts;
    uint32_t bit = 1u << place;
    if (((turn->entry->told | turn->watch->asked) & bit) != 0) {
        return;
    }
    int status = alert_tell(&alerts->teller, &turn->event, turn->targets.items[place], place);
    if (status == STATUS_AGAIN) {
        turn->watch->asked |= bit;
        alerts->under_way++;
        return;
    }
    turn->failed |= status != 0;
    turn->entry->told |= status == 0 ? bit : 0;
    turn->changed |= status == 0;
    (void)atomic_fetch_add_explicit(
        &alerts->options.gauges->told, status == 0, memory_order_relaxed);
}

static void give_up(struct turn *turn, uint32_t all)
{
    log_error("ALERT-UNTOLD", "who is to know of an alert could not be told, it is given up",
        "alert=%s state=%s", log_quote(bytes_str(turn->entry->name)),
        turn->entry->resolved ? "resolved" : "firing");
    turn->entry->told |= all;
    turn->changed = true;
    (void)atomic_fetch_add_explicit(&turn->alerts->options.gauges->untold, 1, memory_order_relaxed);
}

/* Tell of the entry at `place`; whether it is still there. */
static bool tell_entry(struct alerts *alerts, unsigned place, bool *changed)
{
    static const char *log_alone[] = {"log"};
    struct watch nobody = {.tries = 0};
    const struct config *config = settings_of(alerts);
    struct alert_entry *entry = &alerts->state.entries[place];
    const struct config_alert *alert = find_alert(config, entry->name);
    struct watch *watch = find_watch(alerts, entry->name);
    struct turn turn = {.alerts = alerts, .entry = entry, .watch = watch ? watch : &nobody};
    turn.targets = alert ? alert->to : (struct config_list){1, log_alone};
    turn.event = (struct alert_event){.name = entry->name,
        .when = alert ? alert->when : "",
        .value = watch ? watch->value : "",
        .node = alerts->options.node,
        .since_ms = entry->since_ms,
        .at_ms = sched_wall(alerts->options.shard->sched),
        .resolved = entry->resolved};
    uint32_t all = (1u << turn.targets.count) - 1;
    for (unsigned i = 0; i < turn.targets.count; i++) {
        tell_target(&turn, i);
    }
    turn.watch->tries += turn.failed;
    if (turn.watch->tries >= TRIES_MAX && (entry->told & all) != all) {
        give_up(&turn, all);
    }
    turn.watch->tries = (entry->told & all) == all ? 0 : turn.watch->tries;
    *changed |= turn.changed;
    if (entry->resolved && (entry->told & all) == all) {
        alert_state_remove(&alerts->state, entry);
        *changed = true;
        return false;
    }
    return true;
}

static void tell_all(struct alerts *alerts)
{
    bool changed = false;
    for (unsigned i = 0; i < alerts->state.count;) {
        i += tell_entry(alerts, i, &changed);
    }
    if (changed) {
        keep(alerts);
    }
}

/* --- judging --- */

static bool holds(const struct alerts *alerts, const struct figures_sum *sum,
    const struct alert_rule *rule, struct watch *watch)
{
    double value;
    if (!figures_value(sum, rule, alerts->options.bounds_us, &value)) {
        watch->value[0] = '\0';
        return false;
    }
    alert_rule_write(rule, value, watch->value, sizeof(watch->value));
    return rule->below ? value < rule->bound : value > rule->bound;
}

/* Whether the state changes. */
static bool judge_alert(struct alerts *alerts, const struct figures_sum *sum,
    const struct config_alert *alert, struct watch *watch)
{
    struct alert_rule rule = {0};
    const char *why;
    uint64_t now = sched_now(alerts->options.shard->sched);
    struct alert_entry *entry = alert_state_find(&alerts->state, alert->name);
    bool is_so = alert->on && alert_rule_read(alert->when, &rule, &why) == 0 &&
                 holds(alerts, sum, &rule, watch);
    bool fires = alert_watch_step(&watch->watch, is_so, now, rule.for_ms);
    if (entry != NULL) {
        bool over = !is_so && !entry->resolved;
        entry->told = over ? 0 : entry->told;
        entry->resolved |= over;
        return over;
    }
    return fires && alert_state_add(&alerts->state, alert->name,
                        sched_wall(alerts->options.shard->sched)) != NULL;
}

/* What fires and is in the settings no more is over. */
static bool end_strange(struct alerts *alerts, const struct config *config)
{
    bool changed = false;
    for (unsigned i = 0; i < alerts->state.count; i++) {
        struct alert_entry *entry = &alerts->state.entries[i];
        if (!entry->resolved && find_alert(config, entry->name) == NULL) {
            entry->resolved = true;
            entry->told = 0;
            changed = true;
        }
    }
    return changed;
}

static void judge(struct alerts *alerts, const struct figures_sum *sum)
{
    const struct config *config = settings_of(alerts);
    bool changed = end_strange(alerts, config);
    for (size_t i = 0; i < config->alert_count && i < ALERTS_MAX; i++) {
        struct watch *watch = &alerts->watches[i];
        if (strcmp(watch->name, config->alerts[i].name) != 0) {
            *watch = (struct watch){.tries = 0};
            (void)snprintf(watch->name, sizeof(watch->name), "%s", config->alerts[i].name);
        }
        changed |= judge_alert(alerts, sum, &config->alerts[i], watch);
    }
    if (changed) {
        keep(alerts);
    } else if (!alerts->saving) {
        tell_all(alerts);
    }
    if (alerts->unwritten) {
        ask_store(alerts, true);
    }
}

/* --- looking --- */

static void look(struct alerts *alerts, const struct figures_sum *sum)
{
    if (!alerts->known) {
        ask_store(alerts, false);
    } else {
        judge(alerts, sum);
    }
    show(alerts);
}

static void on_reported(
    void *context, bool answered, const struct figures_sum *sum, const struct alert_state *state)
{
    struct alerts *alerts = context;
    struct figures_sum own = {0};
    alerts->reporting = false;
    alerts->known = alerts->known && alerts_bus_is_ours(alerts->bus);
    if (answered && (!alerts->known || state->number > alerts->state.number)) {
        alerts->state = *state;
    }
    if (answered && alerts->known && state->number < alerts->state.number) {
        save(alerts); /* Redis has lost it */
    }
    if (!alerts_bus_is_ours(alerts->bus)) {
        show(alerts);
        return;
    }
    figures_add(&own, &alerts->own);
    look(alerts, answered ? sum : &own);
}

static const struct alerts_bus_events bus_events = {
    .reported = on_reported, .saved = on_saved, .lost = on_lost};

static void on_timer(struct timer *timer)
{
    struct alerts *alerts = container_of(timer, struct alerts, timer);
    struct sched *sched = alerts->options.shard->sched;
    struct figures counted = {0};
    uint64_t now = sched_now(sched);
    timer_set(sched_timers(sched), timer, now + alerts->options.every_ms);
    alerts->options.count(alerts->options.context, &counted);
    figures_look(&alerts->window, now, &counted, &alerts->own);
    if (alerts->bus == NULL) {
        struct figures_sum own = {0};
        figures_add(&own, &alerts->own);
        look(alerts, &own);
    } else if (!alerts->reporting) {
        alerts->reporting = true;
        alerts_bus_report(alerts->bus, &alerts->own);
    }
}

/* --- life --- */

struct alerts *alerts_start(const struct alerts_options *options)
{
    struct alerts *alerts = mem_alloc(sizeof(*alerts));
    struct sched *sched = options->shard->sched;
    alerts->options = *options;
    alerts->bus_ended = options->shard->bus == NULL;
    alerts->teller = (struct alert_teller){.shard = options->shard,
        .hooks = alert_hooks_open(options->loop, options->hooks),
        .fn = on_told,
        .context = alerts};
    if (options->shard->bus != NULL) {
        alerts->bus =
            alerts_bus_open(options->shard, options->node, options->every_ms, &bus_events, alerts);
    }
    timer_init(&alerts->timer, on_timer);
    timer_set(sched_timers(sched), &alerts->timer, sched_now(sched) + FIRST_MS);
    return alerts;
}

void alerts_set(struct alerts *alerts, const struct hook_settings *hooks)
{
    alert_hooks_set(alerts->teller.hooks, hooks);
}

static void on_bus_ended(void *context)
{
    ((struct alerts *)context)->bus_ended = true;
}

void alerts_stop(struct alerts *alerts)
{
    if (alerts->ending) {
        return;
    }
    alerts->ending = true;
    timer_cancel(sched_timers(alerts->options.shard->sched), &alerts->timer);
    alert_hooks_close(alerts->teller.hooks);
    if (alerts->bus != NULL) {
        alerts_bus_close(alerts->bus, on_bus_ended);
    }
}

uint64_t alerts_count_open(const struct alerts *alerts)
{
    return !alerts->ending + !alerts->bus_ended + alerts->reading + alerts->writing +
           alerts->under_way + alert_hooks_count_open(alerts->teller.hooks);
}

void alerts_destroy(struct alerts *alerts)
{
    alert_hooks_destroy(alerts->teller.hooks);
    builder_reset(&alerts->from);
    builder_reset(&alerts->to);
    mem_free(alerts);
}
