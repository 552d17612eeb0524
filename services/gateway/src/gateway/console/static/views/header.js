// Owns the top of the page: where one is, who one is, and whether what is shown is kept true.
import { html } from '../html.js';
import { connection } from '../live.js';
import { may, session, signOut } from '../session.js';
import { useStore } from '../store.js';

const LIVE = {
  live: ['good', 'Live'],
  connecting: ['wait', 'Connecting…'],
  broken: ['warn', 'Reconnecting…'],
  off: ['off', 'Not live'],
};

export function Header() {
  const { state, subject } = useStore(session);
  return html`
    <header class="top">
      <a class="brand" href="#/"><img src="/console/icon.svg" alt="" width="28" height="28" /><span>Strongroom</span></a>
      ${state === 'in' && html`
        <nav aria-label="Where you are"><ol class="crumbs"><li>Account</li><li><a href="#/">API Management</a></li></ol></nav>
        ${may('admin') && may('bindings:read') && html`<a href="#/freezes">Freezes</a>`}
        <div class="who">
          ${may('bindings:read') && html`<${Live} />`}
          <span class="subject">${subject}</span>
          <button class="quiet" onClick=${signOut}>Sign out</button>
        </div>`}
    </header>
    ${state === 'in' && html`<${Broken} />`}
  `;
}

function Live() {
  const { state } = useStore(connection);
  const [tone, label] = LIVE[state];
  return html`<span class="live ${tone}" role="status"><span class="dot" aria-hidden="true"></span>${label}</span>`;
}

/** Say it plainly when what is shown may be old. */
function Broken() {
  const { state, since } = useStore(connection);
  if (state !== 'broken') return null;
  const time = new Date(since).toLocaleTimeString('en', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  return html`<p class="banner warn" role="alert">The live connection is interrupted. What you see is as of ${time};
    it is brought up to date by itself as soon as the connection is back.</p>`;
}
