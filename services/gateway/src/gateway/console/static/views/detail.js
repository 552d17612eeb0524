// Owns the view of one binding: what is wrong first, then all that is known of it, and what can be done.
import { useBinding } from '../binding.js';
import { load } from '../guide.js';
import { html, useEffect } from '../html.js';
import { chip } from '../status.js';
import { useTime } from '../store.js';
import { name, scopes } from '../words.js';
import { Actions } from './actions.js';
import { Balances } from './balances.js';
import { Credential, IpList, Permissions, Strategies } from './facts.js';
import { Findings } from './findings.js';
import { History } from './history.js';
import { Chip, Trouble } from './parts.js';

const ROTATION = {
  verifying: ['wait', 'A new key is being checked. The old one is in use until the new one is proven.'],
  fencing: ['wait', 'The new key is in use; the old one is being destroyed.'],
  failed: ['warn', 'The last new key was refused. The old one stays in use, untouched.'],
};

/** @param {{ id: string }} props */
export function Detail({ id }) {
  const { binding, problem, events, read, show } = useBinding(id);
  useTime();
  useEffect(() => { load(); }, []);
  if (!binding) {
    return html`<p><a href="#/">All keys</a></p><h1 tabindex="-1">Key</h1>
      ${problem ? html`<${Trouble} problem=${problem} again=${problem.status === 404 ? null : read} />` : html`<p role="status">Loading…</p>`}`;
  }
  const { note } = chip(binding);
  return html`
    <p><a href="#/">All keys</a></p>
    <div class="head">
      <div><h1 tabindex="-1">${name(binding)}</h1>
        <p class="fine">Bitget · ${scopes(binding.scopes)}${binding.environment === 'demo' ? ' · Demo' : ''}${binding.subject ? ` · ${binding.subject}` : ''}</p></div>
      <${Actions} binding=${binding} show=${show} read=${read} />
    </div>
    <p class="verdict" role="status"><${Chip} binding=${binding} />${note && html` <span>${note}</span>`}</p>
    <${Trouble} problem=${problem} again=${read} />
    <${Rotation} rotation=${binding.rotation} />
    ${binding.findings.length > 0 && html`<section><h2>What was found</h2><${Findings} findings=${binding.findings} /></section>`}
    <div class="grid">
      <${Part} title="Balances" wide><${Balances} balances=${binding.balances} /><//>
      <${Part} title="Permissions"><${Permissions} binding=${binding} /><//>
      <div class="stack"><${Part} title="Strategies"><${Strategies} binding=${binding} /><//><${Part} title="IP list"><${IpList} binding=${binding} /><//></div>
      <${Part} title="Key"><${Credential} binding=${binding} /><//>
      <${Part} title="History"><${History} id=${id} events=${events} stamp=${binding.updated_at} /><//>
    </div>`;
}

function Part({ title, wide, children }) {
  return html`<section class=${wide ? 'panel all' : 'panel'}><h2>${title}</h2>${children}</section>`;
}

function Rotation({ rotation }) {
  if (!rotation) return null;
  const [tone, text] = ROTATION[rotation.state];
  return html`<div class=${`banner ${tone}`} role="status"><p><strong>Replacement <code>${rotation.api_key_hint}</code>.</strong> ${text}</p></div>
    ${rotation.findings.length > 0 && html`<h2>What the new key lacks</h2><${Findings} findings=${rotation.findings} />`}`;
}
