// Owns the beginning: who is signed in, and which view is shown for it.
import { html, render, useEffect, useRef } from './html.js';
import { place } from './route.js';
import { ask, may, session, takeLink } from './session.js';
import { useStore } from './store.js';
import { Bind } from './views/bind.js';
import { Detail } from './views/detail.js';
import { Freezes } from './views/freezes.js';
import { Header } from './views/header.js';
import { List } from './views/list.js';
import { SignIn } from './views/sign-in.js';

/** @param {string[]} path */
function view([first, second, third]) {
  if (may('admin') && (first === 'freezes' || !may('bindings:read'))) return { title: 'Freezes', of: html`<${Freezes} />` };
  if (!may('bindings:read')) return { title: 'API Management', of: html`<${NoRight} />` };
  const step = Math.min(Math.max(Math.trunc(Number(second)) || 1, 1), 8);
  if (first === 'bindings' && second) return { title: 'Key', of: html`<${Detail} key=${second} id=${second} />` };
  if (first === 'bind' && (step < 8 || third)) return { title: 'Bind a key', of: html`<${Bind} at=${step} id=${third} />` };
  return { title: 'API Management', of: html`<${List} />` };
}

function NoRight() {
  return html`<section class="panel"><h1 tabindex="-1">Nothing to see for this account</h1>
    <p>The account you signed in with may not read bindings. Ask the platform’s team for the right, or sign in with another account.</p></section>`;
}

function App() {
  const { state } = useStore(session);
  const { path } = useStore(place);
  const main = useRef(null);
  const shown = state === 'in' ? view(path) : { title: 'Sign in', of: html`<${SignIn} />` };
  const where = `${state} ${path.join('/')}`;
  const before = useRef(where);
  useEffect(() => {
    document.title = `${shown.title} · Strongroom`;
    if (before.current !== where && path[0] !== 'bind') main.current?.querySelector('h1')?.focus();
    before.current = where;
  }, [where]);
  if (state === 'asking') return html`<main aria-busy="true"></main>`;
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>Skip to content</a>
    <${Header} />
    <main id="main" tabindex="-1" ref=${main}>${shown.of}</main>
  `;
}

takeLink();
ask();
render(html`<${App} />`, document.getElementById('app'));
