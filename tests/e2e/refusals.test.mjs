// SPDX-License-Identifier: Apache-2.0
// What is wrong with a client's event is named in `field`: of every event that the reference
// knows, over Socket.IO and /ws, in the answer or, where none was asked for, in `error`.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { until, within } from './support/wait.mjs';

const ROOM = /1 to 200 bytes/;
const ID = '01980000-0000-7000-8000-000000000000';
const MANY = Array.from({ length: 1001 }, () => ID);

const rooms = [
  [undefined, 'roomId', ROOM],
  [7, 'roomId', ROOM],
  [{}, 'roomId', ROOM],
  [{ roomId: 'a/b' }, 'roomId', ROOM],
  ['x'.repeat(201), 'roomId', ROOM],
];
const typing = [
  ...rooms,
  [{ customerId: 'a/b' }, 'customerId', /a number, or a text/],
  [{ customerId: [] }, 'customerId', /a number, or a text/],
  [{ roomId: 'a/b', customerId: 1 }, 'roomId', ROOM],
];
const TOPIC = /A topic: 1 to 200 bytes/;
const topics = [
  [undefined, 'topic', TOPIC],
  [7, 'topic', TOPIC],
  [{}, 'topic', TOPIC],
  [{ topic: 'a/b' }, 'topic', TOPIC],
  [{ topik: 'a' }, 'topik', /known here: topic/],
  ['x'.repeat(201), 'topic', TOPIC],
];
const KEY = /A key: 1 to 200 bytes/;
const USERS = /1 to 1000 user ids/;
const FOLLOWED = /1 to 500 user ids/;
const every = [
  [{ type: '' }, 'type', /1 to 256 bytes/],
  [{ type: 7 }, 'type', /1 to 256 bytes/],
  [{ ifRev: -1 }, 'ifRev', /a number/],
  [{ limt: 1 }, 'limt', /Unknown field; known here: type, ifRev/],
];
const alls = [[7, undefined, /type\?, ifRev\?/], ['nonsense', undefined, /type\?, ifRev\?/], ...every];
const marks = [
  [undefined, 'ids', /One of ids, id, upTo, all/],
  [{}, 'ids', /One of ids, id, upTo, all/],
  [{ ids: [ID], all: true }, 'ids', /One of ids, id, upTo, all/],
  ['nonsense', 'id', /id of a notification/],
  [{ id: 'nonsense' }, 'id', /id of a notification/],
  [[], 'ids', /1 to 1000 ids/],
  [['nonsense'], 'ids', /1 to 1000 ids/],
  [{ ids: [7] }, 'ids', /1 to 1000 ids/],
  [MANY, 'ids', /1000 ids/, 'too_large'],
  [{ upTo: -1 }, 'upTo', /a number/],
  [{ upTo: '1' }, 'upTo', /a number/],
  [{ all: false }, 'all', /true/],
  [{ id: ID, type: 't' }, 'type', /Not with ids/],
  ...every.map(([argument, field, allowed]) => [{ all: true, ...argument }, field, field === 'limt' ? /Unknown field/ : allowed]),
];
const snooze = [
  ...marks,
  [ID, 'until', /A time to come/],
  [{ id: ID, until: 1 }, 'until', /at most 400 days ahead/],
  [{ id: ID, until: Date.now() + 401 * 86_400_000 }, 'until', /at most 400 days ahead/],
  [{ id: ID, until: 'tomorrow' }, 'until', /ISO 8601/],
];

