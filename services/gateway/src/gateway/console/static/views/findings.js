// Owns how findings are shown: what is wrong, what to do, who can do it, and what the exchange said.
import { commonError, guide } from '../guide.js';
import { html } from '../html.js';
import { useStore } from '../store.js';
import { Copy, Mark } from './parts.js';

const TONES = { error: 'bad', warning: 'warn', info: 'wait' };
const WEIGHT = { error: 0, warning: 1, info: 2 };
const ACTORS = { customer: 'You can change this at Bitget', operator: 'The platform’s team has to act', exchange: 'Bitget has to act' };
const ADDRESSES = ['ip_not_whitelisted', 'ip_list_absent', 'egress_ip_missing', 'withdraw_without_ip_list'];

/** @param {{ findings: any[] }} props */
export function Findings({ findings }) {
  const sorted = [...findings].sort((one, other) => WEIGHT[one.severity] - WEIGHT[other.severity]);
  return html`<ul class="findings">${sorted.map((one, at) => html`<${Finding} key=${one.code + at} finding=${one} />`)}</ul>`;
}

function Finding({ finding }) {
  const { told } = useStore(guide);
  const usual = commonError(told, finding.code);
  const tone = TONES[finding.severity];
  return html`
    <li class=${`finding ${tone}`}>
      <${Mark} tone=${tone} />
      <div>
        <h3>${finding.title}</h3>
        ${finding.detail && html`<p>${finding.detail}</p>`}
        <p class="remedy"><strong>What to do: </strong>${finding.remedy || usual?.remedy || 'Nothing.'}</p>
        ${ADDRESSES.includes(finding.code) && told && html`<${Addresses} addresses=${told.egress_addresses} />`}
        <p class="fine">${ACTORS[finding.actor]}${finding.evidence?.exchange_code
          ? html` · Bitget said <code>${finding.evidence.exchange_code}</code>${finding.evidence.exchange_message ? html` “${finding.evidence.exchange_message}”` : ''}` : ''}</p>
      </div>
    </li>`;
}

/** Our addresses for the key's IP list, with a button that copies them. @param {{ addresses: string[] }} props */
export function Addresses({ addresses }) {
  if (!addresses.length) return html`<p>The platform has published no addresses: leave the IP list empty, and ask its team.</p>`;
  return html`<div class="addresses">
    <ul>${addresses.map((one) => html`<li key=${one}><code>${one}</code></li>`)}</ul>
    <${Copy} text=${addresses.join(',')} what=${addresses.length > 1 ? 'all addresses' : 'address'} />
  </div>`;
}
