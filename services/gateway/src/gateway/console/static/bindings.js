// Owns the list of bindings that is shown, and keeps it true: what an event tells of is read again.
import { get } from './api.js';
import { listen } from './live.js';
import { store } from './store.js';

const PAGE = 50;

/** `state`: empty, loading, ready, failed. `asOf`: when it was last known to be true. */
export const list = store({ items: [], next: null, state: 'empty', problem: null, status: '', subject: '', asOf: 0 });

let turn = 0;

function query(cursor) {
  const { status, subject } = list.get();
  const asked = Object.entries({ status, subject, cursor, limit: PAGE }).filter(([, value]) => value);
  return `/v1/bindings?${new URLSearchParams(asked)}`;
}

/** Read the list from its beginning, with another filter if one is given. @param {{ status?: string, subject?: string }} filter */
export async function load(filter = {}) {
  const mine = ++turn;
  const other = Object.keys(filter).length > 0;
  list.set({ ...filter, state: 'loading', problem: null, ...(other && { items: [], next: null }) });
  try {
    const page = await get(query());
    if (mine === turn) list.set({ items: page.items, next: page.next_cursor, state: 'ready', asOf: Date.now() });
  } catch (problem) {
    if (mine === turn) list.set({ state: 'failed', problem });
  }
}

/** Read one page more. */
export async function more() {
  const mine = turn;
  list.set({ state: 'loading', problem: null });
  try {
    const page = await get(query(list.get().next));
    if (mine !== turn) return;
    const known = new Set(list.get().items.map((one) => one.id));
    const items = [...list.get().items, ...page.items.filter((one) => !known.has(one.id))];
    list.set({ items, next: page.next_cursor, state: 'ready' });
  } catch (problem) {
    if (mine === turn) list.set({ state: 'failed', problem });
  }
}

/** Show a binding as it is now. @param {any} binding */
export function put(binding) {
  const items = list.get().items;
  if (items.some((one) => one.id === binding.id)) {
    list.set({ items: items.map((one) => (one.id === binding.id ? binding : one)) });
  }
}

/** Follow the events while the list is shown. @returns {() => void} ends it */
export function keepTrue() {
  return listen(async (event) => {
    if (event === null) {
      await load();
    } else if (list.get().items.some((one) => one.id === event.binding_id)) {
      try {
        put(await get(`/v1/bindings/${event.binding_id}`));
      } catch {
        await load();
      }
    } else if (list.get().next === null) {
      await load();
    }
  });
}
