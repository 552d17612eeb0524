// Owns the beginning: who is signed in, and which view is shown for it.
import { html, render, useEffect, useRef } from './html.js';
import { place } from './route.js';
import { ask, may, session, takeLink } from './session.js';
import { useStore } from './store.js';
import { Header } from './views/header.js';
import { List } from './views/list.js';
import { SignIn } from './views/sign-in.js';

function view(path) {
  if (!may('bindings:read')) return { title: 'API Management', of: html`<${NoRight} />` };
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
    if (before.current !== where) main.current?.querySelector('h1')?.focus();
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
