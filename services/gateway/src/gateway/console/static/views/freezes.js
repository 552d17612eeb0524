// Owns the freezes, for the platform's operators: what is stopped, by whom and why; stopping more, and letting it go on.
import { freshKey, get, send } from '../api.js';
import { html, useEffect, useState } from '../html.js';
import { exact, relative } from '../words.js';
import { Dialog } from './dialog.js';
import { Trouble } from './parts.js';

const KINDS = {
  binding: ['One key', ['tenant', 'binding_id']],
  subject: ['One customer', ['tenant', 'subject']],
  tenant: ['One tenant', ['tenant']],
  exchange: ['All of Bitget', []],
  everything: ['Everything', []],
};
const LABELS = { tenant: 'Tenant’s id', binding_id: 'Key’s id', subject: 'Customer' };

export function Freezes() {
  const [state, set] = useState({ items: null, problem: null });
  const [open, show] = useState(null);
  const read = () => get('/v1/admin/freezes').then(({ items }) => set({ items, problem: null }), (problem) => set({ items: null, problem }));
  useEffect(() => { read(); }, []);
  const close = () => show(null);
  const done = () => { close(); read(); };
  return html`
    <div class="head"><h1 tabindex="-1">Freezes</h1><button class="danger primary" onClick=${() => show('new')}>Freeze…</button></div>
    <p class="lead">What is frozen is not signed for, on every process within a quarter of a second, until the freeze is lifted. Nothing is lost.</p>
    <${Trouble} problem=${state.problem} again=${read} />
    ${state.items && html`<p class="fine" role="status">${state.items.length || 'No'} active ${state.items.length === 1 ? 'freeze' : 'freezes'}</p>`}
    <ul class="rows">${(state.items || []).map((one) => html`
      <li key=${one.id} class="row freeze">
        <div><span class="title">${KINDS[one.target.kind][0]}</span><span class="where"><code>${[one.target.tenant, one.target.subject || one.target.binding_id].filter(Boolean).join(' · ')}</code></span></div>
        <div>${one.reason}<span class="where">${one.allow_cancels ? 'Orders may be cancelled' : 'Cancelling is stopped too'}</span></div>
        <span class="fine" title=${exact(one.made_at)}>${relative(one.made_at)}, by ${one.made_by}</span>
        <button onClick=${() => show(one)}>Lift<span class="hidden"> the freeze of ${KINDS[one.target.kind][0]}: ${one.reason}</span></button>
      </li>`)}</ul>
    ${open === 'new' && html`<${New} close=${close} done=${done} />`}
    ${open?.id && html`<${Lift} freeze=${open} close=${close} done=${done} />`}`;
}

/** Do the work of a dialog's form, and show what went wrong with it. */
function useWork(work, done) {
  const [state, set] = useState({ busy: false, problem: null });
  const submit = async (event) => {
    event.preventDefault();
    if (state.busy) return;
    set({ busy: true, problem: null });
    try {
      await work();
      done();
    } catch (problem) {
      set({ busy: false, problem });
    }
  };
  return [state, submit];
}

function New({ close, done }) {
  const [form, set] = useState({ kind: 'binding', tenant: '', binding_id: '', subject: '', reason: '', cancels: true });
  const [key] = useState(freshKey);
  const change = (name) => (event) => set({ ...form, [name]: event.target.value });
  const fields = KINDS[form.kind][1];
  const [{ busy, problem }, submit] = useWork(() => {
    const told = Object.fromEntries(fields.map((name) => [name, form[name].trim()]));
    const target = { kind: form.kind, ...told, ...(form.kind === 'exchange' && { exchange: 'bitget' }) };
    return send('POST', '/v1/admin/freezes', { target, reason: form.reason.trim(), allow_cancels: form.cancels }, { key: problem ? freshKey() : key });
  }, done);
  return html`<${Dialog} title="What is to be frozen?" close=${close}>
    <form onSubmit=${submit}>
      <${Trouble} problem=${problem} />
      ${problem?.errors.map((one) => html`<p class="fault">${one.field}: ${one.message}</p>`)}
      <fieldset class="choice"><legend class="hidden">Kind</legend>${Object.entries(KINDS).map(([kind, [label]]) => html`
        <label key=${kind}><input type="radio" name="kind" checked=${kind === form.kind} onChange=${() => set({ ...form, kind })} />${label}</label>`)}</fieldset>
      ${fields.map((name) => html`<label key=${name} class="field">${LABELS[name]}<input required value=${form[name]} onInput=${change(name)} /></label>`)}
      <label>Reason, for the record<input required maxlength="200" value=${form.reason} onInput=${change('reason')} /></label>
      <label class="sure"><input type="checkbox" checked=${form.cancels} onChange=${(event) => set({ ...form, cancels: event.target.checked })} />Orders may still be cancelled.</label>
      <div class="go"><button type="button" onClick=${close}>Cancel</button><button class="danger primary" disabled=${busy}>Freeze</button></div>
    </form>
  <//>`;
}

function Lift({ freeze, close, done }) {
  const [reason, set] = useState('');
  const [{ busy, problem }, submit] = useWork(
    () => send('DELETE', `/v1/admin/freezes/${freeze.id}?${new URLSearchParams({ reason: reason.trim() })}`), done,
  );
  return html`<${Dialog} title=${`Lift the freeze of ${KINDS[freeze.target.kind][0].toLowerCase()}?`} close=${close}>
    <form onSubmit=${submit}>
      <p>It was made because: ${freeze.reason}</p><p>Signing goes on within a quarter of a second.</p>
      <${Trouble} problem=${problem} />
      <label>Reason, for the record<input required maxlength="200" value=${reason} onInput=${(event) => set(event.target.value)} /></label>
      <div class="go"><button type="button" onClick=${close}>Leave it</button><button class="primary" disabled=${busy}>Lift</button></div>
    </form>
  <//>`;
}
