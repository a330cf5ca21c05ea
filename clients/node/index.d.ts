// SPDX-License-Identifier: Apache-2.0
// @peal/server - types.

export type Priority = 'low' | 'medium' | 'high' | 'urgent';
/** ISO 8601, ms since 1970, or a Date. */
export type Time = string | number | Date;

// --- calls ------------------------------------------------------------------------------------

/** Of one call, in place of what the client goes by. */
export interface CallOptions {
  signal?: AbortSignal;
  /** ms of one attempt. */
  timeout?: number;
  retries?: number;
}

export type ErrorCode =
  | 'unreachable' | 'disconnected' | 'timeout' | 'bad_answer' | 'incomplete' | 'queue_full'
  | 'bad_request' | 'unauthorized' | 'forbidden' | 'not_found' | 'method_not_allowed' | 'already_delivered'
  | 'key_conflict' | 'version_conflict' | 'lease_lost' | 'too_large' | 'invalid_field' | 'rate_limited'
  | 'internal' | 'unavailable' | 'unknown'
  | (string & {});

export class PealError extends Error {
  constructor(code: ErrorCode, message?: string, detail?: Record<string, unknown>);
  readonly code: ErrorCode;
  /** Of the hub's answer; undefined where there was none. */
  readonly status?: number;
  /** What is missing or wrong; `message` says what is allowed. */
  readonly field?: string;
  /** Its place in a list, from 0. */
  readonly index?: number;
  /** ms */
  readonly retryAfter?: number;
  /** Of a post that has another content under its key (`key_conflict`), or of a value (`version_conflict`). */
  readonly id?: string;
  readonly seq?: number;
  readonly version?: number;
  readonly method?: string;
  readonly path?: string;
  readonly cause?: unknown;
  /** Whether the same call may succeed a little later. */
  readonly temporary: boolean;
  /** Whether it may have been done all the same. */
  readonly uncertain: boolean;
}

export interface PealServerOptions {
  /** Of the hub or of what is in front of it, http or https; a path is kept. */
  url: string;
  /** An API key: each call says which scope it needs. */
  key: string;
  /** For a key that is bound to none, where the hub has tenants. */
  tenant?: string;
  /** ms of one attempt, 10,000. */
  timeout?: number;
  /** Repeats of what may be repeated, 2. */
  retries?: number;
  /** What caches go by. */
  values?: {
    /** In front of every key: `prefix:key`. */
    prefix?: string;
    /** Seconds, in place of the hub's `values.ttl`. */
    ttl?: number;
    /** ms that a cache waits for the hub, 1,000. */
    timeout?: number;
    /** Seconds to wait for who fills, 5. */
    wait?: number;
  };
  /** `track`: from so many ms on something is slow, 100. */
  slow?: number;
  metrics?: {
    /** Milliseconds after which what was gathered is posted, 30,000. */
    every?: number;
    /** What `track` counts is posted, too, as the timer `query` with the tags `name` and `success`. */
    track?: boolean;
  };
  fetch?: typeof fetch;
}

// --- posts ------------------------------------------------------------------------------------

interface PostContent<Data> {
  type: string;
  title?: string;
  message?: string;
  data?: Data;
  priority?: Priority;
  /** The same key of one user is stored once, for ever. */
  key?: string;
  expires_at?: Time;
  deliver_at?: Time;
  collapse?: string;
  tenant?: string;
}

/** A notification to post: exactly one of user, users, topic and all. */
export type Post<Data = unknown> = PostContent<Data> & (
  | { user: string | number; users?: never; topic?: never; all?: never }
  | { users: readonly (string | number)[]; user?: never; topic?: never; all?: never }
  | { topic: string; user?: never; users?: never; all?: never }
  | { all: true; include_new?: boolean; user?: never; users?: never; topic?: never }
);

/** What became of a post; `results` of one to several users. */
export interface Posted {
  id?: string;
  seq?: number;
  duplicate?: boolean;
  status?: 'collapsed' | 'suppressed' | 'scheduled';
  audience?: Audience;
  nobody?: true;
  results?: PostResult[];
}

