// SPDX-License-Identifier: Apache-2.0
// What users write with the types of clients/node. Compiled by types.test.mjs, never run; each line
// behind @ts-expect-error must be an error.
import express, { type RequestHandler } from 'express';
import Default, { PealError, PealServer, type Middleware, type Notification, type Post } from '@peal/server';

interface Invoice {
  invoice: number;
}

interface Customer {
  id: string;
  name: string;
}

const peal = new PealServer({ url: 'https://hub.example', key: 'key', tenant: 'one', values: { prefix: 'shop', ttl: 60 } });
const same: PealServer = new Default({ url: 'https://hub.example', key: 'key', fetch });
declare function load(id: string): Promise<Customer>;

async function post(signal: AbortSignal): Promise<void> {
  const { id, duplicate } = await peal.post({ user: 42, type: 'invoice', data: { invoice: 7 }, expires_at: new Date() });
  const posts: Post<Invoice>[] = [{ users: ['1', '2'], type: 'invoice', data: { invoice: 7 } }];
  const { results } = await peal.post(posts, { signal, timeout: 500, retries: 5, idempotencyKey: 'k' });
  console.log(id?.length, duplicate, results[0]?.status.toFixed(), results[0]?.error?.field);
  await peal.publish({ event: 'update', args: [{ done: true }], to: { rooms: ['public:a'] }, volatile: true });
  await peal.publish([{ event: 'update', to: { all: true } }]);
  await peal.takeBack('id', { undelivered: true });
  const { items, next } = await peal.notifications<Invoice>('42', { state: ['unread', 'seen'], limit: 10 });
  const first: Notification<Invoice> | undefined = items[0];
  const { pagination } = await peal.notifications('42', { page: 2 });
  console.log(first?.data.invoice, next, pagination.total);
  await peal.mark('42', 'snooze', { ids: ['x'], until: new Date() });
  await peal.mark('42', 'read-all');
  for await (const line of peal.export<Invoice>('42')) if (line.type === 'notification') line.notification.data.invoice.toFixed();
  for await (const user of peal.all((page) => peal.subscribers('news', page))) user.toUpperCase();
  const answer = await peal.request<{ ok: boolean }>('GET', '/api/v1/topics', { query: { limit: 1 } });
  console.log(answer.ok);

  // @ts-expect-error one target
  await peal.post({ user: '1', topic: 'news', type: 'a' });
  // @ts-expect-error a type is needed
  await peal.post({ user: '1' });
  // @ts-expect-error events go to one kind
  await peal.publish({ event: 'update', to: { rooms: ['a'], all: true } });
  // @ts-expect-error no such mark
  await peal.mark('42', 'forget', 'id');
  // @ts-expect-error no such state
  await peal.notifications('42', { state: 'gone' });
}

async function values(): Promise<void> {
  const { version } = await peal.values.set('a', { x: 1 }, { ttl: 60, tags: ['t'], ifVersion: 0 });
  const value: { x: number } | null = await peal.values.get<{ x: number }>('a');
  const [one] = await peal.values.mget<number>(['a', 'b']);
  const put = await peal.values.mset([{ key: 'a', value: 1, ttl: 5 }]);
  if (put[0]?.error) console.log(put[0].error.code);
  else put[0]?.version.toFixed();
  const count: number = await peal.values.increment('n', { by: 2, ttl: 60 });
  const device = await peal.setDevice('u', 'id', { platform: 'ios', token: '00' });
  await peal.removeDevice('u', (await peal.devices('u'))[0]?.id ?? device.id);
  console.log(version, value?.x, one?.toFixed(), count, await peal.values.invalidate({ pattern: 'a:*' }));
  const lease = await peal.values.lease<Customer>('c', { wait: 2 });
  if ('fill' in lease) lease.fill?.length;
  else lease.value.name.length;
  const customer: Customer = await peal.values.cacheAside('c:7', () => load('7'), { ttl: 60, tags: ({ id }) => [id] });
  const date: Date = await same.values.getOrSet('d', () => new Date(), { deserialize: (text: string) => new Date(text) });
  const cached = peal.cacheable(load, { ttl: 60, tags: (result, id) => [result.name, id] });
  const again: Customer = await cached('7');
  await cached.forget('7');
  const time: Promise<number> = peal.track('sum', async () => 1);
  const { queryBreakdown } = peal.tracked;
  console.log(customer.name, date.getTime(), again.name, await time, queryBreakdown['sum']?.p99);

  // @ts-expect-error arguments as the function has them
  await cached(7);
  // @ts-expect-error unknown must be looked at
  (await peal.values.get('a')).x;
  // @ts-expect-error a Values comes from a PealServer
  new (peal.values.constructor as typeof import('@peal/server').Values)();
}

const app = express();
const handler: RequestHandler = peal.cacheMiddleware(300);
const plain: Middleware = peal.invalidateCacheMiddleware();
app.use(plain);
app.get('/customers/:id', handler, (req, res) => res.json({ id: req.params.id }));
app.get('/all', peal.cacheMiddleware<express.Request>({ ttl: 60, shared: true, key: (req) => req.path, vary: ['accept-language'] }));
app.post('/customers', peal.invalidateCacheMiddleware((req: express.Request) => [req.path]), (req, res) => res.end());
// @ts-expect-error no such option
peal.cacheMiddleware({ seconds: 5 });

const stop: () => void = peal.on('away', ({ error }) => console.log(error.code, error.temporary));
peal.on('back', ({ since, passed }) => console.log(since.getTime(), passed.toFixed()));
peal.on('slow', ({ name, executionTime }) => console.log(name, executionTime));
// @ts-expect-error no such event
peal.on('gone', () => {});
stop();

Promise.all([post(new AbortController().signal), values()]).catch((error: unknown) => {
  if (error instanceof PealError && error.code === 'invalid_field') console.log(error.field, error.status, error.uncertain);
});
