// Owns the form that changes how a binding is called, whose it is and what it is used for. The key stays as it is.
import { send } from '../api.js';
import { faultsOf } from '../credential.js';
import { html, useState } from '../html.js';
import { name } from '../words.js';
import { Field } from './credential.js';
import { Dialog } from './dialog.js';
import { Scopes, Trouble } from './parts.js';

/** @param {{ binding: any, show: (binding: any) => void, close: () => void }} props */
export function Edit({ binding, show, close }) {
  const [values, setValues] = useState({ label: binding.label, subject: binding.subject });
  const [scopes, setScopes] = useState(binding.scopes);
  const [state, set] = useState({ busy: false, faults: {}, problem: null });
  const change = (next) => setValues((before) => ({ ...before, ...next }));
  const save = async (event) => {
    event.preventDefault();
    if (state.busy) return;
    set({ busy: true, faults: {}, problem: null });
    try {
      const { label, subject } = values;
      show(await send('PATCH', `/v1/bindings/${binding.id}`, { label: label.trim(), subject: subject.trim(), scopes }));
      close();
    } catch (problem) {
      set({ busy: false, problem, faults: problem.errors ? faultsOf(problem) : {} });
    }
  };
  return html`<${Dialog} title=${`Edit “${name(binding)}”`} close=${close}>
    <form onSubmit=${save} novalidate>
      <${Trouble} problem=${state.problem} />
      <${Field} label="Name" name="label" values=${values} change=${change} fault=${state.faults.label} hint="To recognise it by; may stay empty." />
      <${Field} label="Customer" name="subject" values=${values} change=${change} fault=${state.faults.subject} hint="Your own id of the customer; may stay empty." />
      <${Scopes} scopes=${scopes} change=${setScopes} />
      <p class="fine">With other uses the key is checked anew.</p>
      <div class="go"><button type="button" onClick=${close}>Cancel</button>
        <button class="primary" disabled=${state.busy}>${state.busy ? 'Saving…' : 'Save'}</button></div>
    </form>
  <//>`;
}
