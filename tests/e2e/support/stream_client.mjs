// SPDX-License-Identifier: Apache-2.0
// stream_client - a client of GET /api/v1/stream that reads as WHATWG HTML 9.2.6 says and comes back as an
// EventSource does, over node:http alone, so that a test can stop reading and see every byte.
import { Agent, get } from 'node:http';
import { until } from './wait.mjs';

export class StreamClient {
  // `urls`: where hubs are, asked in turn; `query` of the request, `headers` besides; `returns`: it comes back
  // from each end but what is no stream, as an EventSource.
  constructor(urls, { token, query = 'inbox=1', headers = {}, returns = false, lastId = '', onPacket } = {}) {
    Object.assign(this, { urls: [urls].flat(), token, query, headers, returns, lastId, onPacket });
    this.packets = []; // of all streams
    this.comments = 0;
    this.streams = []; // {status, headers, url, ended} of each request that was answered
    this.retry = 3000;
    this.turn = 0;
    this.text = '';
    this.closed = false;
    this.agent = new Agent({ keepAlive: false });
  }

  open() {
    const url = `${this.urls[this.turn++ % this.urls.length]}/api/v1/stream?${this.query}`;
    const headers = { accept: 'text/event-stream', ...this.headers };
    if (this.token) headers.authorization = `Bearer ${this.token}`;
    if (this.lastId) headers['last-event-id'] = this.lastId;
    this.request = get(url, { headers, agent: this.agent }, (answer) => this.take(url, answer));
    this.request.on('error', () => this.lost());
    return this;
  }

  take(url, answer) {
    const stream = { url, status: answer.statusCode, headers: answer.headers, ended: false, text: '' };
    this.streams.push(stream);
    this.answer = answer;
    this.text = '';
    this.event = { data: [], id: this.lastId };
    answer.setEncoding('utf8');
    answer.on('data', (text) => {
      stream.text += text;
      this.read(text);
    });
    answer.on('error', () => {});
    answer.on('close', () => {
      stream.ended = true;
      this.lost(stream);
    });
  }

  // What an end cut off is no event: it is dropped.
  lost(stream) {
    if (this.closed || !this.returns || (stream && stream.status !== 200)) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), this.retry);
  }

  read(text) {
    const lines = (this.text + text).split('\n');
    this.text = lines.pop();
    for (const line of lines) this.line(line);
  }

  line(line) {
    if (line === '') {
      this.dispatch();
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) {
      this.comments++;
      return;
    }
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') this.event.data.push(value);
    else if (name === 'id') this.event.id = value;
    else if (name === 'retry' && /^\d+$/.test(value)) this.retry = Number(value);
    else throw new Error(`no field of ours: ${line}`);
  }

  dispatch() {
    const { data, id } = this.event;
    this.event = { data: [], id };
    this.lastId = id;
    if (data.length === 0) return;
    for (const packet of JSON.parse(data.join('\n'))) {
      this.packets.push(packet);
      this.onPacket?.(packet);
    }
  }

  // Arguments of the events of a name, in the order in which they came.
  of(name) {
    return this.packets.filter(([event]) => event === name).map(([, argument]) => argument);
  }

  titles() {
    return this.of('notification').map(({ title }) => title);
  }

  // Wait for an event that `condition` holds for.
  has(name, condition = () => true) {
    return until(() => this.of(name).find(condition), () => `${name} in ${JSON.stringify(this.packets)}`);
  }

  // Wait for the end of the stream that was opened last, and say what it was.
  ended() {
    return until(() => this.streams.at(-1)?.ended && this.streams.at(-1), 'the stream ends');
  }

  async close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.request?.destroy();
    this.answer?.destroy();
    await until(() => !this.answer || this.answer.closed, 'the connection is closed');
  }
}
