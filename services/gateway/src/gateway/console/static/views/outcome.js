// Owns the last step: the checks of what was just bound, live, and what to do about each that fails.
import { useBinding } from '../binding.js';
import { html } from '../html.js';
import { chip } from '../status.js';
import { Checks } from './checks.js';
import { Findings } from './findings.js';
import { Chip, Trouble } from './parts.js';

/** @param {{ id: string }} props */
export function Outcome({ id }) {
  const { binding, problem, read } = useBinding(id);
  if (!binding) return problem ? html`<${Trouble} problem=${problem} again=${read} />` : html`<p role="status">Loading…</p>`;
  const { tone, note } = chip(binding);
  return html`
    <p class="verdict" role="status"><${Chip} binding=${binding} /> ${note || (tone === 'good' ? 'Your key works for all that you chose.' : '')}</p>
    <${Checks} binding=${binding} />
    ${tone === 'wait' && html`<p class="fine">Bitget may not know a new key for about 30 seconds. You need not wait here: it is checked on by itself.</p>`}
    ${binding.findings.length > 0 && html`<h3 class="gap">What was found</h3><${Findings} findings=${binding.findings} />`}
    <div class="go"><a class="button" href="#/bind/7">Bind another</a><a class="button primary" href=${`#/bindings/${id}`}>Open this key</a></div>`;
}
