// Owns every request that the page makes. The session is a cookie that no script can read; the mark says that the page
// asks, which no other site can. Problems keep the platform's own words. No request is ever kept or shown.

/** @typedef {{ field: string, code: string, message: string }} Fault */

const MARK = { 'X-Strongroom-Console': '1' };
const OFFLINE = { code: 'offline', title: 'No connection', detail: 'The platform cannot be reached. Nothing is lost; try again.' };
let whenSignedOut = () => {};

/** An answer that is no success, as RFC 9457 tells it. */
export class Problem extends Error {
  /**
   * @param {number} status 0 when there was no answer
   * @param {{ code?: string, title?: string, detail?: string, errors?: Fault[], findings?: object[], binding_id?: string, request_id?: string }} told
   * @param {number} retryAfter seconds
   */
  constructor(status, told, retryAfter = 0) {
    super(told.detail || told.title || 'Something went wrong.');
    this.status = status;
    this.code = told.code || 'unknown';
    this.title = told.title || 'Something went wrong';
    this.errors = told.errors || [];
    this.findings = told.findings || [];
    this.bindingId = told.binding_id || '';
    this.requestId = told.request_id || '';
    this.retryAfter = retryAfter;
  }
}

/** Name who is told when a request finds that the session has ended. @param {() => void} told */
export function onSignedOut(told) {
  whenSignedOut = told;
}

/**
 * Make a request and return its answer; throw Problem for any that is no success.
 * @param {string} method
 * @param {string} path
 * @param {{ body?: object, headers?: Record<string, string>, signal?: AbortSignal }} [options]
 * @returns {Promise<Response>}
 */
export async function request(method, path, { body, headers = {}, signal } = {}) {
  const typed = body ? { 'Content-Type': 'application/json' } : {};
  const content = body && JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(path, {
      method, signal, body: content, headers: { ...MARK, ...typed, ...headers },
      credentials: 'same-origin', cache: 'no-store', redirect: 'error',
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, OFFLINE);
  }
  if (answer.ok) return answer;
  const problem = new Problem(answer.status, await told(answer), Number(answer.headers.get('Retry-After')) || 0);
  if (answer.status === 401 && path.startsWith('/v1/')) whenSignedOut();
  throw problem;
}

async function told(answer) {
  try {
    return await answer.json();
  } catch {
    return { title: `Unexpected answer (${answer.status})` };
  }
}

/** @returns {Promise<any>} the JSON of a GET */
export const get = async (path, signal) => (await request('GET', path, { signal })).json();

/**
 * Send a change and return the JSON of its answer, null when there is none.
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @param {{ key?: string, wait?: number }} [options] an Idempotency-Key, so that a repeat has one effect; seconds to wait
 * @returns {Promise<any>}
 */
export async function send(method, path, body, { key, wait } = {}) {
  const headers = { ...(key && { 'Idempotency-Key': key }), ...(wait && { Prefer: `wait=${wait}` }) };
  const answer = await request(method, path, { body, headers });
  return answer.status === 204 ? null : answer.json();
}

/** Return a fresh Idempotency-Key. */
export const freshKey = () => crypto.randomUUID();
