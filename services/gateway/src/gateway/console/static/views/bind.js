// Owns the way to a bound key, after the eight steps of the guide: six at Bitget, one here, and one to watch.
import { freshKey, send } from '../api.js';
import { EMPTY, faultsOf, prepare } from '../credential.js';
import { guide, load, reload } from '../guide.js';
import { html, useEffect, useRef, useState } from '../html.js';
import { go } from '../route.js';
import { SealingError } from '../seal.js';
import { useStore } from '../store.js';
import { CredentialFields, Field } from './credential.js';
import { Addresses } from './findings.js';
import { Outcome } from './outcome.js';
import { Scopes, Trouble } from './parts.js';

const BIND = 7;
const AGAIN = ['offline', 'unavailable', 'deadline_exceeded', 'internal', 'request_timeout']; // may have had its effect

/** @param {{ at: number, id?: string }} props the step, from 1, and what was bound */
export function Bind({ at, id }) {
  const { told, problem } = useStore(guide);
  const [scopes, setScopes] = useState(['spot', 'futures']);
  const [values, setValues] = useState({ ...EMPTY, label: '', subject: '' });
  useEffect(() => { load(); }, []);
  useEffect(() => { document.querySelector('.step h2')?.focus(); }, [at]);
  if (problem && !told) return html`<h1 tabindex="-1">Bind a key</h1><${Trouble} problem=${problem} again=${load} />`;
  if (!told) return html`<h1 tabindex="-1">Bind a key</h1><p role="status">Loading…</p>`;
  const step = told.steps[at - 1];
  const done = () => setValues({ ...EMPTY, label: '', subject: '' });
  return html`
    <div class="head"><h1 tabindex="-1">Bind a key</h1>${at < BIND && html`<a href=${`#/bind/${BIND}`}>I have a key already</a>`}</div>
    <div class="wizard">
      <${Steps} steps=${told.steps} at=${at} locked=${Boolean(id)} />
      <section class="panel step" aria-labelledby="step-title">
        <p class="fine">Step ${at} of ${told.steps.length}${at < BIND ? ' · at Bitget' : ''}</p>
        <h2 id="step-title" tabindex="-1">${step.title}</h2>
        ${at < BIND && html`<p>${step.text}</p>`}
        ${at < BIND && step.rsa && html`<details><summary>With an RSA key of your own</summary><p>${step.rsa}</p></details>`}
        <${Body} step=${step} at=${at} id=${id} told=${told} scopes=${scopes} setScopes=${setScopes} values=${values} setValues=${setValues} done=${done} />
        ${at < BIND && html`<div class="go">
          ${at > 1 ? html`<a class="button" href=${`#/bind/${at - 1}`}>Back</a>` : html`<a class="button" href="#/">Cancel</a>`}
          <a class="button primary" href=${`#/bind/${at + 1}`}>${at === BIND - 1 ? 'I have the three values' : 'Next'}</a></div>`}
      </section>
    </div>`;
}

function Steps({ steps, at, locked }) {
  return html`<nav class="steps" aria-label="Steps"><ol>
    ${steps.map((one, index) => {
      const number = index + 1;
      const name = html`<span class="number" aria-hidden="true">${number}</span>${one.title}`;
      const state = number === at ? 'now' : number < at ? 'past' : 'next';
      const open = number <= BIND && !locked;
      return html`<li key=${one.id} class=${state}>${open ? html`<a href=${`#/bind/${number}`} aria-current=${number === at ? 'step' : null}>${name}</a>` : html`<span aria-current=${number === at ? 'step' : null}>${name}</span>`}</li>`;
    })}
  </ol></nav>`;
}

function Body({ step, at, id, told, scopes, setScopes, values, setValues, done }) {
  if (step.id === 'set_permissions') return html`<${Scopes} scopes=${scopes} change=${setScopes} /><${Permissions} told=${told} scopes=${scopes} />`;
  if (step.id === 'restrict_addresses') return html`<${Addresses} addresses=${told.egress_addresses} />`;
  if (step.id === 'create_key') return html`<p class="fine">Passphrase: ${told.limits.passphrase_rule}</p>`;
  if (at === BIND) return html`<${Values} told=${told} scopes=${scopes} setScopes=${setScopes} values=${values} setValues=${setValues} done=${done} />`;
  if (at > BIND) return html`<${Outcome} id=${id} />`;
  return step.id === 'log_in' ? html`<ul>${told.before.map((one) => html`<li key=${one}>${one}</li>`)}</ul>` : null;
}

function Permissions({ told, scopes }) {
  const of = (mode) => [...new Set(scopes.flatMap((one) => told.permissions[one][mode]))];
  const list = (items, tone) => html`<ul class=${`ticks ${tone}`}>${items.map((one) => html`<li key=${one}>${one}</li>`)}</ul>`;
  return html`<div class="permissions">
    <div><h3>Classic account: switch on</h3>${list(of('classic'), 'good')}</div>
    <div><h3>Unified account: switch on</h3>${list(of('unified'), 'good')}</div>
    <div><h3>Leave off</h3>${list(told.unneeded, 'bad')}</div>
  </div>`;
}

function Values({ told, scopes, setScopes, values, setValues, done }) {
  const [state, set] = useState({ busy: false, faults: {}, problem: null });
  const attempt = useRef(null); // the request as it was sent: a repeat sends the same, so that it has one effect
  const change = (next) => { attempt.current = null; setValues((before) => ({ ...before, ...next })); };
  const submit = async (event) => {
    event.preventDefault();
    if (state.busy) return;
    set({ busy: true, faults: {}, problem: null });
    try {
      attempt.current ||= await made(values, scopes, told.wrapping_key);
      if (attempt.current.faults) {
        const { faults } = attempt.current;
        attempt.current = null;
        set({ busy: false, faults, problem: null });
        return;
      }
      const binding = await send('POST', '/v1/bindings', attempt.current.body, { key: attempt.current.key });
      attempt.current = null;
      done();
      go(`#/bind/8/${binding.id}`);
    } catch (problem) {
      if (!AGAIN.includes(problem.code)) attempt.current = null;
      const changed = problem instanceof SealingError || problem.errors?.some((one) => one.code === 'wrapping_key_changed');
      if (changed) reload();
      set({ busy: false, problem, faults: problem.errors ? faultsOf(problem) : {} });
    }
  };
  const { busy, faults, problem } = state;
  useEffect(() => { document.querySelector('.step [aria-invalid="true"]')?.focus(); }, [faults]);
  return html`<form onSubmit=${submit} novalidate>
    ${problem && html`<${Refusal} problem=${problem} />`}
    <${CredentialFields} values=${values} change=${change} faults=${faults} />
    <${Scopes} scopes=${scopes} change=${(next) => { attempt.current = null; setScopes(next); }} />
    <div class="pair">
      <${Field} label="Name" name="label" values=${values} change=${change} fault=${faults.label} hint="To recognise it by; may stay empty." />
      <${Field} label="Customer" name="subject" values=${values} change=${change} fault=${faults.subject} hint="Your own id of the customer; may stay empty." />
    </div>
    ${!told.wrapping_key && html`<p class="banner warn" role="alert">The vault cannot be asked at the moment, so your secret cannot be sealed, and it is not sent otherwise. Try again soon.
      <button type="button" onClick=${reload}>Try again</button></p>`}
    <div class="go"><a class="button" href="#/bind/6">Back</a>
      <button class="primary" disabled=${busy || !told.wrapping_key}>${busy ? 'Sealing and binding…' : 'Bind'}</button></div>
  </form>`;
}

async function made(values, scopes, wrappingKey) {
  const { credential, faults } = await prepare(values, wrappingKey);
  if (faults) return { faults };
  const { label, subject } = values;
  return { key: freshKey(), body: { exchange: 'bitget', label: label.trim(), subject: subject.trim(), scopes, credential } };
}

function Refusal({ problem }) {
  if (problem.code === 'already_bound') {
    return html`<p class="banner warn" role="alert">This API key is bound already. ${problem.bindingId && html`<a href=${`#/bindings/${problem.bindingId}`}>Open it</a>; a new secret for it is given there, by “Replace key”.`}</p>`;
  }
  return html`<${Trouble} problem=${problem} />`;
}
