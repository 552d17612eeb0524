// Owns what is checked of a key, one after the other, from the platform's answer alone. A check is good only when it is
// proven; what has not been reached or cannot be told is said to be so.
import { scopes } from './words.js';
import { found } from './status.js';

/** @typedef {{ id: string, tone: import('./status.js').Tone, title: string, text: string }} Check */

const WAITING = { tone: 'wait', text: 'Waiting for Bitget’s answer…' };
const UNREACHED = { tone: 'off', text: 'Not reached yet: solve what stands above first.' };
const RIGHTS = ['missing_permission', 'read_only_key', 'permission_denied'];

/** @param {any} binding @returns {Check[]} */
export function checks(binding) {
  const state = {
    binding,
    refused: ['rejected', 'disconnected'].includes(binding.status),
    proven: ['connected', 'limited'].includes(binding.status),
  };
  return [
    { id: 'stored', title: 'Kept in the vault', ...stored(binding) },
    { id: 'accepted', title: 'API key, secret key and passphrase belong together', ...accepted(state) },
    { id: 'address', title: 'Our addresses may use the key', ...address(state) },
    { id: 'permissions', title: `Permissions for ${scopes(binding.scopes)}`, ...permissions(state) },
    { id: 'withdraw', title: 'The key cannot withdraw', ...withdraw(state) },
    { id: 'balances', title: 'Balances and strategies', ...balances(state) },
  ];
}

function stored({ credential }) {
  const sealed = 'Your secret key was encrypted before it was sent; nobody here has seen it.';
  return { tone: 'good', text: credential.sealed ? sealed : 'Your secret key cannot be read back by anybody.' };
}

function accepted({ binding, refused, proven }) {
  if (proven) return { tone: 'good', text: 'Bitget accepts them.' };
  if (!refused) return { ...WAITING, ...waiting(binding) };
  if (binding.reason === 'ip_not_whitelisted') return { tone: 'off', text: 'Cannot be told before our address is allowed.' };
  return { tone: 'bad', text: 'Bitget refuses them: see what to do below.' };
}

function waiting(binding) {
  const told = found(binding, 'exchange_unavailable') || found(binding, 'invalid_api_key') || found(binding, 'frozen');
  return told ? { text: `${told.title}. ${told.detail}` } : {};
}

function address({ binding, refused, proven }) {
  const { bound, missing } = binding.ip_whitelist;
  if (binding.reason === 'ip_not_whitelisted') return { tone: 'bad', text: 'The key’s IP list lacks our address.' };
  if (refused) return UNREACHED;
  if (!proven) return WAITING;
  if (missing.length) return { tone: 'warn', text: `The IP list lacks ${missing.join(', ')}.` };
  if (bound === false) return { tone: 'warn', text: 'There is no IP list: the key works from any address.' };
  return bound ? { tone: 'good', text: 'The IP list holds our addresses.' } : { tone: 'off', text: 'Bitget does not tell the IP list.' };
}

function permissions({ binding, refused, proven }) {
  if (refused) return UNREACHED;
  if (!proven) return WAITING;
  const lacking = binding.findings.filter((one) => one.severity === 'error' && RIGHTS.includes(one.code));
  if (lacking.length) return { tone: 'bad', text: lacking.map((one) => one.detail || one.title).join(' ') };
  return { tone: 'good', text: 'Everything that is needed is on.' };
}

function withdraw({ binding, refused, proven }) {
  if (refused) return UNREACHED;
  if (!proven) return WAITING;
  const allowed = binding.permissions.withdraw;
  if (allowed === 'no') return { tone: 'good', text: 'Withdraw is off.' };
  if (allowed === 'unknown') return { tone: 'warn', text: 'Bitget does not tell whether Withdraw is on.' };
  return { tone: found(binding, 'withdraw_enabled')?.severity === 'error' ? 'bad' : 'warn', text: 'Withdraw is on: switch it off.' };
}

function balances({ binding, refused, proven }) {
  if (refused) return UNREACHED;
  if (!proven) return WAITING;
  const open = binding.strategies.filter((one) => one.available).length;
  if (!binding.balances) return { tone: 'off', text: `${open} strategies available; balances are not known yet.` };
  return { tone: open ? 'good' : 'warn', text: `Balances are read; ${open} of ${binding.strategies.length} strategies available.` };
}
