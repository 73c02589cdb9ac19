/** Helpers with which the views build their pages. */

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

/** A paragraph of text, `muted` if it matters less. */
export const paragraph = (text: Child, muted?: 'muted'): HTMLElement => element('p', { class: muted }, text);

/** A paragraph that stands out. */
export const warning = (text: string): HTMLElement => paragraph(element('strong', {}, text));

export const list = (items: readonly string[]): HTMLElement =>
  element('ul', {}, ...items.map((item) => element('li', {}, item)));

/** A titled part of the page. */
export function section(title: string, ...children: readonly Child[]): HTMLElement {
  return element('section', {}, element('h2', {}, title), ...children);
}

/** A table under its caption, in a box that scrolls sideways where the page is narrow. */
export function scrollingTable(caption: string, header: HTMLElement, body: readonly HTMLElement[]): HTMLElement {
  const table = element('table', {}, element('thead', {}, header), element('tbody', {}, ...body));
  const box = element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption }, table);
  return element('figure', {}, element('figcaption', {}, caption), box);
}

/** A box that `draw(width)` redraws whenever its width in CSS pixels changes. */
export function fitted(draw: (width: number) => Node): HTMLElement {
  const box = element('div');
  let drawn = 0;
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry?.contentRect.width ?? 0);
    if (width === drawn || width === 0) return;
    drawn = width;
    box.replaceChildren(draw(width));
  }).observe(box);
  return box;
}