// Event -> what it is sent with, the member at fault, and what its answer says is allowed; a code
// where it is another one.
const REFUSED = {
  join_room: rooms,
  leave_room: rooms,
  subscribe: [
    [undefined, 'companyId', /a number, or a text/],
    [{}, 'companyId', /a number, or a text/],
    [{ companyId: 'a/b' }, 'companyId', /a number, or a text/],
    [{ companyId: true }, 'companyId', /a number, or a text/],
  ],
  'presence:query': [
    [undefined, 'users', USERS],
    [7, 'users', USERS],
    [{}, 'users', USERS],
    [{ users: 'anna' }, 'users', USERS],
    [{ users: [] }, 'users', USERS],
    [[], 'users', USERS],
    [{ users: [7] }, 'users', USERS],
    [['a/b'], 'users', USERS],
    [{ users: ['x'.repeat(129)] }, 'users', USERS],
    [{ users: ['anna'], usres: [] }, 'usres', /known here: users/],
    [Array.from({ length: 1001 }, (_, i) => `u${i}`), 'users', /At most 1000 users/, 'too_large'],
  ],
  'presence:set': [
    [undefined, 'visible', /true or false/],
    [true, 'visible', /true or false/],
    [{}, 'visible', /true or false/],
    [{ visible: 'no' }, 'visible', /true or false/],
    [{ visible: 0 }, 'visible', /true or false/],
    [{ visible: false, visibel: 1 }, 'visibel', /known here: visible/],
  ],
  'presence:subscribe': [
    [undefined, 'users', FOLLOWED],
    [7, 'users', FOLLOWED],
    [{}, 'users', FOLLOWED],
    [{ users: 'anna' }, 'users', FOLLOWED],
    [{ users: [] }, 'users', FOLLOWED],
    [[], 'users', FOLLOWED],
    [{ users: [7] }, 'users', FOLLOWED],
    [['a/b'], 'users', FOLLOWED],
    [{ users: ['x'.repeat(129)] }, 'users', FOLLOWED],
    [{ users: ['anna'], usres: [] }, 'usres', /known here: users/],
    [Array.from({ length: 501 }, (_, i) => `u${i}`), 'users', /follows at most 500/, 'too_large'],
  ],
  'presence:unsubscribe': [
    [undefined, 'users', FOLLOWED],
    [7, 'users', FOLLOWED],
    [{}, 'users', FOLLOWED],
    [{ users: 'anna' }, 'users', FOLLOWED],
    [{ users: [] }, 'users', FOLLOWED],
    [[], 'users', FOLLOWED],
    [{ users: [7] }, 'users', FOLLOWED],
    [['a/b'], 'users', FOLLOWED],
    [{ users: ['x'.repeat(129)] }, 'users', FOLLOWED],
    [{ users: ['anna'], usres: [] }, 'usres', /known here: users/],
    [Array.from({ length: 501 }, (_, i) => `u${i}`), 'users', /follows at most 500/, 'too_large'],
  ],
  send_message: [
    ...rooms.filter(([argument]) => typeof argument !== 'string'),
    [{ roomId: 'public:a' }, 'message', /1 to 1000 characters/],
    ['public:a', 'message', /1 to 1000 characters/],
    [{ roomId: 'public:a', message: '' }, 'message', /1 to 1000 characters/],
    [{ roomId: 'public:a', message: 'x'.repeat(1001) }, 'message', /1 to 1000 characters/],
    [{ roomId: 'public:a', message: 7 }, 'message', /1 to 1000 characters/],
    [{ roomId: 'public:a', message: 'x', type: 7 }, 'type', /at most 62 bytes/],
    [{ roomId: 'public:a', message: 'x', type: 'x'.repeat(63) }, 'type', /at most 62 bytes/],
  ],
  'typing:start': typing,
  'typing:stop': typing,
  'notification:list': [
    [7, undefined, /an object of parameters/],
    [{ after: 'x' }, 'after', /page before/],
    [{ limit: 0 }, 'limit', /1 to 100/],
    [{ limit: 101 }, 'limit', /1 to 100/],
    [{ state: 'open' }, 'state', /unread, seen, read, archived, snoozed/],
    [{ priority: ['low', 'lower'] }, 'priority', /low, medium, high, urgent/],
    [{ order: 'up' }, 'order', /desc or asc/],
    [{ from: 'yesterday' }, 'from', /ISO 8601/],
    [{ to: {} }, 'to', /ISO 8601/],
    [{ fields: 'x' }, 'fields', /title/],
    [{ nulls: 'keep' }, 'nulls', /omit/],
    [{ type: '' }, 'type', /1 to 20 types/],
    [{ type: 'x'.repeat(1025) }, 'type', /1024 bytes/],
    [{ limt: 1 }, 'limt', /known here: after, fields/],
    [{ [`a${'ж'.repeat(60)}`]: 1 }, `a${'ж'.repeat(31)}`, /known here/], // 64 bytes, cut between characters
  ],
  'notification:sync': [
    ['x', undefined, /epoch, rev/],
    [{ rev: 'x' }, 'rev', /number/],
    [{ rev: -1 }, 'rev', /number/],
    [{ rev: 1, epoch: 7 }, 'epoch', /hub:ready/],
  ],
  'notification:read': marks,
  'notification:unread': marks,
  'notification:seen': marks,
  'notification:archive': marks,
  'notification:unarchive': marks,
  'notification:delete': marks,
  'notification:snooze': snooze,
  'notification:read_all': alls,
  'notification:seen_all': alls,
  'notification:received': [
    ['x', undefined, /upTo/],
    [{}, 'upTo', /a number/],
    [{ upTo: 'x' }, 'upTo', /a number/],
  ],
  'device:register': [
    [undefined, undefined, /describes a device/],
    ['x', undefined, /describes a device/],
    [{}, 'platform', /web, android, ios or other/],
    [{ platform: 'web', token: 't' }, 'token', /subscription/],
    [{ platform: 'web', subscription: { endpoint: 'https://a' } }, 'subscription.keys', /p256dh and auth/],
    [{ platform: 'ios', token: 'xyz' }, 'token', /hexadecimal/],
    [{ platform: 'other', token: 't', name: 'n' }, 'name', /id, platform, subscription, token, locale, timezone/],
    [{ platform: 'other', token: 't', id: 7 }, 'id', /UUID/],
    [{ platform: 'other', token: 't', timezone: 'Mars/Base' }, 'timezone', /IANA/],
  ],
  'device:state': [
    [undefined, undefined, /foreground, id/],
    [{}, 'foreground', /true or false/],
    [{ foreground: true }, 'id', /registered/],
    [{ foreground: true, id: 7 }, 'id', /UUID/],
  ],
  'device:remove': [
    ['x', undefined, /or nothing/],
    [{}, 'id', /registered/],
    [{ id: 'x' }, 'id', /UUID/],
  ],
  'preferences:get': [],
  'preferences:set': [
    [undefined, undefined, /an object/],
    ['x', undefined, /an object/],
    [{ zone: 'UTC' }, 'zone', /timezone, muteUntil, quiet, types/],
    [{ timezone: 'Mars/Base' }, 'timezone', /IANA/],
    [{ muteUntil: 'soon' }, 'muteUntil', /ISO 8601/],
    [{ quiet: { from: '25:00', to: '07:00' } }, 'quiet.from', /00:00 to 23:59/],
    [{ types: { comment: { inbox: 'no' } } }, 'types.comment.inbox', /true, false/],
    [{ types: { comment: { digest: '1s' } } }, 'types.comment.digest', /1m to 30d/],
  ],
  'topic:subscribe': topics,
  'topic:unsubscribe': topics,
  'topic:list': [
    [7, undefined, /after, limit/],
    [{ after: 7 }, 'after', /page/],
    [{ limit: 0 }, 'limit', /1 to 1000/],
    [{ limit: 1001 }, 'limit', /1 to 1000/],
  ],
  'room:history': [...rooms, [{ roomId: 'public:a' }, undefined, /Not in this room/, 'forbidden']],
  'value:get': [
    [undefined, 'key', KEY],
    [7, 'key', KEY],
    [{}, 'key', KEY],
    [{ key: 'a/b' }, 'key', KEY],
    ['x'.repeat(201), 'key', KEY],
  ],
  'auth:refresh': [
    [undefined, 'token', /token/, 'unauthorized'],
    [{}, 'token', /token/, 'unauthorized'],
    [{ token: 'nonsense' }, 'token', /token/, 'unauthorized'],
  ],
  'hub:pong': [], // has no argument, nor an answer
};

