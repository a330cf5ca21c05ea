/* SPDX-License-Identifier: Apache-2.0 */
/*
 * behaviours - the number of each kind of actor: behaviour.id.
 */
#ifndef ACTORS_BEHAVIOURS_H
#define ACTORS_BEHAVIOURS_H

enum behaviour_id {
    BEHAVIOUR_FANOUT,
    BEHAVIOUR_INGEST,
    BEHAVIOUR_ROOM,
    BEHAVIOUR_SEQUENCER,
    BEHAVIOUR_USER,
};

#endif
