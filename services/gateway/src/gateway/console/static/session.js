// Owns who is signed in, as far as the page may know it: a name, a tenant and scopes. The token itself is in a cookie.
import { get, onSignedOut, request, send } from './api.js';
import * as live from './live.js';
import { store } from './store.js';

/** `state`: asking, out, in, unreachable. */
export const session = store({ state: 'asking', subject: '', tenant: '', scopes: [], ways: [], ended: false, failed: '' });

/** @type {string} the key of the embedded stack's link; it leaves the address bar at once */
let linkKey = '';

onSignedOut(() => {
  if (session.get().state === 'in') ask(true);
});

/** Take what a link to the page brought: the key of the embedded stack, or why a sign-in failed. */
export function takeLink() {
  const [, kind, value] = location.hash.match(/^#(local|failed)=([A-Za-z0-9_-]+)$/) || [];
  if (!kind) return;
  if (kind === 'local') linkKey = value;
  else session.set({ failed: value });
  history.replaceState(null, '', '/');
}

/** Ask who is signed in. @param {boolean} ended whether a session has just come to its end */
export async function ask(ended = false) {
  try {
    const told = await get('/console/session');
    if (told.signed_in) {
      session.set({ state: 'in', subject: told.subject, tenant: told.tenant, scopes: told.scopes, ended: false });
      if (may('bindings:read')) live.start();
    } else {
      live.stop();
      session.set({ state: 'out', ways: told.ways, ended, scopes: [] });
    }
  } catch {
    session.set({ state: 'unreachable' });
  }
}

/** @param {string} scope */
export const may = (scope) => session.get().scopes.includes(scope);

/** Whom one may sign in as on the embedded stack; nobody without its link. @returns {Promise<string[]>} */
export async function identities() {
  return linkKey ? (await send('POST', '/console/local', { key: linkKey })).names : [];
}

/** @param {string} name */
export async function signInAs(name) {
  await send('POST', '/console/local', { key: linkKey, name });
  await ask();
}

export async function signOut() {
  await request('DELETE', '/console/session');
  location.hash = '';
  await ask();
}
