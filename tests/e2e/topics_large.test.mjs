// SPDX-License-Identifier: Apache-2.0
// A topic of a hundred thousand subscribers on two nodes: those who are online have a post, those who come
// later too, taking it back reaches all, and a node which is killed in the middle takes nothing with it.
import { after, before, test } from 'node:test';
import { TopicRig, tryTopic } from './support/topic.mjs';

let rig;
before(async () => {
  rig = await TopicRig.start();
});
after(() => rig?.stop());

test('a topic of a hundred thousand, two thousand of them online', (t) => (
  tryTopic(t, rig, { count: 100_000, online: 2_000, away: 1_000 })));
