// Owns AES key wrap with padding (KWP, RFC 5649) over any AES block cipher: what Vault's Transit engine imports secrets by.
// WebCrypto has the block cipher and the wrap without padding, and not this. Nothing is kept.

const HEAD = [0xa6, 0x59, 0x59, 0xa6];

/** @typedef {(block: Uint8Array) => Promise<Uint8Array>} Block encrypts 16 bytes */

/**
 * Wrap `plain` (1 byte or more).
 * @param {Block} block
 * @param {Uint8Array} plain
 * @returns {Promise<Uint8Array>} 8 bytes more than `plain` padded to a multiple of 8
 */
export async function wrap(block, plain) {
  const count = Math.ceil(plain.length / 8);
  const all = new Uint8Array(8 + 8 * count);
  all.set(HEAD);
  new DataView(all.buffer).setUint32(4, plain.length);
  all.set(plain, 8);
  if (count === 1) return block(all);
  const pair = new Uint8Array(16);
  pair.set(all.subarray(0, 8));
  for (let round = 0, step = 1; round < 6; round++) {
    for (let at = 1; at <= count; at++, step++) {
      pair.set(all.subarray(8 * at, 8 * at + 8), 8);
      const made = await block(pair);
      pair.set(made.subarray(0, 8));
      const low = new DataView(pair.buffer);
      low.setUint32(4, low.getUint32(4) ^ step);
      all.set(made.subarray(8), 8 * at);
    }
  }
  all.set(pair.subarray(0, 8));
  return all;
}

/**
 * Return the block cipher of an AES key of 32 bytes: one block of CBC with no vector is the bare cipher.
 * @param {Uint8Array} raw
 * @returns {Promise<Block>}
 */
export async function aes(raw) {
  const key = await crypto.subtle.importKey('raw', raw, 'AES-CBC', false, ['encrypt']);
  const cipher = { name: 'AES-CBC', iv: new Uint8Array(16) };
  return async (block) => new Uint8Array(await crypto.subtle.encrypt(cipher, key, block), 0, 16);
}
