/** The few helpers with which the views build their pages. */

export type Child = Node | string;

/** An element with attributes (`true` sets an empty one, `false` and undefined leave it out) and children. */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string | number | boolean | undefined>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : String(value));
  }
  node.append(...children);
  return node;
}

/** A titled part of the page. */
export function section(title: string, ...children: readonly Child[]): HTMLElement {
  return element('section', {}, element('h2', {}, title), ...children);
}

/** A box that is drawn anew by `draw(width)` whenever its width in CSS pixels or the light or dark setting changes. */
export function fitted(draw: (width: number) => Node): HTMLElement {
  const box = element('div', { class: 'fitted' });
  let drawn = 0;
  const redraw = (width: number) => {
    drawn = width;
    if (width > 0) box.replaceChildren(draw(width));
  };
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry?.contentRect.width ?? 0);
    if (width !== drawn) redraw(width);
  }).observe(box);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => redraw(drawn));
  return box;
}

/** The value of a CSS custom property of the page, such as `--accent`. */
export function cssVariable(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
