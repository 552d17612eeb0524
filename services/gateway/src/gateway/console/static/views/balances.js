// Owns the balances: the total, a small chart of what is free and what is locked, and the table that says it in digits.
import { html } from '../html.js';
import { amount, exact, relative } from '../words.js';

/** @param {{ balances: any }} props */
export function Balances({ balances }) {
  if (!balances) return html`<p class="fine">Not known: Bitget has not been asked yet, or the key may not read them.</p>`;
  return html`
    <p class="total">${balances.total_usdt === null ? 'Total not told' : html`${amount(balances.total_usdt)} <small>USDT in all</small>`}</p>
    <p class="fine" title=${exact(balances.as_of)}>As of ${relative(balances.as_of)}</p>
    ${balances.spot.length > 0 && html`<${Table} title="Spot" head=${['Coin', 'Free and locked', 'Available', 'Locked', 'Total']}>
      ${balances.spot.map((one) => html`<tr key=${one.coin}><th scope="row">${one.coin}</th><td><${Bar} free=${one.available} locked=${one.locked} /></td>
        <td>${amount(one.available)}</td><td>${amount(one.locked)}</td><td>${amount(one.total)}</td></tr>`)}
    <//>`}
    ${balances.futures.length > 0 && html`<${Table} title="Futures" head=${['Account', 'Coin', 'Available', 'Equity', 'Unrealised']}>
      ${balances.futures.map((one) => html`<tr key=${one.product + one.coin}><th scope="row">${one.product}</th><td>${one.coin}</td>
        <td>${amount(one.available)}</td><td>${amount(one.equity)}</td><td>${amount(one.unrealized_pnl)}</td></tr>`)}
    <//>`}
  `;
}

function Table({ title, head, children }) {
  return html`<div class="scroll" role="region" tabindex="0" aria-label=${`${title} balances`}><table><caption>${title}</caption>
    <thead><tr>${head.map((one) => html`<th key=${one} scope="col">${one}</th>`)}</tr></thead><tbody>${children}</tbody></table></div>`;
}

/** A drawing of what the table says; only it rounds. */
function Bar({ free, locked }) {
  const [open, shut] = [Number(free) || 0, Number(locked) || 0];
  if (open + shut <= 0) return null;
  const part = Math.round((100 * open) / (open + shut));
  return html`<svg class="bar" viewBox="0 0 100 10" width="100" height="10" preserveAspectRatio="none" aria-hidden="true" focusable="false">
    <rect class="locked" x="0" y="0" width="100" height="10" rx="3" /><rect class="free" x="0" y="0" width=${part} height="10" rx="3" /></svg>`;
}
