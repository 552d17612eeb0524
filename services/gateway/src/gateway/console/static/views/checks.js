// Owns how the checks of a key are shown: they turn green one after the other, and each change is told aloud.
import { checks } from '../checks.js';
import { html } from '../html.js';
import { Mark } from './parts.js';

const WORDS = { good: 'Done', warn: 'Look at this', bad: 'Failed', wait: 'Waiting', off: 'Not known' };

/** @param {{ binding: any }} props */
export function Checks({ binding }) {
  return html`
    <ol class="checks" aria-live="polite" aria-label="Checks">
      ${checks(binding).map(({ id, tone, title, text }) => html`
        <li key=${id} class=${`check ${tone}`}>
          <${Mark} tone=${tone} />
          <div><h3>${title} <span class="hidden">${WORDS[tone]}</span></h3><p class="fine">${text}</p></div>
        </li>`)}
    </ol>`;
}
