/** Pictures of each head's true attention: queries downwards, keys to the right, all heads on one colour scale. */
import * as Plot from '@observablehq/plot';
import type { AttentionMaps } from '../compare/comparison';
import { decodeMap } from '../compare/maps';
import { formatPercent } from '../text/format';
import { type Child, element } from './dom';

/** Shares above this quantile share the brightest colour, so that a few cells do not darken all others. */
const BRIGHTEST = 0.999;

/** A legend, a line that tells what is under the pointer, and a picture of each head. */
export function attentionMaps(maps: AttentionMaps): readonly Child[] {
  const heads = maps.heads.map(decodeMap);
  const color: Plot.ScaleOptions = { type: 'sqrt', scheme: 'magma', domain: [0, quantile(heads, BRIGHTEST)] };
  const paint = palette(color);
  const readout = element('output', { class: 'muted' }, 'Point at a map to read it.');
  const legend = Plot.legend({
    color: {
      ...color,
      label: `Share of a query's attention on ${count(maps.keysPerBin, 'key')} (%)`,
      tickFormat: (share: number) => `${+(share * 100).toPrecision(2)}`,
    },
    style: { background: 'transparent', color: 'var(--text)' },
  });
  const figures = heads.map((map, head) => figure(map, maps, `Head ${head}`, paint, readout));
  return [legend ?? '', element('p', {}, readout), element('div', { class: 'grid' }, ...figures)];
}

function figure(
  map: Float32Array,
  { queryBins, keyBins, queriesPerBin, keysPerBin }: AttentionMaps,
  name: string,
  paint: (share: number) => Rgb,
  readout: HTMLElement,
): HTMLElement {
  const canvas = element('canvas', {
    width: keyBins,
    height: queryBins,
    role: 'img',
    'aria-label': `Attention of ${name}: queries downwards, keys to the right`,
  });
  const context = canvas.getContext('2d') as CanvasRenderingContext2D;
  const image = context.createImageData(keyBins, queryBins);
  map.forEach((share, at) => {
    image.data.set([...paint(share), 255], 4 * at);
  });
  context.putImageData(image, 0, 0);
  const read = ({ offsetX, offsetY }: PointerEvent) => {
    const query = Math.min(queryBins - 1, Math.floor((offsetY / canvas.clientHeight) * queryBins));
    const key = Math.min(keyBins - 1, Math.floor((offsetX / canvas.clientWidth) * keyBins));
    const share = formatPercent(map[query * keyBins + key] ?? 0);
    readout.textContent = `${name}, queries from ${query * queriesPerBin}, keys from ${key * keysPerBin}: ${share}.`;
  };
  canvas.addEventListener('pointermove', read);
  canvas.addEventListener('pointerdown', read);
  return element('figure', {}, canvas, element('figcaption', {}, name));
}

type Rgb = readonly [red: number, green: number, blue: number];

/** A fast form of a colour scale: 1024 steps over its domain, looked up. */
export function palette(options: Plot.ScaleOptions): (share: number) => Rgb {
  const scale = Plot.scale({ color: options });
  const [low, high] = options.domain as [number, number];
  const pixel = element('canvas', { width: 1, height: 1 }).getContext('2d', {
    willReadFrequently: true,
  }) as CanvasRenderingContext2D;
  const colors = Array.from({ length: 1024 }, (_, step): Rgb => {
    pixel.fillStyle = scale.apply(low + ((high - low) * step) / 1023);
    pixel.fillRect(0, 0, 1, 1);
    const [red = 0, green = 0, blue = 0] = pixel.getImageData(0, 0, 1, 1).data;
    return [red, green, blue];
  });
  return (share) => colors[Math.min(1023, Math.round((1023 * (share - low)) / (high - low)))] ?? [0, 0, 0];
}

function quantile(maps: readonly Float32Array[], part: number): number {
  const sorted = Float32Array.from(maps.flatMap((map) => [...map])).sort();
  return sorted[Math.floor(part * (sorted.length - 1))] || 1;
}

function count(number: number, noun: string): string {
  return number === 1 ? `one ${noun}` : `${number} ${noun}s`;
}
