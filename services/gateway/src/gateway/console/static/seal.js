// Owns the sealing of a secret to the vault's public wrapping key, in this browser: nobody on the way can open it, and
// neither can the platform. The form is the contract's: RSA-OAEP of a fresh AES key, then KWP of the secret, in base64.
import { aes, wrap } from './kwp.js';

/** The wrapping key is not what it says it is, or this browser cannot seal. */
export class SealingError extends Error {}

/**
 * Seal `secret`; throw SealingError when it cannot be done, and never send it another way.
 * @param {Uint8Array} secret
 * @param {{ public_key: string, fingerprint: string }} wrappingKey
 * @returns {Promise<{ wrapped_secret: string, wrapping_key_fingerprint: string }>}
 */
export async function seal(secret, wrappingKey) {
  if (!globalThis.crypto?.subtle) throw new SealingError('This browser can encrypt only on a page that came by HTTPS.');
  const der = fromPem(wrappingKey.public_key);
  const digest = hex(new Uint8Array(await crypto.subtle.digest('SHA-256', der)));
  if (digest !== wrappingKey.fingerprint) throw new SealingError('The key to encrypt with is damaged. Reload the page.');
  const algorithm = { name: 'RSA-OAEP', hash: 'SHA-256' };
  const rsa = await crypto.subtle.importKey('spki', der, algorithm, false, ['encrypt']);
  const once = crypto.getRandomValues(new Uint8Array(32));
  const sealedKey = new Uint8Array(await crypto.subtle.encrypt(algorithm, rsa, once));
  const sealed = await wrap(await aes(once), secret);
  once.fill(0);
  return { wrapped_secret: base64([...sealedKey, ...sealed]), wrapping_key_fingerprint: digest };
}

/** @param {string} pem @returns {Uint8Array} */
export function fromPem(pem) {
  const lines = pem.replace(/-----[^-]+-----/g, '').replace(/\s+/g, '');
  return Uint8Array.from(atob(lines), (letter) => letter.charCodeAt(0));
}

const base64 = (bytes) => btoa(String.fromCharCode(...bytes));
const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
