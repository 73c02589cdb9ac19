/**
 * All glyphs in one picture whose opacity is the ink, so that it serves every theme as a mask: the positive numbers of all
 * glyphs, eight in a row, and below them the negative ones of those that have some.
 */
import { encode } from 'fast-png';
import { papers } from '../../src/papers';
import { glyph, N } from './glyphs';

const COLUMNS = 8;
/** Few enough for four bits a cell; nobody sees more shades. */
const SHADES = 11;

const IDS = papers.map(({ id }) => id);
const SIGNED = IDS.filter((id) => glyph(id)?.some((value) => value < 0));
const SIGNED_FROM = Math.ceil(IDS.length / COLUMNS) * COLUMNS;

/** Rows of glyphs in the picture. */
const ROWS = Math.ceil((SIGNED_FROM + SIGNED.length) / COLUMNS);

/** The sprite as a file. */
export function sprite(): Uint8Array {
  const positive = Array.from({ length: SIGNED_FROM }, (_, at) => glyph(IDS[at]!));
  return picture([...positive, ...SIGNED.map(negative)], COLUMNS);
}

const negative = (id: string) => glyph(id)?.map((value) => -value);

/** Numbers above 0 as ink, side by side: four bits a cell. */
function picture(glyphs: readonly (Float32Array | undefined)[], across: number): Uint8Array {
  const [width, height] = [across * N, Math.ceil(glyphs.length / across) * N];
  // Two cells a byte.
  const data = new Uint8Array((width * height) / 2);
  for (const [place, cells] of glyphs.entries())
    cells?.forEach((value, cell) => {
      const x = (place % across) * N + (cell % N);
      const y = Math.floor(place / across) * N + Math.floor(cell / N);
      const shade = Math.round(SHADES * Math.max(0, value));
      data[(y * width + x) >> 1] |= shade << (x % 2 === 0 ? 4 : 0);
    });
  const palette = Array.from({ length: SHADES + 1 }, (_, shade) => [0, 0, 0, Math.round((255 * shade) / SHADES)]);
  return encode({ width, height, data, channels: 1, depth: 4, palette }, { zlib: { level: 9 } });
}

/** Where a glyph lies, as custom properties of the element that shows it. */
export function placeOf(id: string): string {
  const at = IDS.indexOf(id);
  const signed = SIGNED.indexOf(id);
  const share = (index: number, count: number) => `${((100 * index) / (count - 1)).toFixed(3)}%`;
  const place = (name: string, index: number) =>
    `--${name}:${share(index % COLUMNS, COLUMNS)} ${share(Math.floor(index / COLUMNS), ROWS)}`;
  return [place('stencil', at), ...(signed < 0 ? [] : [place('black', SIGNED_FROM + signed)])].join(';');
}

/** The same for the glyph that a page begins with, within the page: the sprite can wait. */
export function ownPlaceOf(id: string): string {
  const isSigned = SIGNED.includes(id);
  const file = picture([glyph(id), ...(isSigned ? [negative(id)] : [])], 1);
  const url = `data:image/png;base64,${Buffer.from(file).toString('base64')}`;
  return `--glyphs:url(${url});--across:100%;--stencil:0 0${isSigned ? ';--black:0 100%' : ''}`;
}
