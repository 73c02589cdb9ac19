/** Plans of products of many rows, in tiles of the result: for the kernels of matmul.as.ts, and for those of native.ts. */
import { PANEL, SLICE } from '../../runtime/cpu/params';
import {
  ELEMENTS_PER_MICROSECOND,
  FLOPS_PER_MICROSECOND,
  type Phase,
  type Plan,
  withMemory,
} from '../../runtime/cpu/plan';
import { sizeOf } from '../../tensor/shape';
import type { CommonAxis } from '../copy/axes';
import type { MatmulCall } from './call';
import { factor } from './few-rows';
import {
  DEPTH,
  FUNCTION_ELEMENTS,
  GROUP,
  LeadingAxis,
  MatmulParams,
  OWN_TERMS,
  TILE_PANELS,
  TILE_SLICES,
} from './params.generated';

/** Tiles that there are for each thread, at least, where sizes allow it. Which there are changes no bits. */
const TILES_PER_THREAD = 4;

/** How kernels cut a product. */
export interface Tiling {
  /** Rows of a panel and columns of a slice. */
  readonly panel: number;
  readonly slice: number;
  /** Panels and slices of a tile, at most, and slices of one of all rows, at least. */
  readonly mostPanels: number;
  readonly mostSlices: number;
  readonly fewestSlices: number;
  /** Terms that are summed at a time, at most: of a packed matrix, and where tiles pack for themselves. */
  readonly terms: number;
  readonly ownTerms: number;
  /** Machine code for a product whose tiles pack b for themselves, or not. */
  readonly code?: (isOwn: boolean) => Readonly<Record<'packSlices' | 'matmul', number>>;
}

export const IN_WEBASSEMBLY: Tiling = {
  panel: PANEL,
  slice: SLICE,
  mostPanels: TILE_PANELS,
  mostSlices: TILE_SLICES,
  fewestSlices: 32,
  terms: DEPTH,
  ownTerms: OWN_TERMS,
};

export function planManyRows(call: MatmulCall, threads: number, tiling: Tiling): Plan {
  const { a, b, bias, epilogue, out, axes } = call;
  const [rows, depth] = a.shape.slice(-2) as [number, number];
  const columns = b.shape.at(-1) as number;
  const [panels, slices] = [Math.ceil(rows / tiling.panel), Math.ceil(columns / tiling.slice)];
  const batches = sizeOf(axes.map(({ extent }) => extent));
  const leading = leadingAxes(axes);
  const isOwn = panels <= tiling.mostPanels && leading.packed === batches;
  const tile = (isOwn ? tileOfRows : tileOf)(panels, slices, batches, threads, tiling);
  const terms = termsOf(depth, isOwn ? tiling.ownTerms : tiling.terms);
  const { program, work } = epilogue?.compiled ?? { work: 0 };
  const bytes = isOwn ? 0 : leading.packed * slices * tiling.slice * depth * 4;
  const code = tiling.code?.(isOwn);
  const phase = (kernel: 'packSlices' | 'matmul', tasks: number): Phase =>
    code ? { kernel, tasks, code: code[kernel], main: kernel === 'matmul' } : { kernel, tasks };
  const packing = leading.packed * Math.ceil(depth / terms) * Math.ceil(slices / GROUP);
  const plan = withMemory({ packed: bytes }, ({ packed }, addressOf) => [
    {
      phases: [
        ...(isOwn ? [] : [phase('packSlices', packing)]),
        phase('matmul', batches * tile.count),
        // Which machine code leaves to the program's interpreter.
        ...(code && program ? [{ kernel: 'applyFunction', tasks: Math.ceil(out.size / FUNCTION_ELEMENTS) }] : []),
      ],
      params: [
        ...MatmulParams({
          depth,
          a: factor(a, rows, -2, -1),
          b: factor(b, columns, -1, -2),
          packed: isOwn ? 0 : packed,
          axes: axes.length,
          out,
          bias,
          biasStride: bias?.strides[0] ?? 0,
          program: program ? addressOf(program) : 0,
          terms,
          panels: tile.panels,
          slices: tile.slices,
        }),
        ...leading.axes.flatMap(LeadingAxis),
        ...(epilogue?.numbers ?? []),
      ],
      microseconds: (2 * out.size * depth) / FLOPS_PER_MICROSECOND + (out.size * work) / ELEMENTS_PER_MICROSECOND,
    },
  ]);
  return program ? { ...plan, tables: [program], interprets: true } : plan;
}

/**
 * Panels and slices of a tile, and how many tiles there are of a matrix: as large as threads leave them, since each packs its
 * panels of a and reads its slices of b again, of which packing costs about twice as much.
 */
function tileOf(panels: number, slices: number, batches: number, threads: number, { mostPanels, mostSlices }: Tiling) {
  const area = (batches * panels * slices) / (TILES_PER_THREAD * threads);
  const fewest = Math.ceil(panels / clamp(Math.sqrt(area / 2), mostPanels));
  const across = Math.ceil(slices / clamp((area * fewest) / panels, mostSlices));
  // So that the last tiles end together.
  const down = (fewest * across * batches) % threads === 0 ? fewest : Math.ceil(fewest / threads) * threads;
  const tile = { panels: Math.ceil(panels / down), slices: Math.ceil(slices / across) };
  return { ...tile, count: Math.ceil(panels / tile.panels) * Math.ceil(slices / tile.slices) };
}

/** Tiles of all rows, which pack b themselves, and few enough that packing a again for each costs little. */
function tileOfRows(
  panels: number,
  slices: number,
  batches: number,
  threads: number,
  { mostSlices, fewestSlices }: Tiling,
) {
  const across = Math.ceil((TILES_PER_THREAD * threads) / batches);
  const count = Math.min(mostSlices, Math.max(fewestSlices, Math.ceil(slices / across)));
  return { panels, slices: count, count: Math.ceil(slices / count) };
}

const clamp = (x: number, most: number) => Math.min(most, Math.max(1, x));

/** The leading axes, and how many matrices b has. */
function leadingAxes(axes: readonly CommonAxis[]) {
  let packed = 1;
  const own = [...axes].reverse().map(({ extent, from, to }) => {
    const axis = { extent, a: from, b: to, packed: to === 0 ? 0 : packed };
    if (to !== 0) packed *= extent;
    return axis;
  });
  return { packed, axes: own.reverse() };
}

/** Terms that are summed at a time: blocks of them are alike. */
const termsOf = (depth: number, most: number): number => Math.ceil(depth / Math.ceil(depth / most));
