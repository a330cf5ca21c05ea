/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sorted array, and how it goes from node to node.
 */
#include "hub/api/roll.h"

#include <string.h>

#include "codec/base/mem.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"

enum { BODY_DEPTH = 6 };

static int compare(struct bytes a, struct bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.at, b.at, len) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

void roll_finish(struct roll *roll)
{
    for (size_t i = 0; i < roll->count; i++) {
        mem_free(roll->rows[i]);
    }
    roll->count = 0;
}

/* The place of the first row that is not before `name`. */
static size_t find(const struct roll *roll, struct bytes name)
{
    size_t low = 0;
    size_t high = roll->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(roll_name(roll->rows[middle]), name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool roll_wants(struct roll *roll, struct bytes name)
{
    if (!bytes_starts(name, roll->prefix) ||
        (roll->after.len > 0 && compare(name, roll->after) <= 0)) {
        return false;
    }
    bool fits =
        roll->count < roll->most || compare(name, roll_name(roll->rows[roll->count - 1])) <= 0;
    roll->more = roll->more || !fits;
    return fits;
}

static struct roll_row *make_row(struct bytes name, struct bytes text)
{
    struct roll_row *row = mem_try_calloc(1, sizeof(*row) + name.len + text.len);
    if (row != NULL) {
        row->name_len = (uint32_t)name.len;
        row->text_len = (uint32_t)text.len;
        memcpy(row->at, name.at, name.len);
        memcpy(row->at + name.len, text.len > 0 ? text.at : "", text.len);
    }
    return row;
}

void roll_add(
    struct roll *roll, struct bytes name, uint64_t sockets, uint64_t nodes, struct bytes text)
{
    size_t place = find(roll, name);
    bool known = place < roll->count && bytes_eq(roll_name(roll->rows[place]), name);
    if (!known) {
        struct roll_row *row = make_row(name, text);
        if (row == NULL) {
            roll->starved = true;
            return;
        }
        if (roll->count == roll->most) {
            mem_free(roll->rows[--roll->count]);
            roll->more = true;
        }
        memmove(roll->rows + place + 1, roll->rows + place,
            (roll->count - place) * sizeof(roll->rows[0]));
        roll->rows[place] = row;
        roll->count++;
    }
    roll->rows[place]->sockets += sockets;
    roll->rows[place]->nodes += nodes;
}

/* Between nodes. */

void roll_write(const struct roll *roll, struct builder *out)
{
    json_write_open(out, '{');
    json_write_bool(out, "more", roll->more);
    json_write_bool(out, "starved", roll->starved);
    json_write_key(out, "rows");
    json_write_open(out, '[');
    for (size_t i = 0; i < roll->count; i++) {
        const struct roll_row *row = roll->rows[i];
        json_write_next(out);
        json_write_open(out, '{');
        json_write_text(out, "name", roll_name(row));
        json_write_u64(out, "sockets", row->sockets);
        json_write_u64(out, "nodes", row->nodes);
        json_write_key(out, "text");
        builder_byte(out, '{');
        builder_add(out, roll_text(row));
        builder_byte(out, '}');
        json_write_close(out, '}');
    }
    json_write_close(out, ']');
    json_write_close(out, '}');
}

static bool read_row(struct roll *roll, struct bytes row)
{
    char at[NAMES_ROOM_MAX];
    struct bytes value;
    struct bytes name;
    struct bytes text;
    uint64_t sockets;
    uint64_t nodes;
    if (json_scan_kind(row) != JSON_SCAN_OBJECT || json_scan_get(row, "name", &value) != 0 ||
        json_scan_string(value, at, sizeof(at), &name) != 0 ||
        json_scan_get(row, "sockets", &value) != 0 || json_scan_u64(value, &sockets) != 0 ||
        json_scan_get(row, "nodes", &value) != 0 || json_scan_u64(value, &nodes) != 0 ||
        json_scan_get(row, "text", &text) != 0 || json_scan_kind(text) != JSON_SCAN_OBJECT) {
        return false;
    }
    if (roll_wants(roll, name)) {
        roll_add(roll, name, sockets, nodes, json_scan_inside(text));
    }
    return true;
}

bool roll_read(struct roll *roll, struct bytes body)
{
    struct json_scan_iter iter;
    struct bytes value;
    struct bytes row;
    bool good = json_scan_text(body, BODY_DEPTH, &body, NULL) == 0 &&
                json_scan_kind(body) == JSON_SCAN_OBJECT;
    if (!good || json_scan_get(body, "rows", &value) != 0 ||
        json_scan_kind(value) != JSON_SCAN_ARRAY) {
        return false;
    }
    json_scan_iter_init(&iter, value);
    while (good && json_scan_element(&iter, &row)) {
        good = read_row(roll, row);
    }
    if (good && json_scan_get(body, "more", &value) == 0) {
        roll->more = roll->more || json_scan_kind(value) == JSON_SCAN_TRUE;
    }
    if (good && json_scan_get(body, "starved", &value) == 0) {
        roll->starved = roll->starved || json_scan_kind(value) == JSON_SCAN_TRUE;
    }
    return good;
}