/** Of a list, or of one of several users: as if it had been posted alone, with the HTTP status of that. */
export interface PostResult {
  status: number;
  user?: string;
  id?: string;
  seq?: number;
  duplicate?: boolean;
  outcome?: 'collapsed' | 'suppressed' | 'scheduled';
  audience?: Audience;
  error?: { code: ErrorCode; message: string; field?: string };
  results?: PostResult[];
}

export interface Audience {
  kind: 'all' | 'topic' | 'list';
  name: string | null;
}

export interface Changes {
  title?: string | null;
  message?: string | null;
  data?: unknown;
  priority?: Priority | null;
  expires_at?: Time | null;
  deliver_at?: Time;
}

export interface PostedEvent {
  event: string;
  args?: readonly unknown[];
  to:
    | { users: readonly (string | number)[]; rooms?: never; all?: never }
    | { rooms: readonly string[]; users?: never; all?: never }
    | { all: true; users?: never; rooms?: never };
  except?: readonly string[];
  volatile?: boolean;
  priority?: Priority;
  tenant?: string;
}

// --- inboxes ----------------------------------------------------------------------------------

export type State = 'unread' | 'seen' | 'read' | 'archived' | 'snoozed';

export interface Notification<Data = unknown> {
  id: string;
  seq: number;
  rev: number;
  newRev: number;
  userId: string;
  type: string;
  title: string;
  message: string;
  data: Data;
  priority: Priority;
  isRead: boolean;
  readAt: string | null;
  createdAt: string;
  expiresAt?: string;
  seenAt?: string;
  archivedAt?: string;
  snoozedUntil?: string;
  collapse?: string;
  count?: number;
  audience?: Audience & { id: string };
}

export interface Page<Item> {
  items: Item[];
  next: string | null;
}

/** One namespace of a connection; `rooms` are the first 20 of `roomCount`. */
export interface Connection {
  sid: string;
  userId: string;
  node: string;
  namespace: string;
  transport: 'websocket' | 'polling' | 'plain' | 'stream';
  address: string;
  since: string | null;
  lastHeard: string | null;
  roomCount: number;
  rooms: string[];
}

export interface NumberedPage<Item> {
  items: Item[];
  pagination: {
    page: number; limit: number; total: number; pages: number; hasNext: boolean; hasPrev: boolean; more?: true;
  };
}

export interface PageQuery {
  after?: string;
  limit?: number;
}

/** A list may be an array, or a text with commas. */
export interface NotificationQuery extends PageQuery {
  page?: number;
  sort?: 'createdAt' | 'priority';
  order?: 'desc' | 'asc';
  search?: string;
  state?: State | readonly State[];
  type?: string | readonly string[];
  priority?: Priority | readonly Priority[];
  from?: Time;
  to?: Time;
  fields?: string | readonly string[];
  nulls?: 'omit';
}

export type Mark =
  'read' | 'unread' | 'seen' | 'archive' | 'unarchive' | 'snooze' | 'delete' | 'read-all' | 'seen-all';

/** An id, a list of ids, everything up to a seq, or all. */
export type Which =
  | string
  | readonly string[]
  | (({ ids: readonly string[] } | { upTo: number; type?: string } | { all: true; type?: string } | { type?: string }) &
      { ifRev?: number; until?: Time | null });

export interface Marked {
  rev: number;
  unread: number;
  unseen: number;
  changed: string[] | number;
  conflict?: string[];
}

export interface Counts {
  unread: number;
  unseen: number;
}

export type DeviceRegistration = { locale?: string | null; timezone?: string | null } & (
  | { platform: 'web'; subscription: object }
  | { platform: 'android' | 'ios' | 'other'; token: string });

/** Tokens and keys are not told. */
export interface Device {
  id: string;
  platform: 'web' | 'android' | 'ios' | 'other';
  /** Of `web`: that of the endpoint. */
  origin?: string;
  locale?: string;
  timezone?: string;
  foreground: boolean;
  createdAt: string;
  registeredAt: string;
}

