/** The tokens that a query reaches, layer by layer: a plot and, for sequences, strips of tokens. */
import { type Helper, latest } from './ask';
import { APART, LAYERS } from './constants';
import { count, draw, layersShown, live, type MethodPage, part } from './live';
import { $, $$, grouped, ink, onTheme } from './page';
import { reachPlot } from './plots';
import { canvasPng, saves } from './save';
import type { Setting } from './tasks/setting';

export function startReach({ data, form }: MethodPage, counter: Helper, query: () => number): () => Promise<void> {
  if (!part('reach')) return async () => undefined;
  let repaint = () => {};
  onTheme(() => repaint());
  const update = latest(
    () =>
      live('reach', async (box) => {
        const setting = form.setting();
        const from = Math.min(query(), count(setting) - 1);
        const askFor = (setting: Setting) => counter.ask('reachThrough', { setting, query: from, layers: LAYERS });
        const [own, ...others] = await Promise.all([
          askFor(setting),
          ...data.rivals.map((name) =>
            counter.ask('reachBeside', { setting, rival: name, query: from, layers: LAYERS }),
          ),
        ]);
        const { counts, layers, possible } = own;
        const lines = [...others.filter((line) => line !== undefined), { method: data.name, counts, possible }].map(
          ({ method, counts, possible }) => ({ method, shares: counts.map((reached) => reached / possible) }),
        );
        const found = { setting, query: from, counts, possible };
        const shown = layersShown();
        draw(
          box,
          `${data.name}-reach`,
          (width) => reachPlot(width, { lines, layers: LAYERS, shown, own: data }),
          found,
        );
        if (!data.spatial) {
          const strips = $('#strips');
          $('[data-heading]', strips).textContent =
            `What query ${grouped(from)} reaches, layer by layer, of ${grouped(possible)}`;
          repaint = () => paintStrips(strips, counts, layers);
          repaint();
          saves($('[data-saves]', strips), `${data.name}-strips`, {
            png: () => canvasPng(together($$<HTMLCanvasElement>('canvas', strips))),
            json: () => ({ ...found, layers: [...layers] }),
          });
        }
        const last = counts.at(-1)!;
        const all = last === possible ? `all ${grouped(possible)}` : `${grouped(last)} of ${grouped(possible)}`;
        const before = possible === from + 1 ? ' up to itself' : '';
        const layersOf = (number: number) => (number === 1 ? 'one layer' : `${number} layers`);
        return counts.length === 1
          ? `Query ${grouped(from)} reaches ${all} tokens${before} in one layer.`
          : `Query ${grouped(from)} reaches ${grouped(counts[0])} tokens in one layer and ${all}${before} through ${layersOf(counts.length)}${counts.length < LAYERS && last < possible ? '; more layers add nothing' : ''}.`;
      }),
    APART,
  );
  for (const field of $$('[name=layers]')) field.addEventListener('input', update);
  return update;
}

/** A strip a layer: what is new in full ink. */
function paintStrips(box: HTMLElement, counts: readonly number[], layers: Uint8Array): void {
  const [red, green, blue] = ink('--family');
  const numbers = $$('.count', box);
  for (const [at, canvas] of $$<HTMLCanvasElement>('canvas', box).entries()) {
    numbers[at].textContent = grouped(counts[at] ?? counts.at(-1)!);
    canvas.width = Math.min(layers.length, 2048);
    const context = canvas.getContext('2d')!;
    const image = context.createImageData(canvas.width, 1);
    for (const [token, layer] of layers.entries()) {
      if (layer === 0 || layer > at + 1) continue;
      const x = Math.floor((token * canvas.width) / layers.length);
      const opacity = layer === at + 1 ? 255 : 92;
      image.data.set([red, green, blue, Math.max(opacity, image.data[4 * x + 3])], 4 * x);
    }
    context.putImageData(image, 0, 0);
  }
}

/** Strips below one another, a picture. */
function together(strips: readonly HTMLCanvasElement[]): HTMLCanvasElement {
  const [height, gap] = [26, 6];
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [1200, strips.length * (height + gap) - gap];
  const context = canvas.getContext('2d')!;
  context.imageSmoothingEnabled = false;
  for (const [at, strip] of strips.entries()) {
    context.fillStyle = `rgb(${ink('--plate').join(' ')})`;
    context.fillRect(0, at * (height + gap), canvas.width, height);
    context.drawImage(strip, 0, at * (height + gap), canvas.width, height);
  }
  return canvas;
}
