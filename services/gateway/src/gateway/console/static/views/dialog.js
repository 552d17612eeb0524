// Owns the dialog: the browser's own, which keeps the focus inside, closes with Escape and gives the focus back.
import { html, useEffect, useId, useRef } from '../html.js';

/** @param {{ title: string, close: () => void, children: any }} props */
export function Dialog({ title, close, children }) {
  const id = useId();
  const dialog = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => before?.focus?.();
  }, []);
  return html`
    <dialog ref=${dialog} aria-labelledby=${id} onClose=${close} onCancel=${close}>
      <h2 id=${id}>${title}</h2>
      ${children}
    </dialog>`;
}
