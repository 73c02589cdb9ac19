/** The tokens that a query reaches, layer by layer: a plot and, for sequences, strips of tokens. */
import { type Helper, latest } from './ask';
import { APART, LAYERS } from './constants';
import { count, draw, live, type MethodPage, part, plots } from './live';
import { $, $$, grouped, ink, onTheme } from './page';
import { canvasPng, saves } from './save';

export function startReach({ data, form }: MethodPage, counter: Helper, query: () => number): () => void {
  if (!part('reach')) return () => undefined;
  let repaint = () => {};
  onTheme(() => repaint());
  return latest(
    () =>
      live('reach', async (box) => {
        const setting = form.setting();
        const [from, tokens] = [Math.min(query(), count(setting) - 1), count(setting)];
        const [{ counts, layers }, { reachPlot }] = await Promise.all([
          counter.ask('reachThrough', { setting, query: from, layers: LAYERS }),
          plots(),
        ]);
        const found = { setting, query: from, counts };
        draw(box, `${data.name}-reach`, (width) => reachPlot(width, counts, tokens, LAYERS), found);
        if (!data.spatial) {
          const shown = counts.slice(0, MOST_STRIPS);
          const strips = $('#strips');
          $('[data-heading]', strips).textContent =
            `What query ${grouped(from)} reaches, layer by layer, of ${grouped(tokens)}`;
          repaint = () => paintStrips(strips, shown, layers);
          repaint();
          saves($('[data-saves]', strips), `${data.name}-strips`, {
            png: () => canvasPng(together($$<HTMLCanvasElement>('canvas', strips))),
            json: () => ({ ...found, layers: [...layers] }),
          });
        }
        const last = counts.at(-1)!;
        const all = last === tokens ? 'everything' : `${grouped(last)} of ${grouped(tokens)} tokens`;
        return `Query ${grouped(from)} reaches ${grouped(counts[0])} tokens in one layer and ${all} through ${counts.length}${counts.length < LAYERS && last < tokens ? '; more layers add nothing' : ''}.`;
      }),
    APART,
  );
}

const MOST_STRIPS = 6;

/** A strip a layer: what is new in full ink. */
function paintStrips(box: HTMLElement, counts: readonly number[], layers: Uint8Array): void {
  $('[data-strips]', box).innerHTML = counts
    .map(
      (reached, at) =>
        `<label>${at + 1}</label><div class="strip"><canvas height="1"></canvas></div><span class="count">${grouped(reached)}</span>`,
    )
    .join('');
  const [red, green, blue] = ink('--family');
  for (const [at, canvas] of $$<HTMLCanvasElement>('canvas', box).entries()) {
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
