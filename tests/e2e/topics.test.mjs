// SPDX-License-Identifier: Apache-2.0
// What a post to a topic costs, by the number of subscribers, and all that one of a thousand must do on two
// nodes: who has it, what is taken back, and that a node which is killed takes nothing with it.
import { after, before, test } from 'node:test';
import { compareCosts, TopicRig, tryTopic } from './support/topic.mjs';

let rig;
before(async () => {
  rig = await TopicRig.start();
});
after(() => rig?.stop());

test('a post to a large topic costs what one to a small topic does', (t) => compareCosts(t, rig, [1_000, 100_000]));

test('a topic of a thousand', (t) => tryTopic(t, rig, { count: 1_000, online: 500, away: 500 }));
