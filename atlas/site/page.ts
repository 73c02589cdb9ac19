/** Runs on every page: the theme, and the service worker, which makes it work offline and isolated on any host. */
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

/** The colour of a custom property in the current theme. */
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
    tell('The browser keeps no settings of this site: the theme lasts as long as the page.');
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

export const grouped = (n: number) => n.toLocaleString('en');

/** The whole number in a field; throws a sentence for anything else. */
export function wholeNumber(name: string, most: number): number {
  const { value } = $<HTMLInputElement>(`#${name}`);
  const number = Number(value);
  if (Number.isInteger(number) && number >= 1 && number <= most) return number;
  throw new Error(`${name} must be a whole number from 1 to ${grouped(most)}, got ${value || 'nothing'}.`);
}

/** Copies a text when a button is pressed, which says so for two seconds. */
export function copies(button: HTMLElement, textOf: () => string, refused: string): void {
  const label = button.textContent;
  button.addEventListener('click', async () => {
    button.textContent = await navigator.clipboard.writeText(textOf()).then(
      () => 'copied',
      () => refused,
    );
    setTimeout(() => {
      button.textContent = label;
    }, 2000);
  });
}

/** During work, the button that started it is disabled without losing focus, and the one that cancels it is shown. */
export function markBusy(start: HTMLElement, stop: HTMLElement, isBusy: boolean): void {
  if (!isBusy && document.activeElement === stop) start.focus({ preventScroll: true });
  start.setAttribute('aria-disabled', String(isBusy));
  stop.hidden = !isBusy;
}

/** Says at the end of the page what is missing. */
function tell(sentence: string): void {
  const notes = $('#notes');
  if (!notes.textContent.includes(sentence)) notes.append(`${sentence} `);
}

addEventListener('load', async () => {
  try {
    // Private windows, full storage and other hosts than https forbid it.
    await navigator.serviceWorker.register(new URL(`${root.dataset.up}service-worker.js`, location.href));
    await navigator.serviceWorker.ready;
    if ((await caches.keys()).some((name) => name.startsWith('saccade atlas'))) return;
  } catch {}
  tell('The browser keeps nothing of this site (storage is full or forbidden): it works, but not without the network.');
});