export interface TypePreferences {
  inbox?: boolean | null;
  push?: boolean | null;
  digest?: string | null;
  limit?: { count: number; per: string } | null;
}

export interface Preferences {
  timezone?: string | null;
  muteUntil?: Time | null;
  quiet?: { from: string; to: string; days?: number[] } | null;
  types?: Record<string, TypePreferences> | null;
}

export interface StoredPreferences extends Preferences {
  types: Record<string, TypePreferences>;
  effective: Record<string, Required<TypePreferences>>;
  rev: number;
}

/** A line of an export. */
export type ExportLine<Data = unknown> =
  | { type: 'inbox'; user: string; tenant?: string; seq: number; rev: number; unread: number; unseen: number; exportedAt: string }
  | { type: 'preferences'; preferences: StoredPreferences }
  | { type: 'device'; device: Device }
  | { type: 'topic'; topic: string }
  | { type: 'notification'; state: State; notification: Notification<Data> }
  | { type: 'end'; notifications: number };

export interface DaySummary {
  day: string;
  posted: number;
  read: number;
  types: Record<string, { posted: number; read: number }>;
  others?: { posted: number; read: number };
}

// --- values -----------------------------------------------------------------------------------

/** What JSON can be made of is up to the caller: a value is `Value` when it was put as one. */
export interface Entry<Value> {
  value: Value;
  version: number;
  expiresAt: string;
  /** It has ended, and somebody fills the next one. */
  stale: boolean;
}

export interface Stored {
  version: number;
  expiresAt: string;
}

export interface KeyOptions extends CallOptions {
  /** In place of `values.prefix`; '': none. */
  prefix?: string;
}

export interface SetOptions extends KeyOptions {
  /** Whole seconds. */
  ttl?: number;
  tags?: readonly string[];
  /** Only if that is its version now; 0: only if it is not there. */
  ifVersion?: number;
  /** What `fill` was. */
  lease?: string;
  compress?: boolean;
}

export interface SetItem<Value = unknown> {
  key: string;
  value: Value;
  ttl?: number;
  tags?: readonly string[];
  ifVersion?: number;
  lease?: string;
  compress?: boolean;
}

interface Caching {
  ttl?: number;
  prefix?: string;
  compress?: boolean;
  /** Seconds to wait for who fills. */
  wait?: number;
  /** ms that the hub may take. */
  timeout?: number;
}

export interface CacheOptions<Value> extends Caching {
  tags?: readonly string[] | ((value: Value) => readonly string[]);
  serialize?: (value: Value) => unknown;
  deserialize?: (stored: any) => Value;
  signal?: AbortSignal;
}

export interface CacheableOptions<Args extends unknown[], Value> extends Caching {
  /** In front of the arguments in its keys; default: the function's. */
  name?: string;
  key?: (...args: Args) => string;
  tags?: readonly string[] | ((value: Value, ...args: Args) => readonly string[]);
  serialize?: (value: Value) => unknown;
  deserialize?: (stored: any) => Value;
}

export interface Cached<Args extends unknown[], Value, This = unknown> {
  (this: This, ...args: Args): Promise<Value>;
  key(...args: Args): string;
  /** Let go what is kept of these arguments. */
  forget(...args: Args): Promise<void>;
}

export interface ValueCounts {
  hits: number;
  misses: number;
  stale: number;
  fills: number;
  /** What was made too late, or let go meanwhile: it was not kept. */
  lost: number;
  /** Questions that the hub did not answer, or refused. */
  failed: number;
  /** Calls that went on without the hub. */
  passed: number;
  /** Tags that the hub has not let go yet. */
  owed: number;
  /** Caches do not ask the hub at present. */
  away: boolean;
}

export interface HubValueStats {
  node: Record<string, number>;
  prefixes: { prefix: string; keys: number; bytes: number }[];
  redis: { usedBytes: number; maxBytes: number } | null;
}

