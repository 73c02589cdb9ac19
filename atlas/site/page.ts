/** What every page has: the theme, and the service worker, by which it works offline and isolated on any host. */
const root = document.documentElement;
const dark = matchMedia('(prefers-color-scheme: dark)');
const listeners: (() => void)[] = [];

export const $ = <E extends Element = HTMLElement>(selector: string, within: ParentNode = document) =>
  within.querySelector<E>(selector)!;
export const $$ = <E extends Element = HTMLElement>(selector: string, within: ParentNode = document) => [
  ...within.querySelectorAll<E>(selector),
];

const isDark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : dark.matches);

export function onTheme(listener: () => void): void {
  listeners.push(listener);
}

export type Colour = readonly [red: number, green: number, blue: number];
const inks = new Map<string, Colour>();

/** A custom property's colour in the theme at hand. */
export function ink(property: string): Colour {
  const known = inks.get(property);
  if (known) return known;
  const probe = document.body.appendChild(document.createElement('span'));
  probe.style.color = `var(${property})`;
  const [red, green, blue] = getComputedStyle(probe)
    .color.match(/[\d.]+/g)!
    .map(Number);
  probe.remove();
  inks.set(property, [red, green, blue]);
  return [red, green, blue];
}

const button = $('.theme');
function say(): void {
  button.textContent = isDark() ? 'Light' : 'Dark';
}
button.addEventListener('click', () => {
  root.dataset.theme = isDark() ? 'light' : 'dark';
  try {
    localStorage.setItem('theme', root.dataset.theme);
  } catch {
    // Storage is forbidden: the theme lasts as long as the page.
  }
  change();
});
dark.addEventListener('change', change);
function change(): void {
  inks.clear();
  say();
  for (const listener of listeners) listener();
}
say();

addEventListener('load', () => {
  if (!('serviceWorker' in navigator)) return;
  navigator.serviceWorker.register(new URL(`${root.dataset.up}service-worker.js`, location.href)).catch(() => {
    // Private windows and other hosts than https forbid it: the page works, but not offline.
  });
});
