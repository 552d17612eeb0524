// Owns how a pasted RSA private key becomes what is sealed: PKCS#8 in DER. It stays in this browser until it is sealed.
import { fromPem } from './seal.js';

const LABEL = /-----BEGIN ([A-Z0-9 ]+)-----/;
const RSA_IDENTIFIER = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const SIZES = [2048, 3072, 4096];

const REFUSALS = [
  [/ENCRYPTED/, 'This private key is encrypted: decrypt it (openssl pkey -in FILE) and paste the result.'],
  [/PUBLIC KEY/, 'This is the public key, which Bitget has: paste the private key that belongs to it.'],
  [/CERTIFICATE/, 'This is a certificate: paste the private RSA key.'],
];

/**
 * Return the key as PKCS#8, or what is wrong with it.
 * @param {string} text
 * @returns {Promise<{ der?: Uint8Array, fault?: string }>}
 */
export async function pkcs8(text) {
  const pem = text.trim().replaceAll('\\n', '\n');
  const label = pem.match(LABEL)?.[1];
  if (!label) return { fault: 'Paste all of the private key, from its BEGIN line to its END line.' };
  const refusal = REFUSALS.find(([kind]) => kind.test(pem));
  if (refusal) return { fault: refusal[1] };
  try {
    const der = label === 'RSA PRIVATE KEY' ? wrapped(fromPem(pem)) : fromPem(pem);
    const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
    const key = await crypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']);
    if (SIZES.includes(key.algorithm.modulusLength)) return { der };
    return { fault: 'The key must have 2048, 3072 or 4096 bits.' };
  } catch {
    return { fault: 'This is no whole RSA private key in PKCS#8 or PKCS#1: copy it again, completely.' };
  }
}

/** Put a PKCS#1 key into PKCS#8: version, algorithm, key. */
function wrapped(pkcs1) {
  return tagged(0x30, [0x02, 0x01, 0x00, ...RSA_IDENTIFIER, ...tagged(0x04, pkcs1)]);
}

function tagged(tag, content) {
  const size = content.length;
  const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Uint8Array.from([tag, ...length, ...content]);
}
