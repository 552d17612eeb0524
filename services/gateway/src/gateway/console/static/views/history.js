// Owns the history of a binding: the tenant's own audit trail, in words, and what has changed while one looks.
import { get } from '../api.js';
import { html, useEffect, useState } from '../html.js';
import { may } from '../session.js';
import { exact, relative } from '../words.js';
import { Trouble } from './parts.js';

const PAGES = 3; // of the trail that are read at once: most lines are of looks at the key, which are not shown

const ACTIONS = {
  bind: 'Bound', transition: 'Status', revoke: 'Revoked', stage: 'New key stored, to be checked', promote: 'New key in use, the old one destroyed',
  abandon: 'New key given up', update: 'Name, customer or use changed', freeze: 'Frozen', lift: 'Freeze lifted',
};

/** @param {{ id: string, events: any[], stamp: string }} props the trail is read again when `stamp` changes */
export function History({ id, events, stamp }) {
  const [state, set] = useState({ items: [], next: null, problem: null, read: false });
  const read = async (from, known) => {
    try {
      let [items, next] = [known, from];
      for (let page = 0; page < PAGES; page++) {
        const asked = new URLSearchParams({ binding: id, limit: '100', ...(next && { cursor: next }) });
        const told = await get(`/v1/audit?${asked}`);
        items = [...items, ...told.items.filter(shown)];
        next = told.next_cursor;
        if (!next) break;
      }
      set({ items, next, problem: null, read: true });
    } catch (problem) {
      set({ ...state, problem, read: true });
    }
  };
  const allowed = may('audit:read');
  useEffect(() => { if (allowed) read(null, []); }, [id, stamp]);
  return html`
    ${events.length > 0 && html`<h3>While you look</h3><ol class="history">${events.map((one) => html`<${Change} key=${one.id} event=${one} />`)}</ol><h3 class="gap">Before</h3>`}
    ${!allowed && html`<p class="fine">The audit trail is not open to this account.</p>`}
    <${Trouble} problem=${state.problem} />
    <ol class="history">${state.items.map((one) => html`<li key=${one.hash}>
      <time datetime=${one.time} title=${exact(one.time)}>${relative(one.time)}</time><span>${told(one)}<span class="fine"> ${by(one)}</span></span></li>`)}</ol>
    ${state.read && !state.problem && !state.items.length && html`<p class="fine">Nothing is on record here.</p>`}
    ${state.next && html`<button class="small" onClick=${() => read(state.next, state.items)}>Older</button>`}`;
}

const shown = ({ phase, action, rule }) => phase !== 'intent' && action !== 'enroll' && !(action === 'sign' && rule === 'verification_read');

function told(line) {
  const failed = line.outcome && line.outcome !== 'done' ? ` (not done: ${line.outcome.replaceAll('_', ' ')})` : '';
  if (line.phase === 'refused') return `Refused: ${line.method || line.action} ${line.path || ''}, rule ${line.rule}`;
  if (line.action === 'transition') return `Status became ${(line.details.status || '').replace('STATUS_', '').toLowerCase()}${failed}`;
  if (line.action === 'sign') return `Signed ${line.method} ${line.path}${failed}`;
  return `${ACTIONS[line.action] || line.action.replaceAll('_', ' ')}${failed}`;
}

const by = (line) => (line.subject ? `by ${line.subject}` : `by the ${line.service}`);

function Change({ event }) {
  const value = (one) => (Array.isArray(one) ? one.join(', ') || 'nothing' : String(one ?? 'nothing'));
  const changes = event.changes.map((one) => `${one.field.replaceAll(/[._]/g, ' ')}: ${value(one.before)} → ${value(one.after)}`);
  return html`<li><time datetime=${event.occurred_at}>${relative(event.occurred_at)}</time><span>${changes.join(' · ') || `Status ${event.status}`}</span></li>`;
}
