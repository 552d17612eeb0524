// Owns the live connection: one stream of the tenant's events, resumed where it broke off, and what is known of it.
// An event says only that something changed: whoever hears of it reads the state itself.
import { request } from './api.js';
import { store } from './store.js';

const SILENCE_MS = 40_000; // the platform says something every 15 s
const WAITS_MS = [500, 1000, 2000, 5000, 10_000];

/** `state`: off, connecting, live, broken. `since`: when it became so. */
export const connection = store({ state: 'off', since: Date.now() });

/** @type {Set<(event: { binding_id: string } | null) => void>} */
const listeners = new Set();
let running = null;
let last = '';

/**
 * Be told of each event; with null when anything may have happened: at the beginning of a connection and after a gap.
 * @param {(event: any) => void} told
 * @returns {() => void} ends it
 */
export function listen(told) {
  listeners.add(told);
  return () => listeners.delete(told);
}

/** Connect, and stay connected until `stop`. */
export function start() {
  if (running) return;
  running = new AbortController();
  keep(running.signal);
}

/** End the connection. */
export function stop() {
  running?.abort();
  running = null;
  last = '';
  become('off');
}

function become(state) {
  if (connection.get().state !== state) connection.set({ state, since: Date.now() });
}

async function keep(signal) {
  let failures = 0;
  become('connecting');
  while (!signal.aborted) {
    let retryAfter = 0;
    try {
      await read(signal, () => { failures = 0; });
    } catch (error) {
      if (signal.aborted) return undefined;
      if (error.status === 401 || error.status === 403) return become('off');
      retryAfter = (error.retryAfter || 0) * 1000;
    }
    if (signal.aborted) return undefined;
    become('broken');
    const wait = WAITS_MS[Math.min(failures++, WAITS_MS.length - 1)];
    await pause(Math.max(retryAfter, wait * (0.5 + Math.random() / 2)), signal);
  }
  return undefined;
}

/** Wait, but no longer than until the browser says that the network is back. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    addEventListener('online', done);
    signal.addEventListener('abort', done, { once: true });
  });
}

/** Read one stream to its end; throw what broke it. */
async function read(signal, opened) {
  const silent = new AbortController();
  const give_up = () => silent.abort();
  signal.addEventListener('abort', give_up, { once: true });
  addEventListener('offline', give_up);
  let timer = setTimeout(give_up, SILENCE_MS);
  try {
    const headers = { Accept: 'text/event-stream', ...(last && { 'Last-Event-ID': last }) };
    const answer = await request('GET', '/v1/events', { headers, signal: silent.signal });
    opened();
    become('live');
    tell(null);
    for await (const frame of frames(answer.body)) {
      clearTimeout(timer);
      timer = setTimeout(give_up, SILENCE_MS);
      take(frame);
    }
  } finally {
    clearTimeout(timer);
    removeEventListener('offline', give_up);
    signal.removeEventListener('abort', give_up);
  }
}

/** Split a stream of server-sent events into frames, whatever the pieces it comes in. */
async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split('\n\n');
    text = parts.pop();
    yield* parts;
  }
}

/** @param {string} frame */
function take(frame) {
  const fields = {};
  for (const line of frame.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
  }
  if (fields.event === 'reset') {
    last = '';
    tell(null);
  } else if (fields.event === 'binding.status') {
    last = fields.id;
    tell(JSON.parse(fields.data));
  }
}

function tell(event) {
  for (const told of [...listeners]) told(event);
}
