// SPDX-License-Identifier: Apache-2.0
// stop_moments - G4: a hub is asked to end (SIGTERM), or killed, at random moments while posters post
// and clients come and go. An end that was asked for is exit 0 within its deadline; whatever was
// accepted is stored, once, after each of them; clients that stay are told.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { startHub } from './support/hub.mjs';
import { temporaryFolder } from './support/process.mjs';
import { RawPeer } from './support/raw.mjs';
import { FULL } from './support/siege.mjs';

const MOMENTS = FULL ? 1000 : 8;
const BUDGET = 200_000; // ms: on a machine that is busy there are fewer of them
const LINES = FULL ? 4 : 2; // hubs at a time
const USERS = 7;
const LATEST = 400; // ms behind the start
const ARGS = ['--drain-deadline', '1s', '--limits-unauthenticated-per-address', '100000', '--limits-api-per-minute', '1000000'];

const seed = Number(process.env.PEAL_SEED ?? randomInt(1, 0x7fffffff));

// Numbers below a bound, from a seed of their own for each line of hubs.
function dice(from) {
  let state = from % 0x7fffffff || 1;
  return (below) => (state = (state * 48_271) % 0x7fffffff) % below;
}

// Post one by one until the hub has gone; `accepted` gets what it said yes to.
async function post(hub, name, accepted, life) {
  for (let n = 0; !life.over; n++) {
    const user = `u${n % USERS}`;
    try {
      const { status, body } = await hub.api('POST', '/api/v1/notifications', { user, type: 'x', title: 't', message: 'm', key: `${name}-${n}` });
      if (status === 201) accepted.push({ user, id: body.id });
      else assert.equal(status, 503, 'one that is ending says so');
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      return; // the listener has gone
    }
  }
}

// Sockets of both protocols that go at once, later or not at all.
async function visit(hub, draw, life) {
  const peers = [];
  while (!life.over) {
    try {
      const peer = await RawPeer[draw(2) ? 'plain' : 'socketIo'](hub.address, hub.token(`u${draw(USERS)}`));
      const stays = draw(3);
      peers.push(peer);
      if (stays === 0) peer.destroy();
      else if (stays === 1) setTimeout(() => peer.destroy(), draw(300)).unref();
    } catch {
      break;
    }
  }
  return () => peers.forEach((peer) => peer.destroy());
}

// Everything that was accepted lies in the store, and nothing twice.
async function check(folder, accepted, what) {
  const hub = await startHub({ folder, args: ARGS });
  const ids = new Set(accepted.map(({ id }) => id));
  assert.equal(ids.size, accepted.length, `${what}: an id was given twice`);
  const step = Math.ceil(accepted.length / 200) || 1;
  for (let n = 0; n < accepted.length; n += step) {
    const { status } = await hub.api('GET', `/api/v1/notifications/${accepted[n].id}`);
    assert.equal(status, 200, `${what}: ${accepted[n].id} of ${accepted[n].user} was accepted`);
  }
  await hub.stop();
}

async function endOnce(folder, draw, name, accepted) {
  const hub = await startHub({ folder, args: ARGS });
  const life = { over: false };
  const posters = [post(hub, `${name}-a`, accepted, life), post(hub, `${name}-b`, accepted, life)];
  const visitors = visit(hub, draw, life);
  await pause(draw(LATEST));
  if (draw(8) === 0) await hub.kill();
  else await hub.stop(); // throws unless it exits with 0
  life.over = true;
  await Promise.all(posters);
  (await visitors)();
  assert.doesNotMatch(hub.log, /Sanitizer|runtime error:|check failed/, name);
}

test('G4 the end at random moments under load', async (context) => {
  const deadline = Date.now() + BUDGET;
  const state = { begun: 0, ended: 0 };
  const line = async (number) => {
    const draw = dice(seed + number * 7919);
    const folder = temporaryFolder(`g4-${number}`);
    const accepted = [];
    while (state.begun < MOMENTS && Date.now() < deadline) {
      const moment = state.begun++;
      await endOnce(folder, draw, `g4-${seed}-${moment}`, accepted);
      state.ended += 1;
    }
    await check(folder, accepted, `line ${number}`);
    return accepted.length;
  };
  const counts = await Promise.all(Array.from({ length: LINES }, (_, n) => line(n)));
  const posts = counts.reduce((sum, count) => sum + count, 0);
  context.diagnostic(`seed ${seed}: ${state.ended} of ${MOMENTS} moments, ${posts} posts accepted, all stored`);
  assert.ok(posts > 0, 'something was accepted');
});
