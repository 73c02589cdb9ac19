/** The outputs of a method that weighs no values: pictures, curves and tables, computed by the library for the setting. */
import { significant } from '../../src/text/format';
import { type Helper, latest } from './ask';
import { type AnyPage, draw, live } from './live';
import { $, onTheme } from './page';
import { curvesPlot } from './plots';
import { canvasPng, saves } from './save';
import { inkOf } from './scale';
import type { Shown } from './shown';

/** Shows what the setting gives; resolves once the first is there. */
export function startOutputs(
  { data, form }: AnyPage,
  helper: Helper,
  task: 'outputsShown' | 'modelShown' = 'outputsShown',
): () => Promise<void> {
  const { live: kind } = $('[data-shown]').closest('figure')!.dataset;
  const first = Promise.withResolvers<void>();
  let repaint = () => {};
  onTheme(() => repaint());
  const show = latest(() =>
    live(kind!, async (box) => {
      const setting = form.setting();
      const all = await helper.ask(task, { setting });
      const figures = all.map(figureOf);
      $('[data-shown]', box).replaceChildren(...figures);
      const paints = all.map((shown, at) => {
        const [figure, name] = [figures[at], `${data.name}-${shown.name}`];
        const json = { setting, ...shown, data: Array.from(shown.data) };
        if (shown.kind === 'curves') draw(figure, name, (width) => curvesPlot(width, shown), json);
        if (shown.kind !== 'picture') return () => {};
        const canvas = $<HTMLCanvasElement>('canvas', figure);
        saves($('[data-saves]', figure), name, { png: () => canvasPng(canvas, '--plate'), json: () => json });
        return () => paint(canvas, shown);
      });
      repaint = () => {
        for (const again of paints) again();
      };
      repaint();
      return 'Computed by the library on the sample of this page, at the setting chosen.';
    }).then(first.resolve),
  );
  return () => {
    show();
    return first.promise;
  };
}

function figureOf(shown: Shown): HTMLElement {
  const { name, kind, shape, rows, columns, planes, data } = shown;
  const figure = document.createElement('div');
  figure.classList.toggle('wide', planes > 1);
  const title = document.createElement('div');
  title.className = 'figure-title';
  const [heading, buttons] = [document.createElement('h3'), document.createElement('span')];
  heading.textContent = name;
  buttons.className = 'saves';
  buttons.dataset.saves = '';
  title.append(heading, buttons);
  const caption = document.createElement('p');
  caption.className = 'caption';
  caption.textContent = `[${shape.join(', ')}], ${rangeOf(data)}${partOf(shown)}`;
  figure.append(title, contentOf(), caption);
  return figure;

  function contentOf(): HTMLElement {
    if (kind === 'table') return tableOf(shown);
    if (kind === 'curves') {
      const place = document.createElement('div');
      place.dataset.plot = '';
      return place;
    }
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [columns * planes + planes - 1, rows];
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', `Picture of ${name}`);
    return canvas;
  }
}

function rangeOf(data: ArrayLike<number>): string {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let at = 0; at < data.length; at++) [least, most] = [Math.min(least, data[at]), Math.max(most, data[at])];
  return data.length === 0 ? 'empty' : `from ${significant(least)} to ${significant(most)}`;
}

/** What is not shown. */
function partOf({ kind, shape, planes, rows, columns }: Shown): string {
  const size = shape.reduce((product, extent) => product * extent, 1);
  if (size === planes * rows * columns) return '';
  return kind === 'picture' ? `; ${planes} of its ${size / (rows * columns)} planes` : '; its beginning';
}

function tableOf({ name, rows, columns, data }: Shown): HTMLElement {
  const box = document.createElement('div');
  box.className = 'scroll';
  box.tabIndex = 0;
  box.setAttribute('role', 'region');
  box.setAttribute('aria-label', name);
  const table = document.createElement('table');
  table.className = 'table plain';
  for (let row = 0; row < rows; row++) {
    const line = table.insertRow();
    for (let column = 0; column < columns; column++)
      line.insertCell().textContent = significant(data[row * columns + column]);
  }
  box.append(table);
  return box;
}

/** Shares that are errors of rounding. */
const ROUNDING = 1e-6;

/** Planes side by side, a column apart; full ink is the largest magnitude of all. */
function paint(canvas: HTMLCanvasElement, { rows, columns, data }: Shown): void {
  const context = canvas.getContext('2d')!;
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const inked = inkOf();
  const largest = Array.from(data).reduce((most, value) => Math.max(most, Math.abs(value) || 0), 0) || 1;
  for (let at = 0; at < data.length; at++) {
    const [plane, place] = [Math.floor(at / (rows * columns)), at % (rows * columns)];
    const [y, x] = [Math.floor(place / columns), place % columns];
    const share = (data[at] || 0) / largest;
    pixels[y * canvas.width + plane * (columns + 1) + x] = inked(Math.abs(share) < ROUNDING ? 0 : share);
  }
  context.putImageData(image, 0, 0);
}
