// Owns how values are written for people: names, times, amounts. Amounts stay decimal texts and are never rounded.

export const SCOPES = { spot: 'Spot', futures: 'Futures' };

export const STRATEGIES = {
  spot_trading: 'Spot trading', usdt_futures: 'USDT futures', usdc_futures: 'USDC futures', coin_futures: 'Coin futures',
};

/** @param {string[]} scopes */
export const scopes = (scopes) => scopes.map((one) => SCOPES[one] || one).join(' and ');

/** @param {any} binding a name to call it by */
export const name = (binding) => binding.label || binding.subject || `Key ${binding.credential.api_key_hint}`;

const ago = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const moment = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short' });
const UNITS = [['day', 86_400], ['hour', 3600], ['minute', 60], ['second', 1]];

/** Say how far a time is from now, as "3 minutes ago". @param {string | null} time RFC 3339 */
export function relative(time, now = Date.now()) {
  if (!time) return 'never';
  const seconds = Math.round((Date.parse(time) - now) / 1000);
  if (Math.abs(seconds) < 5) return 'just now';
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) || UNITS[3];
  return ago.format(Math.trunc(seconds / size), unit);
}

/** @param {string | null} time RFC 3339 */
export const exact = (time) => (time ? moment.format(new Date(time)) : '');

/** Group the digits of a decimal text. @param {string | null} value */
export function amount(value) {
  if (value === null || value === undefined) return 'not known';
  const [whole, fraction] = value.split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ' ');
  return fraction ? `${grouped}.${fraction}` : grouped;
}
