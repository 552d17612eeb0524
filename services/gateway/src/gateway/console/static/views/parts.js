// Owns the small pieces that several views use: the chip of a status, a problem, a button that copies, what a key is for.
import { chip } from '../status.js';
import { html, useState } from '../html.js';

const MARKS = { good: 'M3.5 8.5l3 3 6-7', warn: 'M8 4v5M8 11.6v.4', bad: 'M4.5 4.5l7 7M11.5 4.5l-7 7', wait: 'M8 4.5V8l2.5 1.5', off: 'M4 8h8' };

/** A drawn mark beside a word, so that colour is never all that tells. @param {{ tone: string }} props */
export function Mark({ tone }) {
  return html`<svg class="mark ${tone}" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
    <circle cx="8" cy="8" r="7.2" /><path d=${MARKS[tone]} /></svg>`;
}

export function Chip({ binding }) {
  const { tone, label } = chip(binding);
  return html`<span class="chip ${tone}"><${Mark} tone=${tone} />${label}</span>`;
}

/** What went wrong, in the platform's words, with what can be done. */
export function Trouble({ problem, again }) {
  if (!problem) return null;
  return html`
    <div class="banner bad" role="alert">
      <p><strong>${problem.title || 'Something went wrong'}.</strong> ${problem.message}</p>
      ${problem.requestId && html`<p class="fine">If it goes on, tell the platform’s team this number: <code>${problem.requestId}</code></p>`}
      ${again && html`<button onClick=${again}>Try again</button>`}
    </div>`;
}

export function Copy({ text, what }) {
  const [copied, tell] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    tell(true);
    setTimeout(() => tell(false), 2000);
  };
  return html`<button type="button" class="small" onClick=${copy}>${copied ? 'Copied' : 'Copy'}<span class="hidden"> ${what}</span></button>
    <span class="hidden" role="status">${copied ? `${what} copied` : ''}</span>`;
}

/** @param {{ scopes: string[], change: (next: string[]) => void }} props */
export function Scopes({ scopes, change }) {
  const pick = [[['spot'], 'Spot'], [['futures'], 'Futures'], [['spot', 'futures'], 'Both']];
  return html`<fieldset class="choice"><legend>Used for, by your strategies</legend>
    ${pick.map(([value, label]) => html`<label key=${label}><input type="radio" name="scopes" checked=${String(value) === String(scopes)} onChange=${() => change(value)} />${label}</label>`)}
  </fieldset>`;
}