/** Scope `values`. */
export class Values {
  private constructor();
  /** Of this process. */
  readonly counts: ValueCounts;
  /** null: not there, or the hub is away. */
  get<Value = unknown>(key: string, options?: KeyOptions): Promise<Value | null>;
  entry<Value = unknown>(key: string, options?: KeyOptions): Promise<Entry<Value> | null>;
  mget<Value = unknown>(keys: readonly string[], options?: KeyOptions): Promise<(Value | null)[]>;
  set(key: string, value: unknown, options?: number | SetOptions): Promise<Stored>;
  delete(key: string, options?: KeyOptions): Promise<void>;
  mset(items: readonly SetItem[], options?: KeyOptions): Promise<(Stored & { error?: undefined } | { error: PealError })[]>;
  increment(key: string, options?: number | (KeyOptions & { by?: number; ttl?: number })): Promise<number>;
  invalidate(
    what: string | readonly string[] | { tags: readonly string[] } | { pattern: string }, options?: KeyOptions): Promise<number>;
  lease<Value = unknown>(key: string, options?: KeyOptions & { wait?: number }): Promise<Entry<Value> | { fill: string | null }>;
  release(key: string, lease: string, options?: KeyOptions): Promise<void>;
  stats(options?: CallOptions): Promise<HubValueStats>;
  cacheAside<Value>(key: string, fetch: () => Value | Promise<Value>, options?: number | CacheOptions<Value>): Promise<Value>;
  getOrSet<Value>(key: string, fetch: () => Value | Promise<Value>, options?: number | CacheOptions<Value>): Promise<Value>;
  cacheable<This, Args extends unknown[], Value>(
    fn: (this: This, ...args: Args) => Value | Promise<Value>,
    options?: number | CacheableOptions<Args, Value>): Cached<Args, Value, This>;
}

// --- middleware -------------------------------------------------------------------------------

/** As much of a request as middleware looks at; those of Express and of Node are such. */
export interface MiddlewareRequest {
  method?: string;
  url?: string;
  headers: Record<string, string | string[] | undefined>;
}

export interface MiddlewareResponse {
  statusCode: number;
  setHeader(name: string, value: any): unknown;
  end(...args: any[]): unknown;
}

export type Middleware = (req: MiddlewareRequest, res: MiddlewareResponse, next: (error?: any) => void) => void;

export interface CacheMiddlewareOptions<Req = any, Res = any> extends Caching {
  /** The id of who asks; default: `id`, `userId` or `sub` of `req.user`. Without one nothing is kept. */
  user?: (req: Req) => unknown;
  /** One answer for everybody. */
  shared?: boolean;
  /** In place of path and query; null: this one is not kept. */
  key?: (req: Req) => unknown;
  /** Headers of requests on which answers depend: an answer with another one in `Vary` is not kept. */
  vary?: string | readonly string[];
  /** What the answer is about, as tags; default: what the path names. */
  resource?: string | readonly string[] | false | ((req: Req, res: Res) => string | readonly string[] | null | undefined);
  tags?: string | readonly string[] | ((req: Req, res: Res) => string | readonly string[] | null | undefined);
  /** Requests that go by. */
  skip?: (req: Req) => boolean;
  /** The largest answer that is kept, 700,000 bytes. */
  most?: number;
}

export interface InvalidateOptions<Req = any, Res = any> {
  user?: (req: Req) => unknown;
  tags?: string | readonly string[] | ((req: Req, res: Res) => string | readonly string[] | null | undefined);
}

// --- figures ----------------------------------------------------------------------------------

export interface Slow {
  name: string;
  executionTime: number;
  threshold: number;
  timestamp: string;
}

// --- jobs -------------------------------------------------------------------------------------

export interface NewJob<Payload = unknown> {
  queue: string;
  type: string;
  payload?: Payload;
  /** Who is told of its progress (`task_progress`). */
  user?: string;
  /** Of a queue: a repeat gives the first one's id. */
  key?: string;
  run_at?: Date | string | number;
  priority?: 'low' | 'medium' | 'high' | 'urgent';
}

