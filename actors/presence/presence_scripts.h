/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_scripts - what is done in Redis with one part of the users, each in one script on one
 * key.
 *
 * The key is a hash. Its field "" has a line with the number of changes, which grows with each
 * command that tells some, and one for each place, a shard of a node that holds users of the part:
 * `<place> <until, ms of Redis> <version> <number> <connections> <node>`. A place is
 * twelve hex digits of the shard and four of its term. Each other field is the key of a user, and
 * its value names the places that hold the user, with connections: `<place>:<n>,…`. A place counts
 * until its time has come, and never again.
 */
#ifndef ACTORS_PRESENCE_PRESENCE_SCRIPTS_H
#define ACTORS_PRESENCE_PRESENCE_SCRIPTS_H

enum { PRESENCE_SHARD_DIGITS = 12, PRESENCE_TERM_DIGITS = 4 };

enum presence_script {
    /*
     * ARGV: place, version, node, number of the last one (0: this is the first of the place),
     * lifetime of the place, lifetime of the key, connections, 1 where all that the shard has is
     * known with this one (then its earlier places end), channel, and user, connections for each
     * that changed. Those are published: `<version> <number of changes> <node>`, and each user
     * behind a line feed. Answers 0 where the place is not there as it was left; else 1, how many
     * users there are, the number of changes, and for each place its name, what is left of its life
     * (0 or less: none), version, connections and node.
     */
    PRESENCE_SCRIPT_TELL,
    /* ARGV: cursor, how many to look at, places that have ended, each followed by a comma: takes
     * them out. Answers the next cursor, "0" at the end: then they are not places any more. */
    PRESENCE_SCRIPT_SWEEP,
    /* ARGV: users. Answers for each nil, or node, connections of each place that counts. */
    PRESENCE_SCRIPT_LOOK,
    PRESENCE_SCRIPT_COUNT,
};

/* Their texts. */
extern const char *const presence_scripts[PRESENCE_SCRIPT_COUNT];

#endif
