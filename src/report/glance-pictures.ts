/** Where some tokens of a picture look: the picture with the tokens marked, and for each head what each of them sees. */
import type { Glances } from '../compare/comparison';
import { decodeMap } from '../compare/maps';
import { palette } from './attention-maps';
import type { Photograph } from './comparison-page';
import { type Child, element } from './dom';

/** Pixels of a token, and between the pictures of a head. */
const [TOKEN, GAP] = [3, 6];

export function glancePictures(
  { tokens, heads }: Glances,
  grid: readonly [number, number],
  photograph: Photograph | undefined,
): readonly Child[] {
  const paint = palette({ type: 'sqrt', scheme: 'magma', domain: [0, 1] });
  const figures = heads.map((head, at) =>
    figure(
      `Head ${at}`,
      mosaic(decodeMap(head), tokens, grid, (share) => paint(share)),
    ),
  );
  if (photograph)
    figures.unshift(figure('The picture and the tokens that look', markedPicture(photograph, tokens, grid)));
  return [element('div', { class: 'wide grid' }, ...figures)];
}

function figure(name: string, canvas: HTMLCanvasElement): HTMLElement {
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', name);
  return element('figure', {}, canvas, element('figcaption', {}, name));
}

type Rgb = readonly [red: number, green: number, blue: number];

/** The maps of the tokens, arranged as these are on the grid, each scaled to its own largest share. */
function mosaic(
  shares: Float32Array,
  tokens: readonly number[],
  [rows, columns]: readonly [number, number],
  paint: (share: number) => Rgb,
): HTMLCanvasElement {
  const across = new Set(tokens.map((token) => token % columns)).size;
  const [width, height] = [TOKEN * columns, TOKEN * rows];
  const down = tokens.length / across;
  const canvas = element('canvas', {
    width: across * (width + GAP) - GAP,
    height: down * (height + GAP) - GAP,
  });
  const context = canvas.getContext('2d') as CanvasRenderingContext2D;
  tokens.forEach((token, at) => {
    const map = shares.subarray(at * rows * columns, (at + 1) * rows * columns);
    const brightest = map.reduce((max, share) => Math.max(max, share), 0) || 1;
    const [left, top] = [(at % across) * (width + GAP), Math.floor(at / across) * (height + GAP)];
    map.forEach((share, key) => {
      context.fillStyle = `rgb(${paint(share / brightest).join(' ')})`;
      context.fillRect(left + TOKEN * (key % columns), top + TOKEN * Math.floor(key / columns), TOKEN, TOKEN);
    });
    mark(context, left + TOKEN * (token % columns), top + TOKEN * Math.floor(token / columns), TOKEN);
  });
  return canvas;
}

function markedPicture(
  { width, height, rgb }: Photograph,
  tokens: readonly number[],
  [, columns]: readonly [number, number],
): HTMLCanvasElement {
  const canvas = element('canvas', { width, height });
  const context = canvas.getContext('2d') as CanvasRenderingContext2D;
  const image = context.createImageData(width, height);
  const bytes = atob(rgb);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let c = 0; c < 3; c++) image.data[4 * pixel + c] = bytes.charCodeAt(3 * pixel + c);
    image.data[4 * pixel + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  const size = width / columns;
  for (const token of tokens) mark(context, size * (token % columns), size * Math.floor(token / columns), size);
  return canvas;
}

/** A ring around a token, visible on any colour. */
function mark(context: CanvasRenderingContext2D, left: number, top: number, size: number): void {
  for (const [color, line] of [
    ['black', 3],
    ['cyan', 1.5],
  ] as const) {
    context.strokeStyle = color;
    context.lineWidth = line;
    context.beginPath();
    context.arc(left + size / 2, top + size / 2, 1.8 * size, 0, 2 * Math.PI);
    context.stroke();
  }
}