export interface AddedJob { id: string; status: 'added' | 'duplicate' }

export interface LeasedJob<Payload = unknown> {
  id: string;
  queue: string;
  type: string;
  payload: Payload;
  attempt: number;
  user?: string;
  priority: string;
  lease: string;
  until: string;
}

export interface Task<Payload = unknown> extends LeasedJob<Payload> {
  /** Aborted when the lease is lost. */
  readonly signal: AbortSignal;
  progress(percentage: number, stage?: string, message?: string): Promise<void>;
}

export type JobState = 'waiting' | 'delayed' | 'active' | 'completed' | 'failed' | 'dead';

export interface Job<Payload = unknown, Result = unknown> {
  id: string;
  queue: string;
  type: string;
  payload: Payload;
  state: JobState;
  attempt: number;
  stalled: number;
  percentage: number;
  priority: string;
  user?: string;
  stage?: string;
  message?: string;
  worker?: string;
  error?: string;
  result?: Result;
  createdAt: string;
  runAt: string;
  startedAt?: string;
  until?: string;
  endedAt?: string;
}

export interface Queue {
  name: string;
  paused: boolean;
  concurrency: number;
  counts: Record<JobState, number>;
  waitingMs: number;
  activeMs: number;
  nextMs: number;
  completedPerMinute: number;
}

export type JobHandler = (job: Task<any>) => unknown;

export interface JobWorker {
  /** Lease no more; resolves when what is under way has ended. */
  stop(): Promise<void>;
}

/** Scope `jobs`. */
export interface Jobs {
  add(jobs: readonly NewJob[], options?: CallOptions): Promise<{ items: AddedJob[] }>;
  add(job: NewJob, options?: CallOptions): Promise<AddedJob>;
  lease(queues: readonly string[], options?: CallOptions & { max?: number; wait?: number; worker?: string }): Promise<LeasedJob[]>;
  say(id: string, verb: 'progress' | 'complete' | 'fail', body: { lease: string } & Record<string, unknown>, options?: CallOptions):
    Promise<{ id: string; state: JobState; until?: string; runAt?: string }>;
  worker(queue: string | readonly string[], handler: JobHandler | Record<string, JobHandler>, options?: {
    concurrency?: number; name?: string; onError?: (error: Error, job?: Task) => void;
  }): JobWorker;
  get(id: string, options?: CallOptions): Promise<Job>;
  retry(id: string, options?: CallOptions): Promise<{ id: string; state: JobState; runAt: string }>;
  drop(id: string, options?: CallOptions): Promise<void>;
  queues(options?: CallOptions): Promise<Queue[]>;
  list(queue: string, query?: PageQuery & { state?: JobState }, options?: CallOptions): Promise<Page<Job>>;
  pause(queue: string, options?: CallOptions): Promise<{ paused: true; changed: boolean }>;
  resume(queue: string, options?: CallOptions): Promise<{ paused: false; changed: boolean }>;
}

export interface Tracked {
  totalQueries: number;
  slowQueries: number;
  averageExecutionTime: number;
  queryBreakdown: Record<string, {
    count: number; errors: number; avgTime: number; minTime: number; maxTime: number; p50: number; p95: number; p99: number;
  }>;
  /** The slowest first, at most 100. */
  slowestQueries: Slow[];
}

/** None of which each user has another one. */
export type MetricTags = Record<string, string | number | boolean>;

/** Gathered in this process and posted together; what the hub surely did not count is posted again. Scope `metrics`. */
export interface Metrics {
  /** Something has happened `value` (1) times more. */
  count(name: string, value?: number, tags?: MetricTags): void;
  /** Something stands at `value`. */
  gauge(name: string, value: number, tags?: MetricTags): void;
  /** Something took `ms`. */
  time(name: string, ms: number, tags?: MetricTags): void;
  /** Post what is there: before the process ends. Never rejects. */
  flush(): Promise<void>;
  /** Values so far; `dropped` for want of room or because they were too old, `unsure`: it is not known whether they were counted. */
  readonly counts: { posted: number; dropped: number; refused: number; failed: number; unsure: number; waiting: number };
}

