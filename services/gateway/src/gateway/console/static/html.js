// Owns how markup is written: templates that become elements, never strings that become markup.
import htm from 'htm';
import { h } from 'preact';

export const html = htm.bind(h);
export { render } from 'preact';
export { useEffect, useId, useMemo, useRef, useState } from 'preact/hooks';
