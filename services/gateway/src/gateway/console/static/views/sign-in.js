// Owns the way in: the platform's own sign-in, or on the embedded stack one click for whoever has its link.
import { html, useEffect, useState } from '../html.js';
import { ask, identities, session, signInAs } from '../session.js';
import { useStore } from '../store.js';
import { Trouble } from './parts.js';

const FAILED = {
  unauthenticated: 'The sign-in was not completed. Try again; if it goes on, the platform’s team can help.',
  unavailable: 'The sign-in server cannot be reached at the moment. Try again soon.',
  throttled: 'Too many people sign in at this moment. Try again in a few seconds.',
};

export function SignIn() {
  const { state, ways, ended, failed } = useStore(session);
  return html`
    <section class="panel narrow welcome">
      <img src="/console/icon.svg" alt="" width="56" height="56" />
      <h1 tabindex="-1">API Management</h1>
      <p class="lead">Connect your Bitget key once. You see at any time whether it works and what it may do; nobody can read its secret back.</p>
      ${ended && html`<p class="banner wait" role="status">Your session has ended. Sign in again to go on.</p>`}
      ${state === 'unreachable' && html`<${Trouble} problem=${{ title: 'No connection', message: 'The platform cannot be reached.' }} again=${() => ask()} />`}
      ${state === 'out' && failed && html`<p class="banner bad" role="alert">${FAILED[failed] || FAILED.unauthenticated}</p>`}
      ${ways.includes('oidc') && html`<div class="ways"><a class="button primary wide" href="/console/sign-in">Sign in</a></div>`}
      ${ways.includes('local') && html`<${Local} />`}
      ${state === 'out' && !ways.length && html`<p>No way to sign in is set up here. The platform’s team finds it in the operations guide.</p>`}
    </section>`;
}

function Local() {
  const [names, show] = useState(null);
  const [problem, tell] = useState(null);
  const trying = (work) => work().catch(tell);
  useEffect(() => {
    trying(async () => show(await identities()));
  }, []);
  if (problem) return html`<${Trouble} problem=${problem} />`;
  if (!names) return null;
  if (!names.length) {
    return html`<p>This is a stack on one machine. Open the link that <code>strongroom up</code> printed under “Console”; it is also in
      <code>stack.json</code> as <code>console_url</code>.</p>`;
  }
  return html`<div class="ways" role="group" aria-label="Sign in on this machine">
    ${names.map((name, at) => html`<button key=${name} class=${at ? 'wide' : 'primary wide'} onClick=${() => trying(() => signInAs(name))}>Sign in as ${name}</button>`)}
  </div>`;
}
