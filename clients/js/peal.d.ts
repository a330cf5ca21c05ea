// SPDX-License-Identifier: Apache-2.0
// peal - types of the client.

export type State = 'unread' | 'seen' | 'read' | 'archived' | 'snoozed';
export type Priority = 'low' | 'medium' | 'high' | 'urgent';

export interface Notification<Data = unknown> {
  readonly id: string;
  readonly seq: number;
  readonly rev: number;
  /** The rev at which it last became new: lists go by it. */
  readonly newRev: number;
  readonly userId: string;
  readonly type: string;
  readonly title: string;
  readonly message: string;
  readonly data: Data;
  readonly priority: Priority;
  readonly isRead: boolean;
  readonly readAt: string | null;
  readonly createdAt: string;
  readonly expiresAt?: string;
  readonly seenAt?: string;
  readonly archivedAt?: string;
  readonly snoozedUntil?: string;
  /** It came back from being snoozed. */
  readonly resurfaced?: true;
  /** The name under which posts take the place of this one until it is read, and how many have. */
  readonly collapse?: string;
  readonly count?: number;
  /** It gathers what comes of its type: the last ten of `count`, the newest first, each cut to what a list shows. */
  readonly digest?: readonly DigestEntry[];
  /** When its content was replaced last. */
  readonly updatedAt?: string;
  /** The post to many that it was made from; `name` is the topic. */
  readonly audience?: { id: string; kind: 'all' | 'topic' | 'list'; name: string | null };
  /** As it came: the user's preferences want no sound of it. */
  readonly silent?: true;
  readonly state: State;
}

export interface DigestEntry {
  /** Of the first one that of the notification. */
  readonly id: string;
  /** Up to 120 characters; what was longer ends with an ellipsis. */
  readonly title: string;
  /** Up to 240 characters, likewise. */
  readonly message: string;
  /** Where it has at most 512 bytes as JSON. */
  readonly data?: unknown;
  readonly priority: Priority;
  readonly createdAt: string;
}

/** What is left out or null is as the hub's configuration has it. */
export type DeviceRegistration = { id?: string | null; locale?: string | null; timezone?: string | null } & (
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
  /** false: notifications of the type are not stored. */
  inbox?: boolean | null;
  push?: boolean | null;
  /** So long after the first one, others of the type join it: a time from 1m to 30d, such as '1h'. */
  digest?: string | null;
  /** So many in that time make a sound. */
  limit?: { count: number; per: string } | null;
}

export interface Preferences {
  /** An IANA time zone: that of the quiet hours. */
  timezone?: string | null;
  muteUntil?: string | number | null;
  /** Local times, hh:mm; days on which they begin, 1 is Monday. */
  quiet?: { from: string; to: string; days?: number[] } | null;
  types?: Record<string, TypePreferences> | null;
}

/** As the hub has them; `effective` is what holds of each type, also by its configuration. */
export interface StoredPreferences extends Preferences {
  types: Record<string, TypePreferences>;
  effective: Record<string, Required<TypePreferences>>;
  rev: number;
}

export interface Position {
  epoch: string;
  rev: number;
  seq: number;
}

export interface Page<Data = unknown> {
  items: Notification<Data>[];
  next: string | null;
}

export interface NumberedPage<Data = unknown> {
  items: Notification<Data>[];
  /** `more`: there are more than `total`. */
  pagination: {
    page: number; limit: number; total: number; pages: number; hasNext: boolean; hasPrev: boolean; more?: true;
  };
}

/** Times are ISO 8601 or ms; what is a list may be a text with commas. Without `state`: what is in the list.
 * `after` (the next of a page) or `page`. With `search`, the best match comes first. */
export interface Query {
  after?: string;
  page?: number;
  limit?: number;
  sort?: 'createdAt' | 'priority';
  order?: 'desc' | 'asc';
  search?: string;
  state?: State | readonly State[] | `${State},${string}`;
  type?: string | string[];
  priority?: Priority | readonly Priority[] | `${Priority},${string}`;
  from?: string | number;
  to?: string | number;
}

