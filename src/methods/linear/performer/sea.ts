/**
 * Performer as the estimator of SEA: with values that tell positions apart, its outputs are each query's attention map
 * compressed to a few cells; the keys of the best cells are those worth attending to exactly.
 * Source: Lee et al. 2024, arXiv 2310.01777, as in the authors' code.
 */
import { checkParams, checkWhole } from '../../../check';
import { type HostTensor, hostTensor } from '../../../tensor/host';

/** For values of b batches of m keys and g key/value heads; `width` cells a map. */
interface PositionExtents {
  readonly b: number;
  readonly m: number;
  readonly g: number;
  readonly width: number;
}

/**
 * Values [b, m, g, width] that make `performer` return attention maps compressed to `width` cells: the rows of the
 * identity, stretched over the m tokens by linear interpolation, the first row at the first token and the last at the
 * last. Each token's values have the sum 1.
 *
 * @throws {ParameterError} an extent that is missing or no integer of at least 1
 */
export function seaPositions(extents: PositionExtents): HostTensor<'f32'> {
  checkParams('seaPositions', extents, ['b', 'm', 'g', 'width']);
  const { b, m, g, width } = extents;
  for (const [name, extent] of Object.entries({ b, m, g, width })) checkWhole(name, extent, 1);
  const values = new Float32Array(b * m * g * width);
  for (let row = 0; row < b * m * g; row++) {
    const token = Math.floor(row / g) % m;
    const place = m === 1 ? 0 : (token * (width - 1)) / (m - 1);
    const cell = Math.min(Math.floor(place), Math.max(0, width - 2));
    const share = place - cell;
    values[row * width + cell] = 1 - share;
    if (share > 0) values[row * width + cell + 1] = share;
  }
  return hostTensor(values, [b, m, g, width], 'f32');
}

/**
 * Which of a query's visible keys are kept, 1 or 0 each: those of the best cells, as many cells as `keys` keys fill; if
 * no more than `keys` are visible, all. `weights` are the query's, one for each visible key.
 */
export function compressedTopK(weights: Float64Array, { cells, keys }: { cells: number; keys: number }): Uint8Array {
  const visible = weights.length;
  if (keys >= visible) return new Uint8Array(visible).fill(1);
  const masses = new Float64Array(cells);
  weights.forEach((weight, j) => {
    const cell = cellOf(j, visible, cells);
    masses[cell] = (masses[cell] as number) + weight;
  });
  const budget = Math.min(cells, Math.max(1, Math.round((keys * cells) / visible)));
  const order = [...masses.keys()].sort((x, y) => (masses[y] as number) - (masses[x] as number));
  const kept = new Set(order.slice(0, budget));
  return Uint8Array.from(weights, (_, j) => Number(kept.has(cellOf(j, visible, cells))));
}

/** All visible keys are stretched over all cells, few keys too. */
function cellOf(j: number, visible: number, cells: number): number {
  return Math.max(0, Math.floor(((j + 0.5) / visible) * cells - 1e-4));
}
