/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_records - what the server behind fake_bus keeps of recovery: values, sets, and the sorted
 * set of leases, with the commands on them.
 */
#ifndef TESTS_SUPPORT_FAKE_RECORDS_H
#define TESTS_SUPPORT_FAKE_RECORDS_H

#include "actors/bus.h"

struct fake_record;

struct fake_records {
    struct fake_record *items;
    size_t count;
    size_t cap;
    uint64_t commands; /* carried out so far */
    uint64_t written; /* records among them */
};

/* Whether a command is about a key of recovery. */
bool fake_records_takes(const struct bytes *argv, size_t argc);

/* Carry it out at `now_ms`. */
struct bus_reply *fake_records_carry_out(
    struct fake_records *records, const struct bytes *argv, size_t argc, uint64_t now_ms);

/* How many keys or members there are at `now_ms` in what is called `prefix`…; or lose all. */
size_t fake_records_count(struct fake_records *records, const char *prefix, uint64_t now_ms);
void fake_records_lose(struct fake_records *records);

/* Free everything. */
void fake_records_finish(struct fake_records *records);

#endif
