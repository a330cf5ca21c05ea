/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_scripts - what is done in Redis with one part of the users, each in one script on one
 * key.
 *
 * The key is a hash. Each shard of a node that holds users of the part has a field, a line feed and
 * its twelve hex digits, with a line for each of its places, which are these digits and four of the
 * term: `<place> <until, ms of Redis> <version> <number> <connections> <node>`. A place counts
 * until its time has come, and never again. The field of a line feed alone has the digits of all
 * shards. The field "" has the sums, as they were when somebody last looked through all places:
 * `<changes> <next time> <no other sweeps until> <users> <ended places> <checksum of those that
 * count>`, and ` <version>:<nodes>:<connections>` for each version. The number of changes alone is
 * always new, it grows with each command that tells some. Each other field is the key of a user,
 * and its value names the places that hold the user, with connections: `<place>:<n>,…`, with
 * an `h` behind n where the user hides, and a `u` where the place does not know yet.
 */
#ifndef ACTORS_PRESENCE_PRESENCE_SCRIPTS_H
#define ACTORS_PRESENCE_PRESENCE_SCRIPTS_H

enum {
    PRESENCE_SHARD_DIGITS = 12,
    PRESENCE_TERM_DIGITS = 4,
    PRESENCE_SHARD_PLACES = 64, /* of a shard, with those that have ended and are not swept */
    PRESENCE_SWEEP_PLACES = 256, /* with one sweep */
    PRESENCE_VERSIONS = 8, /* that are told apart */
};

enum presence_script {
    /*
     * ARGV: place, version, node, number of the last one (0: this is the first of the place),
     * lifetime of the place, lifetime of the key, connections, 1 where all that the shard has is
     * known with this one (then its earlier places end), channel, how old sums may be (ms), and
     * user, connections (as above) for each that changed. Those are published: `<version> <number
     * of changes> <node>`, and each user behind a line feed. Answers 0 where the place is not there
     * as it was left, 2 where the shard has PRESENCE_SHARD_PLACES; else 1, and of the sums: how
     * many users there are, with those that only ended places hold, the number of changes, how many
     * places have ended, the checksum, up to PRESENCE_SWEEP_PLACES of those that have ended, each
     * followed by a comma, where this one is to sweep them (it has not ended, and nobody else
     * does); and for each version it, nodes and connections.
     */
    PRESENCE_SCRIPT_TELL,
    /* ARGV: cursor, how many to look at, places that have ended, each followed by a comma: takes
     * them out. Answers the next cursor, "0" at the end: then they are not places any more. */
    PRESENCE_SCRIPT_SWEEP,
    /* ARGV: users. Answers for each nil, or node, connections, enum owner_shown of each place that
     * counts. */
    PRESENCE_SCRIPT_LOOK,
    PRESENCE_SCRIPT_COUNT,
};

/* Their texts. */
extern const char *const presence_scripts[PRESENCE_SCRIPT_COUNT];

#endif
