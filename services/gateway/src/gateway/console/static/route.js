// Owns where in the page one is: the part after `#`, so that the platform serves one page and Back works.
import { store } from './store.js';

/** `path` as ["bindings", id]. */
export const place = store({ path: parse() });

function parse() {
  return location.hash.replace(/^#\/?/, '').split('/').filter(Boolean).map(decodeURIComponent);
}

addEventListener('hashchange', () => place.set({ path: parse() }));

/** @param {string} hash such as "#/bind" */
export function go(hash) {
  location.hash = hash;
}
