// SPDX-License-Identifier: Apache-2.0
// Inboxes of many thousand rows: marking all of them keeps nobody waiting, is exact at every step, and a
// hub that is killed in the middle leaves what the rows say.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { inboxOf, newUser, overSocketIo, overWs, POSTS, stores } from './support/inbox.mjs';
import { until } from './support/wait.mjs';

const ROWS = 12_000;

// Each with a key: what a slow machine does not answer in time is posted again.
async function fill(hub, user) {
  for (let i = 0; i < ROWS; i += 500) {
    const posts = Array.from({ length: 500 }, (_, n) => ({ user, type: 'note', title: `n${i + n}`, key: `${i + n}` }));
    await until(async () => {
      const { status, body } = await hub.api('POST', POSTS, posts);
      return status === 200 && body.results.every((one) => one.status < 300);
    }, 'the rows are stored', 60_000);
  }
}

const post = async (hub, user) => {
  const { status, body } = await hub.api('POST', POSTS, { user, type: 'note', title: 'one more' });
  assert.equal(status, 201, JSON.stringify(body));
};

// What the counters say, and what the rows do.
async function counted(hub, user) {
  const { body } = await hub.api('GET', `/api/v1/users/${user}/counts?by=type`);
  const rows = Object.values(body.by).reduce((sum, { unread }) => sum + unread, 0);
  assert.equal(rows, body.unread, 'the counter is what the rows say');
  return body.unread;
}

for (const [name, start] of Object.entries(stores)) {
  describe(name, () => {
    let rig;
    before(async () => {
      rig = await start();
    });
    after(() => rig?.stop());

    test('who marks all of a large inbox keeps nobody waiting', async () => {
      const user = newUser();
      const [first, second] = rig.hubs;
      await fill(first, user);
      const devices = [await overSocketIo(first, user), await overWs(second, user, 'json')];
      const order = [];
      const mark = first.api('POST', `${inboxOf(user)}/read-all`).finally(() => order.push('mark'));
      const other = post(first, newUser()).finally(() => order.push('post'));
      await until(() => devices[0].states.length > 0, 'the first step is told');
      await post(first, user); // came behind the call
      const { status, body } = await mark;
      await other;
      assert.deepEqual(order, ['post', 'mark']);
      assert.equal(status, 200, JSON.stringify(body));
      assert.equal(body.changed, ROWS);
      assert.equal(await counted(first, user), 1, 'what came behind the call stays unread');
      for (const device of devices) {
        await until(() => device.rev >= body.rev && device.counts.at(-1)?.count === 1, 'the device has all of it');
        const read = new Set(); // the seqs that it was told of
        for (const { upTo = 0, ids = [] } of device.states) {
          for (let seq = 1; seq <= upTo; seq++) read.add(seq);
          ids.forEach((id) => read.add(id));
        }
        assert.equal(device.resyncs.length, 0);
        assert.ok(!read.has(ROWS + 1));
        assert.ok(device.states.every(({ ids = [] }) => ids.length <= 1000));
        assert.ok(device.states.length >= ROWS / 1000, `${device.states.length} steps`);
      }
      const away = await devices[0].ask('notification:sync', { epoch: devices[0].ready.epoch, rev: ROWS });
      assert.equal(away.resync, true, 'a list is smaller than what it missed');
      const again = await first.api('POST', `${inboxOf(user)}/read-all`);
      assert.equal(again.body.changed, 1);
      assert.equal(await counted(first, user), 0);
    });
  });
}

test('a hub that is killed while it marks all leaves whole steps', async () => {
  const hub = await startHub();
  try {
    const user = newUser();
    await fill(hub, user);
    const device = await overSocketIo(hub, user);
    const mark = hub.api('POST', `${inboxOf(user)}/read-all`).catch((error) => error);
    await until(() => device.states.length > 0, 'the first step is told');
    device.client.close();
    await hub.kill();
    await mark;
    await hub.restart();
    const left = await counted(hub, user);
    assert.equal(left % 1000, 0, `${left} are unread`);
    assert.ok(left < ROWS);
    const { status, body } = await hub.api('POST', `${inboxOf(user)}/read-all`);
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(body.changed, left);
    assert.equal(await counted(hub, user), 0);
  } finally {
    await hub.stop();
  }
});
