// Owns what a person does to a binding: look again, edit, replace the key, revoke, freeze. Nothing that ends something happens
// without saying first what it ends.
import { freshKey, send } from '../api.js';
import { EMPTY, faultsOf, prepare } from '../credential.js';
import { guide } from '../guide.js';
import { html, useRef, useState } from '../html.js';
import { may, session } from '../session.js';
import { found } from '../status.js';
import { useStore } from '../store.js';
import { name } from '../words.js';
import { CredentialFields } from './credential.js';
import { Dialog } from './dialog.js';
import { Edit } from './edit.js';
import { Findings } from './findings.js';
import { Trouble } from './parts.js';

/** @param {{ binding: any, show: (binding: any) => void, read: () => Promise<void> }} props */
export function Actions({ binding, show, read }) {
  const [open, set] = useState('');
  const close = () => set('');
  if (binding.status === 'revoked') return null;
  const write = may('bindings:write');
  return html`
    <div class="actions">
      ${write && html`<${Verify} binding=${binding} show=${show} />`}
      ${write && html`<button onClick=${() => set('edit')}>Edit</button>`}
      ${write && html`<button onClick=${() => set('replace')}>Replace key</button>`}
      ${may('admin') && !found(binding, 'frozen') && html`<button onClick=${() => set('freeze')}>Freeze</button>`}
      ${write && html`<button class="danger" onClick=${() => set('revoke')}>Revoke</button>`}
    </div>
    ${open === 'edit' && html`<${Edit} binding=${binding} show=${show} close=${close} />`}
    ${open === 'replace' && html`<${Replace} binding=${binding} show=${show} close=${close} />`}
    ${open === 'revoke' && html`<${Revoke} binding=${binding} read=${read} close=${close} />`}
    ${open === 'freeze' && html`<${Freeze} binding=${binding} show=${show} close=${close} />`}
  `;
}

function Verify({ binding, show }) {
  const [state, set] = useState({ busy: false, problem: null });
  const verify = async () => {
    set({ busy: true, problem: null });
    try {
      show(await send('POST', `/v1/bindings/${binding.id}/verify`, undefined, { wait: 15 }));
      set({ busy: false, problem: null });
    } catch (problem) {
      set({ busy: false, problem });
    }
  };
  return html`<button disabled=${state.busy} onClick=${verify}>${state.busy ? 'Checking…' : 'Check again'}</button>
    ${state.problem && html`<${Trouble} problem=${state.problem} />`}`;
}

function Revoke({ binding, read, close }) {
  const [state, set] = useState({ sure: false, busy: false, problem: null });
  const revoke = async (event) => {
    event.preventDefault();
    if (!state.sure || state.busy) return;
    set({ ...state, busy: true, problem: null });
    try {
      await send('DELETE', `/v1/bindings/${binding.id}`);
      await read();
      close();
    } catch (problem) {
      set({ ...state, busy: false, problem });
    }
  };
  return html`<${Dialog} title=${`Revoke “${name(binding)}”?`} close=${close}>
    <form onSubmit=${revoke}>
      <p>From this moment nothing can be signed with this key, and its secret, API key and passphrase are destroyed. Strategies that use it stop. This cannot be undone.</p>
      <p>Open orders stay as they are, and the key itself stays at Bitget until you delete it there.</p>
      <${Trouble} problem=${state.problem} />
      <label class="sure"><input type="checkbox" checked=${state.sure} onChange=${(event) => set({ ...state, sure: event.target.checked })} />I want to end this binding for good.</label>
      <div class="go"><button type="button" onClick=${close}>Keep it</button>
        <button class="danger primary" disabled=${!state.sure || state.busy}>${state.busy ? 'Revoking…' : 'Revoke'}</button></div>
    </form>
  <//>`;
}

function Replace({ binding, show, close }) {
  const { told } = useStore(guide);
  const [values, setValues] = useState({ ...EMPTY, key_type: binding.credential.key_type });
  const [state, set] = useState({ busy: false, faults: {}, problem: null });
  const attempt = useRef(null);
  const change = (next) => { attempt.current = null; setValues({ ...values, ...next }); };
  const submit = async (event) => {
    event.preventDefault();
    if (state.busy) return;
    set({ busy: true, faults: {}, problem: null });
    try {
      attempt.current ||= { ...(await prepare(values, told.wrapping_key)), key: freshKey() };
      const { credential, faults, key } = attempt.current;
      if (faults) {
        attempt.current = null;
        set({ busy: false, faults, problem: null });
        return;
      }
      show(await send('POST', `/v1/bindings/${binding.id}/credential`, { credential }, { key, wait: 30 }));
      close();
    } catch (problem) {
      if (problem.status >= 400 && problem.status < 500) attempt.current = null;
      set({ busy: false, problem, faults: problem.errors ? faultsOf(problem) : {} });
    }
  };
  return html`<${Dialog} title=${`Replace the key of “${name(binding)}”`} close=${close}>
    <form onSubmit=${submit} novalidate>
      <p>Make a new key in the same Bitget account first. It is checked while the old one goes on working; once it is proven the old one is destroyed. If it is refused, the old one stays in use, untouched.</p>
      <${Trouble} problem=${state.problem} />
      ${state.problem?.findings?.length > 0 && html`<${Findings} findings=${state.problem.findings} />`}
      <${CredentialFields} values=${values} change=${change} faults=${state.faults} fixed=${binding.credential.key_type} />
      <div class="go"><button type="button" onClick=${close}>Cancel</button>
        <button class="primary" disabled=${state.busy || !told?.wrapping_key}>${state.busy ? 'Checking the new key…' : 'Replace'}</button></div>
    </form>
  <//>`;
}

function Freeze({ binding, show, close }) {
  const { tenant } = useStore(session);
  const [key] = useState(freshKey);
  const [state, set] = useState({ reason: '', cancels: true, busy: false, problem: null });
  const freeze = async (event) => {
    event.preventDefault();
    set({ ...state, busy: true, problem: null });
    try {
      const target = { kind: 'binding', tenant, binding_id: binding.id };
      await send('POST', '/v1/admin/freezes', { target, reason: state.reason.trim(), allow_cancels: state.cancels }, { key: state.problem ? freshKey() : key });
      // The freeze holds already; the page tells of it from the next look on, so have one made.
      await send('POST', `/v1/bindings/${binding.id}/verify`, undefined, { wait: 10 }).then(show, () => undefined);
      close();
    } catch (problem) {
      set({ ...state, busy: false, problem });
    }
  };
  return html`<${Dialog} title=${`Freeze “${name(binding)}”?`} close=${close}>
    <form onSubmit=${freeze}>
      <p>Within a quarter of a second nothing is signed with this key any more, until the freeze is lifted. Nothing is lost.</p>
      <${Trouble} problem=${state.problem} />
      <label>Reason, for the record<input required maxlength="200" value=${state.reason} onInput=${(event) => set({ ...state, reason: event.target.value })} /></label>
      <label class="sure"><input type="checkbox" checked=${state.cancels} onChange=${(event) => set({ ...state, cancels: event.target.checked })} />Orders may still be cancelled.</label>
      <div class="go"><button type="button" onClick=${close}>Cancel</button><button class="primary" disabled=${state.busy}>Freeze</button></div>
    </form>
  <//>`;
}
