// Owns the guide to a key that works, as the platform tells it, and the key that secrets are sealed to.
import { get } from './api.js';
import { store } from './store.js';

/** `told` is the guide, null until it is there. */
export const guide = store({ told: null, problem: null });

/** Read the guide; again where the wrapping key was not there. */
export async function load() {
  if (guide.get().told?.wrapping_key) return;
  try {
    guide.set({ told: await get('/v1/exchanges/bitget'), problem: null });
  } catch (problem) {
    guide.set({ problem });
  }
}

/** Read the guide anew, because the wrapping key has changed. */
export async function reload() {
  guide.set({ told: null });
  await load();
}

/**
 * The common error that a reason stands for, with its remedy.
 * @param {any} told @param {string | null} reason
 */
export const commonError = (told, reason) => told?.errors.find((one) => one.reasons.includes(reason));