export interface MetricFigures {
  requests: number;
  mean: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  errorRate: number | null;
  hitRate: number | null;
  queries: number;
  queryMean: number | null;
  queriesFailed: number;
  jobs: number;
  events: number;
  deliveries: number;
  posts: number;
  connections: number | null;
}

export interface MetricView {
  now: MetricFigures;
  /** null: it is not kept for so long. */
  before: MetricFigures | null;
  points: MetricFigures[];
  series?: Array<{ name: string; type: 'counter' | 'gauge' | 'timer'; unit?: string; tags: Record<string, string> } & Record<string, unknown>>;
}

export interface MetricsSummary {
  from: string;
  to: string;
  /** Seconds of a point. */
  step: number;
  /** false: a part is missing. */
  complete: boolean;
  app: MetricView;
  /** Of the hub itself; not for keys of one tenant. */
  peal?: MetricView;
}

export interface PealServerEvents {
  /** The hub is away: caches go on without it. Told once, until it is back. */
  away: [{ error: PealError }];
  back: [{ since: Date; passed: number }];
  /** What a cache asked or metrics posted was refused, or a function of its options has thrown; told once for each kind. */
  refused: [{ error: Error }];
  slow: [Slow];
}

export class PealServer {
  constructor(options: PealServerOptions);
  readonly values: Values;
  readonly jobs: Jobs;
  readonly metrics: Metrics;
  readonly tracked: Tracked;
  /** Returns a function that stops the listener. */
  on<E extends keyof PealServerEvents>(event: E, listener: (...args: PealServerEvents[E]) => void): () => void;
  off<E extends keyof PealServerEvents>(event: E, listener: (...args: PealServerEvents[E]) => void): this;
  /** Any route; `repeat`: it is the same when it is done twice. */
  request<Answer = unknown>(method: string, path: string, options?: CallOptions & {
    query?: Record<string, unknown>; body?: unknown; headers?: Record<string, string>; repeat?: boolean;
  }): Promise<Answer>;

  /** Scope `publish`. */
  post<Data = unknown>(posts: readonly Post<Data>[], options?: CallOptions & { idempotencyKey?: string }): Promise<{ results: PostResult[] }>;
  post<Data = unknown>(post: Post<Data>, options?: CallOptions & { idempotencyKey?: string }): Promise<Posted>;
  update(id: string, changes: Changes, options?: CallOptions): Promise<Notification | { id: string; audience: Audience }>;
  takeBack(id: string, options?: CallOptions & { undelivered?: boolean }): Promise<void>;
  publish(event: PostedEvent | readonly PostedEvent[], options?: CallOptions): Promise<{ accepted: true }>;
  subscribe(topic: string, users: readonly string[], options?: CallOptions): Promise<{ added: number; full?: number }>;
  unsubscribe(topic: string, users: readonly string[], options?: CallOptions): Promise<{ removed: number }>;
  moveUser(user: string, rooms: { join?: readonly string[]; leave?: readonly string[] }, options?: CallOptions): Promise<{ accepted: true }>;