/** An id, a list of ids, everything up to a seq, or all that this device knows of; with ifRev only what has not changed since. */
export type Which =
  | string
  | string[]
  | ({ ids: string[] } | { upTo: number; type?: string } | { all: true; type?: string }) & { ifRev?: number };

/** `changed`: the ids, or (with upTo and all) how many; `conflict`: the ids that ifRev kept. */
export interface Marked {
  changed: string[] | number;
  conflict: string[];
}

export type Listener<Args extends unknown[]> = (...args: Args) => void;

declare class Emitter<Events extends Record<string, unknown[]>> {
  /** Returns a function that stops the listener. */
  on<E extends keyof Events>(event: E, listener: Listener<Events[E]>): () => void;
  once<E extends keyof Events>(event: E, listener: Listener<Events[E]>): () => void;
  off<E extends keyof Events>(event: E, listener?: Listener<Events[E]>): this;
}

export type ErrorCode =
  | 'timeout' | 'disconnected' | 'closed' | 'queue_full'
  | 'bad_request' | 'unauthorized' | 'forbidden' | 'not_found' | 'key_conflict' | 'too_large'
  | 'invalid_field' | 'rate_limited' | 'unavailable' | 'unknown'
  | (string & {});

export class PealError extends Error {
  readonly code: ErrorCode;
  readonly event?: string;
  /** The member of the argument that is missing or wrong; `message` says what is allowed. */
  readonly field?: string;
  readonly retryAfter?: number;
  readonly closeCode?: number;
  /** Whether the same request may succeed a little later. */
  readonly temporary: boolean;
}

export declare class Push {
  private constructor();
  /** Whether this browser can be pushed to. */
  readonly supported: boolean;
  /** `worker`: where the page's origin serves peal-sw.js. */
  subscribe(options?: { worker?: string; id?: string; locale?: string; timezone?: string }): Promise<Device>;
  unsubscribe(): Promise<void>;
}

export interface InboxEvents<Data = unknown> extends Record<string, unknown[]> {
  change: [Inbox<Data>];
  notification: [Notification<Data>];
  resync: [];
}

/** `Data` is what your backend posts as `data`: Peal<Data> hands it to every notification. */
export class Inbox<Data = unknown> extends Emitter<InboxEvents<Data>> {
  private constructor();
  readonly items: readonly Notification<Data>[];
  /** Whether `items` are those of the hub: false until the first page has been read. */
  readonly loaded: boolean;
  readonly unread: number;
  readonly unseen: number;
  readonly hasMore: boolean;
  readonly position: Position | null;
  list(query: Query & { page: number }): Promise<NumberedPage<Data>>;
  list(query?: Query): Promise<Page<Data>>;
  loadMore(query?: { limit?: number }): Promise<void>;
  markRead(which: Which): Promise<Marked>;
  markUnread(which: Which): Promise<Marked>;
  markSeen(which: Which): Promise<Marked>;
  markAllRead(): Promise<void>;
  markAllSeen(): Promise<void>;
  archive(which: Which): Promise<Marked>;
  unarchive(which: Which): Promise<Marked>;
  /** Until a time; null wakes it now. */
  snooze(which: Which, until: Date | string | number | null): Promise<Marked>;
  delete(which: Which): Promise<Marked>;
}

export interface Ready {
  userId: string;
  node: string;
  epoch: string;
  seq: number;
  rev: number;
  unread: number;
  unseen: number;
  limits: { messagesPerMinute: number; messageBytes: number; rooms: number };
}

export type ClientState =
  | { state: 'connecting' }
  | { state: 'online'; node: string; userId: string }
  | { state: 'draining'; reconnectIn: number }
  | { state: 'waiting'; retryIn: number; attempt: number; code: number; reason: string }
  | { state: 'closed'; code: number; reason: string };

export interface RoomMessage {
  id: string;
  roomId: string;
  userId: string;
  userName: string;
  message: string;
  type: string;
  timestamp: string;
}

/** Where a room with a memory stands, or what was seen of it. */
export interface RoomPosition {
  epoch: string;
  offset: string;
}

export interface RoomUser {
  roomId: string;
  userId: string;
  userName?: string;
}

