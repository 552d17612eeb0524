// Owns state that several views share: a value, and whoever wants to know when it changes.
import { useEffect, useState } from './html.js';

/**
 * @template T
 * @typedef {{ get: () => T, set: (next: Partial<T>) => void, follow: (told: () => void) => () => void }} Store
 */

/**
 * Make a store of an object; `set` replaces the fields that are given.
 * @template {object} T
 * @param {T} first
 * @returns {Store<T>}
 */
export function store(first) {
  let value = first;
  const followers = new Set();
  return {
    get: () => value,
    set: (next) => {
      value = { ...value, ...next };
      for (const told of [...followers]) told();
    },
    follow: (told) => {
      followers.add(told);
      return () => followers.delete(told);
    },
  };
}

/** Draw the component again every few seconds, so that "a minute ago" stays true. */
export function useTime() {
  const [, show] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => show(Date.now()), 10_000);
    return () => clearInterval(timer);
  }, []);
}

/**
 * Return a store's value, and draw the component again whenever it changes.
 * @template {object} T
 * @param {Store<T>} from
 * @returns {T}
 */
export function useStore(from) {
  const [value, show] = useState(from.get());
  useEffect(() => {
    show(from.get());
    return from.follow(() => show(from.get()));
  }, [from]);
  return value;
}
