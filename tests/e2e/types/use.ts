// SPDX-License-Identifier: Apache-2.0
// What users write with the types of clients/js. Compiled by types.test.mjs, never run; each line
// behind @ts-expect-error must be an error.
import Default, { Inbox, Notification, Peal, PealError, type ClientState } from 'peal-client';

interface Invoice {
  invoice: number;
}

const peal = new Peal<Invoice>();

async function use(): Promise<void> {
  const same: Peal<Invoice> = await peal.connect('https://hub.example', { token: async () => 'token' });
  const inbox: Inbox<Invoice> = same.inbox;
  const listens: boolean = new Peal({ stream: 'auto' }).oneWay || new Peal({ stream: true }).oneWay;
  if (!listens) same.emit('ping');
  peal.inbox.on('notification', (item) => item.data.invoice.toFixed());
  peal.on('notification', ({ data, priority }) => [data.invoice.toFixed(), priority === 'urgent']);
  inbox.on('change', ({ items, unread, loaded }) => [items[0]?.data.invoice, unread.toFixed(), loaded]);
  const { items, next } = await inbox.list({ state: 'unread', limit: 10 });
  await inbox.list({ state: ['seen', 'read'], priority: 'high,urgent', type: ['note'], order: 'asc', from: 0 });
  const { pagination } = await inbox.list({ page: 2, search: 'order', priority: ['high', 'urgent'] });
  if (pagination.hasNext) pagination.total.toFixed();
  const numbers: number[] = items.map(({ data }) => data.invoice);
  const cursor: string | null = next;
  await inbox.markRead(items.map(({ id }) => id));
  await inbox.archive({ upTo: 7 });
  const { changed, conflict } = await inbox.unarchive({ ids: ['x'], ifRev: 7 });
  const gone: string[] = conflict.concat(changed as string[]);
  await inbox.snooze(gone, new Date());
  await inbox.snooze({ all: true, type: 'note' }, null);
  await inbox.delete('x');
  const stop: () => void = peal.on('client:state', (detail: ClientState) => {
    if (detail.state === 'waiting') detail.retryIn.toFixed();
    if (detail.state === 'closed') detail.code.toFixed();
  });
  stop();
  peal.on('task_progress', (body) => body.percentage);
  const { epoch, offset, recovered } = await peal.join('chat:a', { since: { epoch: 'e', offset: 'o' } });
  if (epoch !== undefined && offset !== undefined && !recovered) await peal.join('chat:b', { since: { epoch, offset } });
  peal.on('room:resync', (room) => [room.roomId.length, room.epoch.length, room.offset.length]);
  // @ts-expect-error: a position has both
  await peal.join('chat:a', { since: { epoch: 'e' } });
  const answer = await peal.request<{ items: Notification<Invoice>[] }>('notification:list', {});
  const first: Invoice | undefined = answer.items[0]?.data;
  const { id } = await peal.send('public:lobby', 'hello', { nonce: 'n1' });
  console.log(numbers, cursor, first, id);
  if (peal.push.supported) console.log((await peal.push.subscribe({ worker: '/sw.js' })).id, await peal.push.unsubscribe());
  const device = await peal.registerDevice({ platform: 'web', subscription: {}, locale: 'de' });
  if (!(await peal.setForeground(true)).foreground) await peal.removeDevice(device.id);
  // @ts-expect-error: a token is no subscription
  await peal.registerDevice({ platform: 'web', token: 't' });

  // @ts-expect-error data has no such field
  peal.inbox.on('notification', (item) => item.data.amount);
  // @ts-expect-error items are replaced, never changed
  inbox.items.push(items[0]);
  const { value, stale } = await peal.value<{ limit: number }>('board:limits');
  if (stale !== true) console.log(value.limit.toFixed());
  // @ts-expect-error an inbox comes from a Peal
  new Inbox();
  // @ts-expect-error no such state
  await inbox.list({ state: 'gone' });
  // @ts-expect-error a token is needed
  await peal.connect('https://hub.example');
}

// Where nothing is said about data it is unknown, and must be looked at before it is used.
const untyped = new Default();
untyped.inbox.on('notification', ({ data, title }) => {
  // @ts-expect-error unknown
  data.invoice;
  if (typeof data === 'string') title.concat(data);
});

use().catch((error: unknown) => {
  if (error instanceof PealError && error.code === 'closed') console.log(error.closeCode, error.temporary);
});
