/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request must satisfy for either engine to be able to carry it out.
 */
#include "codec/slot.h"
#include "sql/audience.h"
#include "sql/engine.h"
#include "sql/history.h"
#include "sql/job.h"
#include "sql/store_device.h"
#include "sql/store_edit.h"

enum { NODE_MAX_LEN = 255, TEXT_MAX_LEN = 16 << 20, LIST_MAX = 100 };

static bool is_text(struct bytes text, size_t max)
{
    return text.len <= max && (text.len == 0 || !memchr(text.at, '\0', text.len));
}

static bool is_user(const struct store_user *who)
{
    return is_text(who->tenant, STORE_NAME_MAX) && is_text(who->user, STORE_NAME_MAX);
}

static bool are_times(const struct store_row *row)
{
    return row->created_at <= INT64_MAX && row->expires_at <= INT64_MAX &&
           row->digest_ms <= INT64_MAX / 2 && row->deliver_at <= INT64_MAX &&
           row->version <= INT64_MAX;
}

static bool is_row(const struct store_row *row)
{
    return are_times(row) && is_user(&row->who) && is_text(row->type, STORE_NAME_MAX) &&
           is_text(row->title, TEXT_MAX_LEN) && is_text(row->message, TEXT_MAX_LEN) &&
           row->data.len <= TEXT_MAX_LEN && is_text(row->collapse, STORE_NAME_MAX) &&
           row->priority >= NOTIFICATION_LOW && row->priority <= NOTIFICATION_URGENT &&
           slot_of_id(row->id) == slot_of(row->who.tenant, row->who.user);
}

static bool is_put(const struct store_put *put)
{
    if (put->count > STORE_PAGE_MAX || !is_text(put->last_id, STORE_NAME_MAX) ||
        put->token > INT64_MAX || (put->count == 0 && !put->fenced)) {
        return false;
    }
    for (size_t i = 0; i < put->count; i++) {
        const struct store_row *row = &put->rows[i];
        bool alike = row->due == put->rows[0].due &&
                     (row->due || (row->deliver_at > 0) == (put->rows[0].deliver_at > 0));
        if (!is_row(row) || !alike || (row->due && put->fenced)) {
            return false;
        }
    }
    return true;
}

static bool is_mark(const struct store_mark *mark)
{
    bool snoozes = mark->verb == NOTIFICATION_MARK_SNOOZE;
    return is_user(&mark->who) && mark->id_count <= STORE_PAGE_MAX && mark->at > 0 &&
           mark->at <= INT64_MAX && mark->verb >= NOTIFICATION_MARK_SEEN &&
           mark->verb < NOTIFICATION_VERB_COUNT && (mark->states & ~NOTIFICATION_ALL_STATES) == 0 &&
           mark->if_rev <= INT64_MAX && mark->until <= INT64_MAX && (!snoozes || mark->until > 0) &&
           is_text(mark->type, STORE_NAME_MAX);
}

static bool is_list(const struct store_list *list)
{
    bool types = list->type_count <= STORE_TYPES_MAX;
    for (size_t i = 0; types && i < list->type_count; i++) {
        types = is_text(list->types[i], STORE_NAME_MAX);
    }
    return types && is_user(&list->who) && list->limit >= 1 && list->limit <= LIST_MAX &&
           list->from <= INT64_MAX && list->to <= INT64_MAX;
}

static bool is_edit(const struct store_edit *edit)
{
    bool some = edit->fields != 0 && (edit->fields & ~(uint32_t)NOTIFICATION_EDIT_ALL) == 0;
    return is_text(edit->tenant, STORE_NAME_MAX) && edit->at > 0 && edit->at <= INT64_MAX &&
           (edit->erase || some) && is_text(edit->title, TEXT_MAX_LEN) &&
           is_text(edit->message, TEXT_MAX_LEN) && edit->data.len <= TEXT_MAX_LEN &&
           edit->priority >= NOTIFICATION_LOW && edit->priority <= NOTIFICATION_URGENT &&
           edit->expires_at <= INT64_MAX;
}

bool store_put_keeps(const struct store_put *put)
{
    return put->count > 0 && !put->rows[0].due && put->rows[0].deliver_at > 0;
}

bool store_put_delivers(const struct store_put *put)
{
    return put->count > 0 && put->rows[0].due;
}

