// Owns what is said of a binding in one word, and what has been checked of it. Pure: it decides from the platform's answer
// alone, and what is not proven is never told as good.

/** @typedef {'good' | 'warn' | 'bad' | 'wait' | 'off'} Tone */
/** @typedef {{ tone: Tone, label: string, note: string }} Chip */

const ACCOUNT = ['account_restricted', 'kyc_required', 'region_blocked'];

const NOTES = {
  invalid_api_key: 'Bitget does not know this API key',
  invalid_secret: 'The secret key does not match',
  invalid_passphrase: 'The passphrase does not match',
  ip_not_whitelisted: 'Our address is not on the key’s IP list',
  permission_denied: 'A permission is missing',
  environment_mismatch: 'Demo and live keys are mixed up',
  account_restricted: 'Bitget restricts this account',
  kyc_required: 'Bitget wants the account verified',
  region_blocked: 'Bitget does not serve this region',
  key_deleted: 'The key was deleted at Bitget',
  account_mismatch: 'The key belongs to another account',
  policy_violation: 'The key breaks a rule of this platform',
};

/** @param {any} binding @param {string} code */
export const found = (binding, code) => binding.findings.find((one) => one.code === code);

/** Return the word for a binding. @param {any} binding @returns {Chip} */
export function chip(binding) {
  const note = NOTES[binding.reason] || '';
  if (binding.status === 'revoked') return { tone: 'off', label: 'Revoked', note: 'Nothing is signed with this key any more' };
  if (found(binding, 'frozen')) return { tone: 'warn', label: 'Frozen', note: 'An operator has stopped everything signed with it' };
  if (binding.stale) return { tone: 'warn', label: 'Temporary issue', note: `Bitget cannot be asked now. Last proven: ${plain(binding.status)}` };
  if (binding.status === 'connected') return { tone: 'good', label: 'Connected', note: '' };
  if (binding.status === 'limited') return limited(binding, note);
  if (binding.status === 'rejected' || binding.status === 'disconnected') return refused(binding, note);
  return { tone: 'wait', label: 'Checking', note: 'No verdict yet' };
}

function limited(binding, note) {
  const withdraws = binding.findings.some((one) => one.severity === 'error' && one.code.startsWith('withdraw_'));
  if (withdraws) return { tone: 'bad', label: 'Withdrawal enabled', note: 'This key could move money out: switch Withdraw off' };
  const permission = ['missing_permission', 'read_only_key', 'permission_denied', 'transfer_enabled', 'unneeded_permission', 'unknown_permission'];
  const rights = binding.findings.some((one) => one.severity === 'error' && permission.includes(one.code));
  if (rights || binding.reason === 'permission_denied') return { tone: 'warn', label: 'Incorrect permissions', note };
  return { tone: 'warn', label: 'Needs attention', note };
}

function refused(binding, note) {
  if (binding.reason === 'ip_not_whitelisted') return { tone: 'bad', label: 'IP not allowed', note };
  if (ACCOUNT.includes(binding.reason)) return { tone: 'bad', label: 'Account restricted', note };
  return { tone: 'bad', label: 'Invalid', note };
}

/** @param {string} status */
export const plain = (status) => ({
  pending: 'not yet checked', connected: 'connected', limited: 'limited', rejected: 'never worked',
  disconnected: 'no longer accepted', revoked: 'revoked',
})[status] || status;
