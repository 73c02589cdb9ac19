/** The outputs of a method that weighs no values: pictures, curves and tables, computed by the library for the setting. */
import { significant } from '../../src/text/format';
import { type Helper, latest } from './ask';
import { element, type Html, html } from './html';
import { type AnyPage, draw, live } from './live';
import { $, grouped, onTheme } from './page';
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
      const { shown: all, said } = await helper.ask(task, { setting });
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
      return said;
    }).then(first.resolve),
  );
  return () => {
    show();
    return first.promise;
  };
}

function figureOf(shown: Shown): HTMLElement {
  const { name, kind, shape, rows, columns, planes, data, note, labels } = shown;
  const said = note ?? `[${shape.join(', ')}], ${rangeOf(data)}${partOf(shown)}`;
  const contents = {
    table: () => tableOf(shown),
    curves: () => html`<div data-plot></div>`,
    picture: () =>
      html`<canvas width="${columns * planes + planes - 1}" height="${rows}" role="img" aria-label="Picture of ${name}"></canvas>`,
  };
  return element(
    html`<div class="${(labels || planes > 1 || (kind === 'picture' && columns >= 2 * rows)) && 'wide'}"><div class="figure-title"><h3>${name}</h3><span class="saves" data-saves></span></div>${contents[kind]()}<p class="caption">${said}</p></div>`,
  );
}

function rangeOf(data: ArrayLike<number>): string {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let at = 0; at < data.length; at++) [least, most] = [Math.min(least, data[at]), Math.max(most, data[at])];
  return data.length === 0 ? 'empty' : `from ${written(least)} to ${written(most)}`;
}

/** What is not shown. */
function partOf({ kind, shape, planes, rows, columns }: Shown): string {
  const size = shape.reduce((product, extent) => product * extent, 1);
  if (size === planes * rows * columns) return '';
  return kind === 'picture' ? `; ${planes} of its ${size / (rows * columns)} planes` : '; its beginning';
}

function tableOf({ name, rows, columns, data, labels }: Shown): Html {
  const cell = (value: number) =>
    labels ? html`<td style="--share: ${Math.abs(value)}">${value.toFixed(2)}</td>` : html`<td>${written(value)}</td>`;
  const lines = Array.from({ length: rows }, (_, row) => Array.from(data).slice(row * columns, (row + 1) * columns));
  const head = (row: number) => labels && html`<th scope="row">${labels[row]}</th>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${name}"><table class="table plain ${labels && 'inked'}">${lines.map((line, row) => html`<tr>${head(row)}${line.map(cell)}</tr>`)}</table></div>`;
}

/** Whole numbers are mostly places or counts. */
const written = (value: number) => (Number.isInteger(value) ? grouped(value) : significant(value));

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