static bool is_due(const struct store_due *due)
{
    return due->limit >= 1 && due->limit <= STORE_DUE_MAX && due->max_bytes <= INT64_MAX &&
           due->parts < 1u << STORE_SCHEDULE_PARTS;
}

static bool is_reschedule(const struct store_reschedule *change)
{
    return is_text(change->tenant, STORE_NAME_MAX) && is_text(change->title, TEXT_MAX_LEN) &&
           is_text(change->message, TEXT_MAX_LEN) && change->data.len <= TEXT_MAX_LEN &&
           change->priority >= NOTIFICATION_LOW && change->priority <= NOTIFICATION_URGENT &&
           (change->fields & ~(uint32_t)NOTIFICATION_RESCHEDULE_ALL) == 0 &&
           change->expires_at <= INT64_MAX && change->deliver_at <= INT64_MAX;
}

static bool is_page(const struct store_page *page)
{
    return is_list(&page->list) && page->rank < NOTIFICATION_PRIORITY_COUNT &&
           page->skip <= STORE_PAGED_MAX && (page->skip == 0 || page->list.before.new_rev == 0);
}

static bool is_texts(const struct store_list *texts)
{
    return is_list(texts) && texts->limit <= STORE_TEXTS_MAX && !texts->ascending;
}

static bool is_pick(const struct store_pick *pick)
{
    bool seqs = pick->seq_count <= STORE_TEXTS_MAX;
    for (size_t i = 0; seqs && i < pick->seq_count; i++) {
        seqs = pick->seqs[i] <= INT64_MAX;
    }
    return seqs && is_user(&pick->who);
}

static bool is_sync(const struct store_sync *sync)
{
    return is_user(&sync->who) && sync->limit >= 1 && sync->limit <= STORE_PAGE_MAX;
}

static bool is_positions(const struct store_positions *positions)
{
    if (positions->count > STORE_PAGE_MAX) {
        return false;
    }
    for (size_t i = 0; i < positions->count; i++) {
        if (!is_user(&positions->users[i])) {
            return false;
        }
    }
    return true;
}

static bool is_changed(const struct store_changed *changed)
{
    return changed->since <= INT32_MAX && changed->limit >= 1 &&
           changed->limit <= STORE_CHANGED_MAX;
}

static bool is_sweep(const struct store_sweep *sweep)
{
    return sweep->now <= INT64_MAX && sweep->tombstone_ms <= INT64_MAX && sweep->limit >= 1 &&
           sweep->limit <= STORE_REV_MAX;
}

static bool is_rule(const struct store_retention_rule *rule)
{
    return is_text(rule->tenant, STORE_NAME_MAX) && rule->age_ms <= INT64_MAX &&
           rule->rows <= STORE_RETENTION_ROWS_MAX;
}

static bool is_retention(const struct store_retention *retention)
{
    bool good = is_sweep(&retention->sweep) && retention->every_ms <= INT64_MAX &&
                retention->rule_count <= STORE_RETENTION_RULES_MAX && is_rule(&retention->usual);
    for (size_t i = 0; good && i < retention->rule_count; i++) {
        good = is_rule(&retention->rules[i]);
    }
    return good;
}

static bool is_witness(const struct store_witness *witness)
{
    return witness->node.len > 0 && is_text(witness->node, NODE_MAX_LEN);
}

static bool is_renewal(const struct store_renewal *renewal)
{
    return renewal->from.len == 0 || renewal->from.len == STORE_EPOCH_LEN;
}

static bool is_note(const struct store_note *note)
{
    return note->name.len > 0 && is_text(note->name, STORE_NOTE_NAME_MAX) &&
           is_text(note->from, STORE_NOTE_MAX) && is_text(note->to, STORE_NOTE_MAX);
}

static bool is_preference(const struct store_preference *preference)
{
    return is_user(&preference->who) &&
           (preference->hides ||
               (preference->body.len > 0 && is_text(preference->body, TEXT_MAX_LEN)));
}

static bool is_devices(const struct store_devices *devices)
{
    bool puts = devices->base.op == STORE_DEVICE_PUT;
    return is_user(&devices->who) &&
           (!puts || (devices->body.len > 0 && is_text(devices->body, TEXT_MAX_LEN) &&
                         devices->most >= 1 && devices->most <= STORE_DEVICES_MAX));
}

