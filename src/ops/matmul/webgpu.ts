/** Matrix products: workgroups take tiles of the result, lanes small blocks of a tile, through slices of the inner extent. */

import { type Dispatch, type Kernel, type Region, variants } from '../../runtime/webgpu/kernel';
import type { Code } from '../../runtime/webgpu/kernels/expressions';
import { functions } from '../../runtime/webgpu/kernels/functions';
import { sumOfParts } from '../../runtime/webgpu/kernels/parts';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import type { Elements } from '../../tensor/elements';
import { rowMajorStrides, type Shape, sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import type { MapCall } from '../map/call';
import type { Elementwise } from '../map/function';
import { codeOf, planMap } from '../map/webgpu';
import { formOf, regionsOf, weightCode } from '../packed/webgpu-blocks';
import type { PackedWeight } from '../packed/weight';
import type { MatmulCall } from './call';

/** How a workgroup shares a tile: lanes in rows and columns, each with quads of rows and of columns. */
interface Tile {
  readonly rowLanes: number;
  readonly columnLanes: number;
  readonly rowQuads: number;
  readonly columnQuads: number;
  /** Terms of a slice. */
  readonly depth: number;
}

/** Quads of a slice's row: one more than there are, so that lanes that store to different slices meet different banks. */
const pitchOf = ({ rowLanes, columnLanes, rowQuads, columnQuads }: Tile) => {
  const spare = rowLanes > 1 ? 1 : 0;
  return { a: rowLanes * rowQuads + spare, b: columnLanes * columnQuads + spare };
};

/** With slices that fit into so much workgroup memory. */
function fitted(tile: Tile, most: number): Tile {
  const { a, b } = pitchOf(tile);
  return 16 * tile.depth * (a + b) <= most ? tile : fitted({ ...tile, depth: tile.depth / 2 }, most);
}

const rowsOf = ({ rowLanes, rowQuads }: Tile) => 4 * rowLanes * rowQuads;
const columnsOf = ({ columnLanes, columnQuads }: Tile) => 4 * columnLanes * columnQuads;

interface Shares {
  /** For few rows and for many. */
  readonly tiles: readonly Tile[];
  /** Lanes that keep the device busy. */
  readonly lanes: number;
  /** A load's time in that of a multiply-add. */
  readonly load: number;
}

const HARDWARE: Shares = {
  tiles: [
    { rowLanes: 1, columnLanes: 64, rowQuads: 1, columnQuads: 1, depth: 16 },
    { rowLanes: 8, columnLanes: 16, rowQuads: 1, columnQuads: 1, depth: 16 },
    { rowLanes: 16, columnLanes: 16, rowQuads: 1, columnQuads: 1, depth: 16 },
    { rowLanes: 16, columnLanes: 16, rowQuads: 2, columnQuads: 2, depth: 8 },
  ],
  lanes: 2 ** 14,
  load: 4,
};

/** A CPU in the place of a GPU has room for what does not fit its registers, but loads each lane's numbers one by one. */
const SOFTWARE: Shares = {
  tiles: [
    { rowLanes: 1, columnLanes: 32, rowQuads: 1, columnQuads: 2, depth: 8 },
    { rowLanes: 1, columnLanes: 16, rowQuads: 4, columnQuads: 2, depth: 8 },
    { rowLanes: 4, columnLanes: 8, rowQuads: 2, columnQuads: 2, depth: 8 },
    { rowLanes: 8, columnLanes: 8, rowQuads: 4, columnQuads: 4, depth: 8 },
  ],
  lanes: 128,
  load: 10,
};

/** Where tiles are few the inner extent is split into parts of at least so much. */
const LEAST_PART = 256;

const lanesOf = ({ rowLanes, columnLanes }: Tile) => rowLanes * columnLanes;

const repeat = <T>(count: number, of: (index: number) => T) => Array.from({ length: count }, (_, i) => of(i));

interface Variant {
  readonly tile: Tile;
  /** Leading ones. */
  readonly axes: number;
  readonly isBiased: boolean;
  /** A b in blocks. */
  readonly blocks: { readonly isFour: boolean; readonly hasMinima: boolean; readonly isAcross: boolean } | undefined;
  readonly epilogue: Pick<Code, 'functions' | 'text' | 'numbers'> | undefined;
}

const productKernel = variants(({ tile, axes, isBiased, blocks, epilogue }: Variant): Kernel => {
  const { rowLanes, columnLanes, rowQuads, columnQuads, depth } = tile;
  const lanes = lanesOf(tile);
  const rows = rowLanes * rowQuads;
  const columns = columnLanes * columnQuads;
  const pitch = pitchOf(tile);
  const indices = repeat(axes, (axis) => `index_${axis}`);
  const sums = repeat(4 * rowQuads, (r) => repeat(columnQuads, (q) => `sum_${r}_${q}`));
  const quadOf = (name: 'a' | 'b') => {
    const [inner, first] = ['inner', `first_${name} + 4 * along.y`];
    if (name === 'b' && blocks) return `four_weights(${inner}, ${first})`;
    return `load4_${name}(at_${name}(${[...indices, inner, first].join(', ')}))`;
  };
  const isAlongInner = (name: 'a' | 'b') =>
    name === 'b' && blocks ? `${!blocks.isAcross}` : `numbers.${name}_stride1 == 1`;
  /** Statements that bring a slice of a or b, in quads along the rows or columns, zeros past the inner extent. */
  const stage = (name: 'a' | 'b', quads: number) => `
    for (var at = lane; at < ${depth * quads}; at += ${lanes}) {
      // Neighbouring lanes take neighbouring elements.
      let along = select(vec2u(at % ${depth}, at / ${depth}), vec2u(at / ${quads}, at % ${quads}), ${isAlongInner(name)});
      let inner = begin + along.x;
      var quad = vec4f(0.0);
      if (inner < end && first_${name} + 4 * along.y < numbers.${name === 'a' ? 'rows' : 'columns'}) {
        quad = ${quadOf(name)};
      }
      slice_${name}[along.x * ${pitch[name]} + along.y] = quad;
    }`;
  return {
    name: `matrix product by tiles of ${rowsOf(tile)} by ${columnsOf(tile)}`,
    invocations: lanes,
    operands: {
      // Transposed, so that quads of rows lie along the last axis.
      a: { access: 'read', rank: axes + 2, vector: true },
      b: blocks ? { access: 'read' } : { access: 'read', rank: axes + 2, vector: true },
      ...(blocks && { scales: { access: 'read' } }),
      ...(blocks?.hasMinima && { minima: { access: 'read' } }),
      ...(isBiased && { bias: { access: 'read', rank: 2, vector: true } }),
      out: { access: 'write', rank: 4, vector: true },
    },
    numbers: {
      rows: 'u32',
      columns: 'u32',
      inner: 'u32',
      part: 'u32',
      parts: 'u32',
      across: 'u32',
      tiles: 'u32',
      ...Object.fromEntries(repeat(axes, (axis) => [`extent_${axis}`, 'u32' as const])),
      ...epilogue?.numbers,
    },
    body: `
${blocks ? weightsCode(blocks) : ''}
${epilogue ? `${functions(...epilogue.functions)}\n${epilogue.text}` : ''}
var<workgroup> slice_a: array<vec4f, ${depth * pitch.a}>;
var<workgroup> slice_b: array<vec4f, ${depth * pitch.b}>;

fn run(task: u32, lane: u32) {
  let batch = task / (numbers.tiles * numbers.parts);
  var rest = batch;
  ${repeat(axes, (axis) => `let index_${axis} = rest % numbers.extent_${axis}; rest /= numbers.extent_${axis};`)
    .reverse()
    .join('\n  ')}
  let part = task / numbers.tiles % numbers.parts;
  let tile = task % numbers.tiles;
  let first_a = (tile / numbers.across) * ${rowsOf(tile)};
  let first_b = (tile % numbers.across) * ${columnsOf(tile)};
  let row_lane = ${rowLanes === 1 ? '0u' : `lane / ${columnLanes}`};
  let column_lane = ${rowLanes === 1 ? 'lane' : `lane % ${columnLanes}`};
  let end = min(numbers.inner, (part + 1) * numbers.part);
  ${sums
    .flat()
    .map((sum) => `var ${sum} = vec4f(0.0);`)
    .join(' ')}
  for (var begin = part * numbers.part; begin < end; begin += ${depth}) {
    workgroupBarrier();
    ${stage('a', rows)}
    ${stage('b', columns)}
    workgroupBarrier();
    for (var k = 0u; k < ${depth}; k++) {
      ${repeat(columnQuads, (q) => `let b_${q} = slice_b[k * ${pitch.b} + column_lane + ${q * columnLanes}];`).join('\n      ')}
      ${repeat(rowQuads, (r) =>
        [
          `let a_${r} = slice_a[k * ${pitch.a} + row_lane + ${r * rowLanes}];`,
          ...repeat(4, (i) =>
            repeat(
              columnQuads,
              (q) => `sum_${4 * r + i}_${q} = fma(vec4f(a_${r}[${i}]), b_${q}, sum_${4 * r + i}_${q});`,
            ),
          ).flat(),
        ].join('\n      '),
      ).join('\n      ')}
    }
  }
  ${sums
    .flatMap((ofRow, r) => [
      `let row_${r} = first_a + 4 * (row_lane + ${Math.floor(r / 4) * rowLanes}) + ${r % 4};`,
      ...ofRow.map((sum, q) => `put(part, batch, row_${r}, first_b + 4 * (column_lane + ${q * columnLanes}), ${sum});`),
    ])
    .join('\n  ')}
}

fn put(part: u32, batch: u32, row: u32, column: u32, values: vec4f) {
  if (row < numbers.rows && column < numbers.columns) {
    ${isBiased ? 'let bias = select(vec4f(0.0), load4_bias(at_bias(row, column)), part == 0);' : ''}
    let sum = values${isBiased ? ' + bias' : ''};
    let done = ${epilogue ? `vec4f(${['x', 'y', 'z', 'w'].map((c) => `mapped(sum.${c})`).join(', ')})` : 'sum'};
    store4_out(at_out(part, batch, row, column), done, numbers.columns - column);
  }
}`,
  };
});

/** `four_weights`: of four columns of b the weights of one term. */
const weightsCode = ({ isAcross, ...how }: NonNullable<Variant['blocks']>) => `
${weightCode('b', how)}
fn four_weights(inner: u32, column: u32) -> vec4f {
  let columns = min(vec4u(column) + vec4u(0, 1, 2, 3), vec4u(numbers.columns - 1));
  return vec4f(${['x', 'y', 'z', 'w']
    .map(
      (each) =>
        `weight_at(${isAcross ? `inner, columns.${each}` : `columns.${each}, inner`}, ${isAcross ? 'numbers.columns' : 'numbers.inner'})`,
    )
    .join(', ')});
}`;

/** A region's elements as other axes. */
const viewed = ({ storage, dtype, offset }: Region, shape: Shape, strides: Shape): Region => ({
  storage,
  dtype,
  offset,
  shape,
  strides,
});

/** Matrices seen the other way. */
export function transposed(x: Region): Region {
  const swap = (axes: Shape) => [...axes.slice(0, -2), ...axes.slice(-2).reverse()];
  return viewed(x, swap(x.shape), swap(x.strides));
}

/** A product by b, or by a weight in blocks that is as large, or, unless it is across, as its transpose. */
export function planMatmul(
  { a, b, bias, epilogue, out, axes }: MatmulCall,
  workspace: Workspace,
  blocks?: { readonly weight: PackedWeight; readonly isAcross: boolean },
): Plan {
  const extents = axes.map(({ extent }) => extent);
  const batches = sizeOf(extents);
  const factor = (x: Elements, strides: Shape) =>
    viewed(x, [...extents, ...x.shape.slice(-2)], [...strides, ...x.strides.slice(-2)]);
  const froms = axes.map(({ from }) => from);
  const tos = axes.map(({ to }) => to);
  const [height, width] = [a.shape.at(-2) as number, b.shape.at(-1) as number];
  // Few columns are few rows of the transposed product.
  const isTall = width < height && !blocks;
  const [left, right] = isTall
    ? [transposed(factor(b, tos)), transposed(factor(a, froms))]
    : [factor(a, froms), factor(b, tos)];
  const [rows, columns] = isTall ? [width, height] : [height, width];
  const seen = (region: Region) => (isTall ? transposed(region) : region);
  const inner = a.shape.at(-1) as number;
  const shares = workspace.device.isSoftware ? SOFTWARE : HARDWARE;
  const mostParts = Math.max(1, Math.floor(inner / LEAST_PART));
  const { maxComputeWorkgroupStorageSize } = workspace.device.limits;
  const tile = fitted(tileFor(batches, rows, columns, mostParts, shares), maxComputeWorkgroupStorageSize);
  const across = Math.ceil(columns / columnsOf(tile));
  const tiles = across * Math.ceil(rows / rowsOf(tile));
  const wanted = Math.max(1, Math.min(Math.floor(shares.lanes / (batches * tiles * lanesOf(tile))), mostParts));
  const part = Math.ceil(inner / wanted / tile.depth) * tile.depth;
  const parts = Math.ceil(inner / part);
  const partial = parts > 1 ? workspace.scratch([parts, ...out.shape]) : undefined;
  const shape = [parts, batches, height, width];
  const result = viewed(partial ?? out, shape, rowMajorStrides(shape));
  const ofBias = bias && { bias: seen(viewed(bias, [height, width], [0, bias.strides[0] as number])) };
  // Parts are summed before it, else each tile applies it.
  const code = epilogue && !partial ? codeOf(epilogue.compiled, [out]) : undefined;
  const dispatches: Dispatch[] = [
    {
      kernel: productKernel({
        tile,
        axes: axes.length,
        isBiased: bias !== undefined,
        blocks: blocks && { ...formOf(blocks.weight), isAcross: blocks.isAcross },
        epilogue: code && { functions: code.functions, text: code.text, numbers: code.numbers },
      }),
      operands: {
        a: transposed(left),
        b: right,
        ...(blocks && regionsOf('b', blocks.weight)),
        out: seen(result),
        ...ofBias,
      },
      numbers: {
        rows,
        columns,
        inner,
        part,
        parts,
        across,
        tiles,
        ...Object.fromEntries(extents.map((extent, axis) => [`extent_${axis}`, extent])),
        ...code?.values,
        ...Object.fromEntries((code ? (epilogue?.numbers ?? []) : []).map((value, at) => [`c${at}`, value])),
      },
      tasks: batches * parts * tiles,
      operations: 2 * out.size * inner,
    },
  ];
  if (partial) dispatches.push(sumOfParts(partial, out));
  if (epilogue && partial) dispatches.push(...planMap(inPlace(epilogue, out)).dispatches);
  return { dispatches };
}

const inPlace = ({ fn, compiled, numbers }: Elementwise, out: Tensor): MapCall => ({
  function: fn,
  compiled,
  numbers,
  tensors: [],
  items: [{ inputs: [out], outs: [out] }],
});

/** The tile that takes least time, by what its lanes compute, load and bring into the workgroup's memory. */
function tileFor(
  batches: number,
  rows: number,
  columns: number,
  mostParts: number,
  { tiles, lanes, load }: Shares,
): Tile {
  const time = (tile: Tile) => {
    const [r, c] = [rowsOf(tile), columnsOf(tile)];
    const count = batches * Math.ceil(rows / r) * Math.ceil(columns / c) * lanesOf(tile);
    const loads = (1 / tile.rowQuads + 1 / tile.columnQuads) / 4 + 2 * (1 / r + 1 / c);
    return Math.max(count, lanes / mostParts) * tile.rowQuads * tile.columnQuads * (1 + load * loads);
  };
  return tiles.reduce((best, tile) => (time(tile) < time(best) ? tile : best));
}
