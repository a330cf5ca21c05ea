// SPDX-License-Identifier: Apache-2.0
// A topic of a million subscribers, with PEAL_FULL=1 only; the smaller ones are in topics.test.mjs and topics_large.test.mjs.
import { after, before, test } from 'node:test';
import { FULL } from './support/siege.mjs';
import { compareCosts, TopicRig, tryTopic } from './support/topic.mjs';

const skip = FULL ? false : 'runs with PEAL_FULL=1';
let rig;
before(async () => {
  if (FULL) rig = await TopicRig.start();
});
after(() => rig?.stop());

test('a post to a topic of a million costs what one to a small topic does', { skip }, (t) => (
  compareCosts(t, rig, [1_000, 1_000_000])));

test('a topic of a million, two thousand of them online', { skip }, (t) => (
  tryTopic(t, rig, { count: 1_000_000, online: 2_000, away: 1_000 })));