static bool is_push(const struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_PUSH_ARRANGE: {
        const struct store_push_arrange *arrange = (const struct store_push_arrange *)request;
        return (arrange->who.user.len == 0 || is_user(&arrange->who)) &&
               arrange->from.changed_at <= INT32_MAX && arrange->from.slot < SLOT_COUNT &&
               is_text(arrange->from.tenant, STORE_NAME_MAX) &&
               is_text(arrange->from.user, STORE_NAME_MAX) && arrange->after_ms <= INT64_MAX / 2;
    }
    case STORE_PUSH_NOTE: {
        const struct store_push_note *note = (const struct store_push_note *)request;
        return is_user(&note->who) && note->rev <= INT64_MAX &&
               is_text(note->type, STORE_NAME_MAX) && is_text(note->error, TEXT_MAX_LEN);
    }
    case STORE_PUSH_RECEIVED: {
        const struct store_push_received *received = (const struct store_push_received *)request;
        return is_user(&received->who) && received->seq <= INT64_MAX;
    }
    default:
        break;
    }
    const struct store_push_look *look = (const struct store_push_look *)request;
    return is_user(&look->who) && look->recent_ms <= INT64_MAX;
}

static bool is_summary(const struct store_summary *summary)
{
    return is_text(summary->tenant, STORE_NAME_MAX) && summary->to <= INT32_MAX &&
           summary->from <= summary->to && summary->to - summary->from < STORE_SUMMARY_DAYS_MAX &&
           summary->types <= STORE_SUMMARY_TYPES;
}

bool request_is_valid(const struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_PUT:
        return is_put((const struct store_put *)request);
    case STORE_MARK:
        return is_mark((const struct store_mark *)request);
    case STORE_EDIT:
        return is_edit((const struct store_edit *)request);
    case STORE_DUE:
        return is_due((const struct store_due *)request);
    case STORE_RESCHEDULE:
        return is_reschedule((const struct store_reschedule *)request);
    case STORE_LIST:
    case STORE_ROWS:
        return is_list((const struct store_list *)request);
    case STORE_PAGE:
        return is_page((const struct store_page *)request);
    case STORE_TEXTS:
        return is_texts((const struct store_list *)request);
    case STORE_PICK:
        return is_pick((const struct store_pick *)request);
    case STORE_COUNTS:
        return is_user(&((const struct store_counts *)request)->who);
    case STORE_SYNC:
        return is_sync((const struct store_sync *)request);
    case STORE_GET:
        return is_user(&((const struct store_get *)request)->who);
    case STORE_POSITIONS:
        return is_positions((const struct store_positions *)request);
    case STORE_CHANGED:
        return is_changed((const struct store_changed *)request);
    case STORE_PREFERENCE_READ:
        return is_user(&((const struct store_preference *)request)->who);
    case STORE_PREFERENCE_WRITE:
        return is_preference((const struct store_preference *)request);
    case STORE_DEVICE_PUT:
    case STORE_DEVICE_STATE:
    case STORE_DEVICE_REMOVE:
    case STORE_DEVICE_LIST:
        return is_devices((const struct store_devices *)request);
    case STORE_PUSH_ARRANGE:
    case STORE_PUSH_NOTE:
    case STORE_PUSH_RECEIVED:
    case STORE_PUSH_LOOK:
        return is_push(request);
    case STORE_CLAIM:
        return is_text(((const struct store_claim *)request)->owner, STORE_NAME_MAX);
    case STORE_FORGET:
        return is_user(&((const struct store_forget *)request)->who);
    case STORE_SUMMARY:
        return is_summary((const struct store_summary *)request);
    case STORE_SWEEP:
    case STORE_SUMMARY_SWEEP:
        return is_sweep((const struct store_sweep *)request);
    case STORE_RETAIN:
        return is_retention((const struct store_retention *)request);
    case STORE_WITNESS_RAISE:
    case STORE_WITNESS_READ:
        return is_witness((const struct store_witness *)request);
    case STORE_EPOCH:
        return is_renewal((const struct store_renewal *)request);
    case STORE_NOTE:
        return is_note((const struct store_note *)request);
    case STORE_HISTORY_ADD:
    case STORE_HISTORY_SWEEP:
    case STORE_HISTORY_LIST:
        return history_is_valid(request);
    case STORE_PING:
        return true;
    default:
        return op_is_of_jobs(request->op) ? job_is_valid(request) : audience_is_valid(request);
    }
}