  /** Scope `read`. */
  notification<Data = unknown>(id: string, query?: { fields?: string | readonly string[]; nulls?: 'omit' }, options?: CallOptions):
    Promise<Notification<Data>>;
  subscribers(topic: string, query?: PageQuery, options?: CallOptions): Promise<Page<string>>;
  topics(query?: PageQuery, options?: CallOptions): Promise<Page<string>>;
  topicsOf(user: string, query?: PageQuery, options?: CallOptions): Promise<Page<string>>;
  notifications<Data = unknown>(user: string, query: NotificationQuery & { page: number }, options?: CallOptions):
    Promise<NumberedPage<Notification<Data>>>;
  notifications<Data = unknown>(user: string, query?: NotificationQuery, options?: CallOptions): Promise<Page<Notification<Data>>>;
  counts(user: string, query?: { by?: 'type' | 'priority' }, options?: CallOptions): Promise<Counts & { rev: number; by: Record<string, Counts> }>;
  overview<Data = unknown>(user: string, options?: CallOptions):
    Promise<Counts & { rev: number; types: Record<string, Counts>; items: Notification<Data>[] }>;
  unread(user: string, options?: CallOptions): Promise<{ count: number; unseen: number; rev: number }>;
  preferences(user: string, options?: CallOptions): Promise<StoredPreferences>;
  devices(user: string, options?: CallOptions): Promise<Device[]>;
  export<Data = unknown>(user: string, options?: CallOptions): AsyncGenerator<ExportLine<Data>, void, undefined>;
  members(room: string, query?: PageQuery, options?: CallOptions): Promise<Page<{ userId: string; sockets: number }> & { complete: boolean }>;
  rooms(query?: PageQuery & { prefix?: string }, options?: CallOptions):
    Promise<Page<{ roomId: string; connections: number; nodes: number }> & { complete: boolean }>;
  connections(query?: PageQuery & { user?: string; room?: string; node?: string }, options?: CallOptions):
    Promise<Page<Connection> & { complete: boolean }>;
  history(room: string, query?: { before?: string; limit?: number }, options?: CallOptions):
    Promise<{ messages: { id: string; userId?: string; event: string; args: unknown[]; at: string }[]; next: string | null }>;
  summary(query?: { days?: number }, options?: CallOptions):
    Promise<{ from: string; to: string; posted: number; read: number; days: DaySummary[] }>;
  stats(options?: CallOptions):
    Promise<{ activeConnections: number; rooms: string[]; roomCount: number; events: Record<string, number>; uptime: number }>;
  performance(options?: CallOptions): Promise<{ status: 'healthy' | 'degraded'; metrics: Record<string, number> }>;

  /** Scope `write`. */
  mark(user: string, mark: Mark, which?: Which, options?: CallOptions): Promise<Marked>;
  setDevice(user: string, id: string, device: DeviceRegistration, options?: CallOptions): Promise<Device>;
  removeDevice(user: string, id: string, options?: CallOptions): Promise<void>;
  setPreferences(user: string, preferences: Preferences, options?: CallOptions): Promise<StoredPreferences>;

  /** Scope `admin`. */
  eraseInbox(user: string, options?: CallOptions): Promise<Marked>;
  eraseUser(user: string, options?: CallOptions): Promise<{ erased: Record<string, number> }>;
  disconnectOne(sid: string, options?: CallOptions): Promise<{ accepted: true; connections: number }>;
  disconnect(user: string, options?: CallOptions): Promise<{ accepted: true }>;

  /** Every item of what has pages with `next`. */
  all<Item, Query extends PageQuery>(read: (query: Query) => Promise<Page<Item>>, query?: Query): AsyncGenerator<Item, void, undefined>;

  /** Scope `values`. A number: seconds to live. */
  cacheMiddleware<Req = any, Res = any>(options?: number | CacheMiddlewareOptions<Req, Res>): Middleware;
  /** `resource`: what was written, as tags; default: what the path names. */
  invalidateCacheMiddleware<Req = any, Res = any>(
    resource?: string | readonly string[] | ((req: Req, res: Res) => string | readonly string[] | null | undefined),
    options?: InvalidateOptions<Req, Res>): Middleware;
  cacheable<This, Args extends unknown[], Value>(
    fn: (this: This, ...args: Args) => Value | Promise<Value>,
    options?: number | CacheableOptions<Args, Value>): Cached<Args, Value, This>;
  track<Result>(name: string, fn: () => Result): Result;
  /** Scope `read`. */
  metricsSummary(query?: { range?: string; points?: number; series?: boolean }, options?: CallOptions): Promise<MetricsSummary>;
}

export default PealServer;