/** What was said in a room, as it was told; without userId a backend posted it. */
export interface SaidMessage {
  id: string;
  userId?: string;
  event: string;
  args: any[];
  at: string;
}

export interface PealEvents<Data = unknown> extends Record<string, any[]> {
  'client:state': [ClientState];
  'hub:ready': [Ready];
  'hub:draining': [{ reconnectIn: number }];
  'hub:resync': [{ epoch: string; rev: number }];
  'hub:token_expiring': [{ in: number }];
  notification: [Notification<Data>];
  'notification:state': [{ rev: number; ids?: string[]; upTo?: number; state: string; at: string | null;
    items?: Notification<Data>[]; updated?: Notification<Data>[] }];
  unread: [{ count: number; unseen: number; rev: number }];
  'preferences:changed': [StoredPreferences];
  new_message: [RoomMessage];
  typing: [{ roomId: string; userId: string; typing: boolean }];
  presence: [{ userId: string; online: boolean; lastSeen: string | null }];
  user_joined_room: [RoomUser];
  user_left_room: [RoomUser];
  'room:resync': [RoomPosition & { roomId: string }];
  rate_limited: [{ event: string; retryAfter: number; roomId?: string }];
  error: [{ code: ErrorCode; message: string; field?: string; event?: string; roomId?: string }];
}

export interface Options {
  WebSocket?: unknown;
  backoffMin?: number;
  backoffMax?: number;
  openTimeout?: number;
  silence?: number;
  requestTimeout?: number;
  gapDelay?: number;
  pendingMax?: number;
  pageSize?: number;
  inbox?: boolean;
  /** A stream of server-sent events: where WebSockets do not open, always, or never. */
  stream?: 'auto' | boolean;
}

/** Peal<{ invoice: number }>: the type of `data` in every notification; unknown where left out. */
export class Peal<Data = unknown> extends Emitter<PealEvents<Data>> {
  constructor(options?: Options);
  readonly inbox: Inbox<Data>;
  readonly state: 'idle' | ClientState['state'];
  readonly userId: string | null;
  readonly session: Ready | null;
  /** A stream connects this client: it hears all, and what the HTTP API does not take is refused with "one_way". */
  readonly oneWay: boolean;
  readonly rooms: string[];
  connect(url: string, options: { token: string | (() => string | Promise<string>) }): Promise<this>;
  close(): void;
  request<Answer = Record<string, unknown>>(
    event: string, argument?: unknown, options?: { timeout?: number }): Promise<Answer>;
  emit(event: string, ...args: unknown[]): boolean;
  join(roomId: string, options?: { roomType?: string; since?: RoomPosition }):
    Promise<{ roomId: string; roomType: string; epoch?: string; offset?: string; recovered?: boolean }>;
  leave(roomId: string): Promise<void>;
  send(roomId: string, message: string, options?: { type?: string; nonce?: string }):
    Promise<{ id?: string; duplicate?: boolean }>;
  history(roomId: string, page?: { before?: string; limit?: number }):
    Promise<{ messages: SaidMessage[]; next: string | null }>;
  typing(roomId: string, isTyping?: boolean): void;
  subscribe(topic: string): Promise<{ topic: string; changed: boolean }>;
  unsubscribe(topic: string): Promise<{ topic: string; changed: boolean }>;
  topics(): Promise<string[]>;
  value<Value = unknown>(key: string): Promise<{ value: Value; version: number; expiresAt: string; stale?: true }>;
  preferences(): Promise<StoredPreferences>;
  setPreferences(preferences: Preferences): Promise<StoredPreferences>;
  readonly push: Push;
  registerDevice(device: DeviceRegistration): Promise<Device>;
  setForeground(foreground: boolean): Promise<Device>;
  removeDevice(id?: string): Promise<void>;
  presence(users: string[]): Promise<Record<string, { online: boolean; lastSeen: string | null; visible?: false }>>;
  setVisible(visible: boolean): Promise<void>;
  follow(users: string[]): Promise<void>;
  unfollow(users: string[]): Promise<void>;
}

export default Peal;