const args = (argument) => (argument === undefined ? [] : [argument]);

async function connectSocketIo(hub, user) {
  const socket = hub.socketIo(user, { reconnection: false });
  const errors = [];
  socket.on('error', (error) => errors.push(error));
  await within(new Promise((resolve) => socket.once('hub:ready', resolve)), 'hub:ready');
  return {
    errors,
    emit: (...what) => socket.emit(...what),
    request: (...what) => socket.timeout(30_000).emitWithAck(...what),
    close: () => socket.close(),
  };
}

async function connectPlain(hub, user) {
  const client = await hub.plain(user);
  return {
    get errors() {
      return client.received('error').map(([error]) => error);
    },
    emit: (...what) => client.emit(...what),
    request: (...what) => client.request(...what),
    close: () => client.close(),
  };
}

describe('what is wrong with an event is named', () => {
  let hub;
  before(async () => {
    const rates = ['messages', 'joins', 'typing', 'inbox'].map((name) => `  ${name}_burst = 10000`);
    hub = await startHub({ config: `limits {\n${rates.join('\n')}\n}` });
  });
  after(() => hub?.stop());

  test('the table has every event of the reference', () => {
    const page = readFileSync(new URL('../../docs/reference/events.md', import.meta.url), 'utf8');
    const part = page.split(/^## /m).find((text) => text.startsWith('From clients'));
    const events = [...part.matchAll(/^### (.+)$/gm)].map(([, name]) => name).filter((name) => name !== 'Others');
    assert.deepEqual(Object.keys(REFUSED).sort(), events.sort());
  });

  for (const [name, connect] of Object.entries({ 'Socket.IO': connectSocketIo, '/ws': connectPlain })) {
    test(`in the answer on ${name}, and in error where none was asked for`, async () => {
      const client = await connect(hub, 'wren');
      const told = [];
      for (const [event, rows] of Object.entries(REFUSED)) {
        for (const [argument, field, allowed, code = 'invalid_field'] of rows) {
          const what = `${event} ${JSON.stringify(argument)?.slice(0, 80)}`;
          const answer = await client.request(event, ...args(argument));
          assert.equal(answer.ok, false, what);
          assert.equal(answer.error, code, what);
          assert.equal(answer.field, field, what);
          assert.match(answer.message, allowed, what);
          client.emit(event, ...args(argument));
          told.push({ code, message: answer.message, ...(field && { field }), event });
        }
      }
      await until(() => client.errors.length >= told.length, 'an error for each');
      assert.deepEqual(client.errors, told);
      client.close();
    });
  }
});
