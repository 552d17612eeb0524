// Owns one binding that is shown, kept true while it is: read at once, and again whenever an event tells of it.
import { get } from './api.js';
import { useEffect, useState } from './html.js';
import { listen } from './live.js';

/**
 * Follow a binding. Also read it every few seconds while it is pending: notes of a look change nothing and are no event.
 * @param {string} id
 * @returns {{ binding: any, problem: any, events: any[], read: () => Promise<void>, show: (binding: any) => void }}
 */
export function useBinding(id) {
  const [state, set] = useState({ binding: null, problem: null, events: [] });
  const update = (next) => set((before) => ({ ...before, ...next }));
  const read = () => get(`/v1/bindings/${id}`).then((binding) => update({ binding, problem: null }), (problem) => update({ problem }));
  useEffect(() => {
    set({ binding: null, problem: null, events: [] });
    read();
    return listen((event) => {
      if (event === null) read();
      else if (event.binding_id === id) {
        set((before) => ({ ...before, events: [event, ...before.events.filter((one) => one.id !== event.id)] }));
        read();
      }
    });
  }, [id]);
  const waiting = state.binding && (state.binding.status === 'pending' || state.binding.rotation?.state === 'verifying');
  useEffect(() => {
    if (!waiting) return undefined;
    const timer = setInterval(read, 3000);
    return () => clearInterval(timer);
  }, [id, waiting]);
  return { ...state, read, show: (binding) => update({ binding }) };
}
