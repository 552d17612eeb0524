// Owns how three pasted values become the credential that is sent: cleaned as the platform cleans them, the secret sealed.
// The plain secret is in no request, no address, no storage and no message.
import { pkcs8 } from './pem.js';
import { seal } from './seal.js';

/** @typedef {{ key_type: 'hmac' | 'rsa', api_key: string, secret: string, passphrase: string }} Values */

export const EMPTY = { key_type: 'hmac', api_key: '', secret: '', passphrase: '' };

// What shows nothing and comes along when text is copied; the same as at the platform's edge.
const INVISIBLE = /[\p{Cf}\p{Co}\p{Cs}\u0000-\u0008\u000e-\u001b\u007f-\u0084\u0086-\u009f\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f\ufeff\u{e0100}-\u{e01ef}]/gu;

/** @param {string} text */
export const clean = (text) => text.replace(INVISIBLE, '').trim();

/**
 * Return what is wrong with a value, '' when nothing is.
 * @param {string} text cleaned
 * @param {number} least
 * @param {number} most
 */
function wrong(text, least, most) {
  if (!text) return 'Paste this value.';
  if (/\s/.test(text)) return 'There is white space inside this value: copy it again.';
  if (!/^[\x21-\x7e]+$/.test(text)) return 'There are characters in this value that no Bitget key has: copy it again.';
  if (text.length < least || text.length > most) return `This value must have ${least} to ${most} characters: copy it again, completely.`;
  return '';
}

function wrongSecret(secret) {
  if (/-----BEGIN/.test(secret)) return 'This is a private key: choose the key type RSA above.';
  if (/^bg_[0-9a-f]{32}$/.test(secret)) return 'This looks like an API key: paste the secret key here.';
  return wrong(secret, 32, 512);
}

/**
 * Seal the values; return the credential to send, or the faults by the name of the field.
 * @param {Values} values
 * @param {{ public_key: string, fingerprint: string }} wrappingKey
 * @returns {Promise<{ credential?: object, faults?: Record<string, string> }>}
 */
export async function prepare(values, wrappingKey) {
  const [apiKey, passphrase] = [clean(values.api_key), clean(values.passphrase)];
  const rsa = values.key_type === 'rsa';
  const read = rsa ? await pkcs8(values.secret) : { der: new TextEncoder().encode(clean(values.secret)) };
  const faults = {
    api_key: wrong(apiKey, 1, 256),
    secret: rsa ? read.fault || '' : wrongSecret(clean(values.secret)),
    passphrase: wrong(passphrase, 1, 256),
  };
  if (Object.values(faults).some(Boolean)) return { faults };
  const sealed = await seal(read.der, wrappingKey);
  read.der.fill(0);
  return { credential: { key_type: values.key_type, api_key: apiKey, passphrase, ...sealed } };
}

const FIELDS = { secret_key: 'secret', wrapped_secret: 'secret', wrapping_key_fingerprint: 'secret' };

/** Return the faults of a refusal by the name of the form's field. @param {import('./api.js').Problem} problem */
export function faultsOf(problem) {
  const named = problem.errors.map(({ field, message }) => [field.split('.').pop(), message]);
  return Object.fromEntries(named.map(([field, message]) => [FIELDS[field] || field, message]));
}
