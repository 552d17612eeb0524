// Owns the list of bindings: search in what is loaded, a filter by status and customer, one page more.
import { keepTrue, list, load, more } from '../bindings.js';
import { html, useEffect, useMemo, useState } from '../html.js';
import { may } from '../session.js';
import { chip } from '../status.js';
import { useStore, useTime } from '../store.js';
import { name, relative, scopes } from '../words.js';
import { Chip, Trouble } from './parts.js';

const FILTERS = [
  ['', 'All'], ['connected', 'Connected'], ['limited', 'Permissions or rules'], ['rejected', 'Never worked'],
  ['disconnected', 'No longer accepted'], ['pending', 'Being checked'], ['revoked', 'Revoked'],
];

export function List() {
  const shown = useStore(list);
  useTime();
  const [search, setSearch] = useState('');
  useEffect(() => {
    const end = keepTrue();
    load();
    return end;
  }, []);
  const items = useMemo(() => shown.items.filter((one) => matches(one, search)), [shown.items, search]);
  return html`
    <div class="head">
      <h1 tabindex="-1">API keys</h1>
      ${may('bindings:write') && html`<a class="button primary" href="#/bind">Bind a key</a>`}
    </div>
    <${Filters} search=${search} setSearch=${setSearch} shown=${shown} />
    <${Trouble} problem=${shown.problem} again=${() => load()} />
    <${Count} items=${items} search=${search} shown=${shown} />
    <ul class="rows" aria-busy=${shown.state === 'loading'}>
      ${items.map((one) => html`<${Row} key=${one.id} binding=${one} />`)}
    </ul>
    ${shown.state === 'ready' && !shown.items.length && html`<${Nothing} filtered=${shown.status || shown.subject} />`}
    ${shown.next && html`<button class="wide" disabled=${shown.state === 'loading'} onClick=${more}>Show more</button>`}
  `;
}

function matches(binding, search) {
  const wanted = search.trim().toLowerCase();
  const texts = [binding.label, binding.subject, binding.id, binding.credential.api_key_hint, chip(binding).label];
  return !wanted || texts.some((text) => text.toLowerCase().includes(wanted));
}

function Filters({ search, setSearch, shown }) {
  const everywhere = search.trim() && shown.next && shown.subject !== search.trim();
  return html`
    <form class="filters" role="search" onSubmit=${(event) => { event.preventDefault(); if (everywhere) load({ subject: search.trim() }); }}>
      <label>Search<input type="search" value=${search} placeholder="Name, customer or key"
        onInput=${(event) => { setSearch(event.target.value); if (!event.target.value && shown.subject) load({ subject: '' }); }} /></label>
      <label>Status<select value=${shown.status} onChange=${(event) => load({ status: event.target.value })}>
        ${FILTERS.map(([value, label]) => html`<option key=${value} value=${value} selected=${value === shown.status}>${label}</option>`)}
      </select></label>
      ${everywhere && html`<button>Look for the customer “${search.trim()}” in all keys</button>`}
    </form>`;
}

function Count({ items, search, shown }) {
  const of = search ? `${items.length} of the ${shown.items.length} keys that are loaded` : `${items.length}${shown.next ? ' or more' : ''} ${items.length === 1 ? 'key' : 'keys'}`;
  return html`<p class="fine" role="status">${shown.state === 'loading' && !shown.items.length ? 'Loading…' : of}${shown.subject ? ` of the customer “${shown.subject}”` : ''}</p>`;
}

function Row({ binding }) {
  const { note } = chip(binding);
  return html`
    <li class=${binding.status === 'revoked' ? 'row ended' : 'row'}>
      <a href=${`#/bindings/${binding.id}`}>
        <span class="title">${name(binding)}</span>
        <span class="where">Bitget · ${scopes(binding.scopes)}${binding.environment === 'demo' ? ' · Demo' : ''}</span>
      </a>
      <span class="key"><code>${binding.credential.api_key_hint}</code>${binding.subject && binding.label ? html`<span class="fine">${binding.subject}</span>` : ''}</span>
      <span class="state"><${Chip} binding=${binding} />${note && html`<span class="fine">${note}</span>`}</span>
      <span class="fine when">${binding.last_verified_at ? `Checked ${relative(binding.last_verified_at)}` : ''}</span>
    </li>`;
}

function Nothing({ filtered }) {
  if (filtered) return html`<p class="panel">No key fits this filter.</p>`;
  return html`<section class="panel empty"><h2>No key is bound yet</h2>
    <p>Binding takes about three minutes: make a key at Bitget, paste its three values here, and watch the checks turn green.</p>
    ${may('bindings:write') && html`<a class="button primary" href="#/bind">Bind your first key</a>`}</section>`;
}
