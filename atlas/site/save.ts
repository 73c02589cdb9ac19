/** Saves a picture or a plot: as it is, and with its data. */
import { element, html } from './html';
import { ink } from './page';

export interface Saved {
  readonly svg?: () => string;
  readonly png: () => Promise<Blob>;
  readonly json: () => unknown;
}

/** The files that a box's buttons save. Buttons stay while the box changes, so that none disappears under the pointer. */
const shown = new WeakMap<HTMLElement, { readonly name: string; readonly saved: Saved }>();

/** Buttons that save what `saved` gives, under this name. */
export function saves(box: HTMLElement, name: string, saved: Saved): void {
  const isNew = !shown.has(box);
  shown.set(box, { name, saved });
  if (!isNew) return;
  const kinds = saved.svg ? ['SVG', 'PNG', 'JSON'] : ['PNG', 'JSON'];
  box.replaceChildren(
    ...kinds.map((kind) => {
      const button = element(html`<button type="button" title="save as ${kind}">${kind}</button>`);
      button.addEventListener('click', async () => {
        const { name, saved } = shown.get(box)!;
        const link = document.createElement('a');
        link.href = URL.createObjectURL(await blobOf(saved, kind));
        link.download = `${name}.${kind.toLowerCase()}`;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      });
      return button;
    }),
  );
}

function blobOf({ svg, png, json }: Saved, kind: string): Blob | Promise<Blob> {
  if (kind === 'PNG') return png();
  return kind === 'SVG'
    ? new Blob([svg!()], { type: 'image/svg+xml' })
    : new Blob([JSON.stringify(json())], { type: 'application/json' });
}

/** A drawing in SVG by itself, with the colours it has here. */
export function svgText(svg: SVGSVGElement): string {
  const copy = svg.cloneNode(true) as SVGSVGElement;
  copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  const style = getComputedStyle(svg);
  copy.setAttribute(
    'style',
    `color:${style.color};background:${getComputedStyle(document.documentElement).backgroundColor};font:${style.font}`,
  );
  const [theirs, ours] = [svg.querySelectorAll('*'), copy.querySelectorAll('*')];
  theirs.forEach((element, at) => {
    const { stroke, fill } = getComputedStyle(element);
    if (element.hasAttribute('stroke')) ours[at].setAttribute('stroke', stroke);
    if (element.hasAttribute('fill')) ours[at].setAttribute('fill', fill);
  });
  return copy.outerHTML;
}

export async function svgPng(svg: SVGSVGElement): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(svgText(svg))}`;
  await image.decode();
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [2 * svg.clientWidth, 2 * svg.clientHeight];
  canvas.getContext('2d')!.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvasPng(canvas);
}

/** A PNG with the page's background, which a canvas lets through. */
export function canvasPng(canvas: HTMLCanvasElement, ground = '--paper'): Promise<Blob> {
  const copy = document.createElement('canvas');
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext('2d')!;
  context.fillStyle = `rgb(${ink(ground).join(' ')})`;
  context.fillRect(0, 0, copy.width, copy.height);
  context.drawImage(canvas, 0, 0);
  return new Promise((resolve, reject) =>
    copy.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('the picture is too large to be saved')))),
  );
}
