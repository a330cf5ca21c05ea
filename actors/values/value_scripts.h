/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_scripts - the rules of values as scripts of Redis, each on keys of one slot.
 *
 * Answers are arrays whose first element is a letter, where nothing else is said:
 *   V bytes packed version end left    the value, which has `left` ms to live
 *   S bytes packed version end         what it was; somebody fills it
 *   M                                  not there
 *   H left                             somebody fills it for `left` ms more, and nothing is there
 *   F token                            the caller fills it
 *   D version end [bytes]              done; of an increment with what it is now
 *   C version                          it has another version
 *   L                                  the caller is not who fills it
 *   I, O                               no integer; beyond 64 bits
 * `packed` is the length of what was deflated, or 0. Times are in ms of Redis' clock.
 */
#ifndef ACTORS_VALUES_VALUE_SCRIPTS_H
#define ACTORS_VALUES_VALUE_SCRIPTS_H

enum value_script {
    VALUE_SCRIPT_READ, /* key */
    VALUE_SCRIPT_WRITE, /* key; bytes packed ttl stale tags stamp if token channel name */
    VALUE_SCRIPT_DROP, /* key; tag stamp channel name: how many went, whether its entry may go */
    VALUE_SCRIPT_INCREMENT, /* key; by ttl stale channel name */
    VALUE_SCRIPT_LEASE, /* key; token fill */
    VALUE_SCRIPT_RELEASE, /* key; token channel name: M, whoever fills it */
    VALUE_SCRIPT_TAG, /* set, mark; name stamp since life floor: 1, or 0: let go since then */
    VALUE_SCRIPT_MARK, /* mark; life: the time in µs */
    VALUE_SCRIPT_UNTAG, /* set; name stamp name stamp …: how many went */
    VALUE_SCRIPT_COUNT
};

/* The text of each. */
extern const char *const value_scripts[VALUE_SCRIPT_COUNT];

#endif
