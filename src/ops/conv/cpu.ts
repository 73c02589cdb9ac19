/** Plans of convolutions for the CPU. */
import { BoundedMap } from '../../bounded-map';
import { PANEL, SLICE } from '../../runtime/cpu/params';
import {
  ELEMENTS_PER_MICROSECOND,
  FLOPS_PER_MICROSECOND,
  type Machine,
  type Phase,
  type Plan,
} from '../../runtime/cpu/plan';
import type { Values } from '../../runtime/cpu/struct';
import { sizeOf } from '../../tensor/shape';
import { formatTime } from '../../text/format';
import { type Axis, type ConvCall, type Extents, extentsOf, operationsOf, tapsOf } from './call';
import { costOf, type DirectCounts } from './costs';
import { type FourierPlan, fourierPlan, transformOf, windowsOf } from './fourier';
import {
  type ConvAxis,
  type FourierAxis,
  KERNEL_VECTORS,
  PICTURE_VECTORS,
  RESULT_VECTORS,
  TILE_PANELS,
  TILE_SLICES,
} from './params';
import { ConvParams, FourierParams } from './params.generated';

/** Numbers of results that stay in registers, and what a tap costs besides, in multiply-adds: see `grouped.as.ts`. */
const WIDTHS = [8, 7, 6, 5, 4, 3];
const TAP_COST = 1.5;

/** Columns that lie so far apart are not copied with what is between them. */
const LARGEST_STRIDE = 64;

/** Taps from which on `explain()` tells how a convolution by channel is computed. */
const LARGE_KERNEL = 49;

/** Tasks that there are at least, where sizes allow it. */
const LEAST_TASKS = 16;

/** Shares of the multiply-add peak that the two kinds reach. */
const DENSE_SHARE = 0.85;
const GROUPED_SHARE = 0.65;

type Six = readonly [number, number, number, number, number, number];
type TileOf = Pick<Values<typeof ConvAxis>, 'tile' | 'chunk'>;
type Tiles = readonly [z: TileOf, y: TileOf, x: TileOf];

const tables = new BoundedMap<string, Int32Array>(256);

/** As `ConvAxis` says. */
function tableOf(axis: Axis, extent: number, taps: number, results: number): Int32Array {
  const { stride, dilation, up, before } = axis;
  return tables.get(`${[stride, dilation, up, before, extent, taps, results]}`, () => {
    const phases = tapsOf(axis, extent, taps, results);
    let first = 2 * up;
    const heads = phases.flatMap((phase) => {
      const head = [first, phase.length];
      first += 2 * phase.length;
      return head;
    });
    return Int32Array.from([
      ...heads,
      ...phases.flatMap((phase) => phase.flatMap(({ offset, place }) => [offset, place])),
    ]);
  });
}

/**
 * One phase of all taps that some phase has: for the place of each the table has where the places of the phases lie, -1 for those
 * without that tap.
 */
function joinedTableOf(axis: Axis, extent: number, taps: number, results: number): Int32Array {
  const { stride, dilation, up, before } = axis;
  return tables.get(`joined ${[stride, dilation, up, before, extent, taps, results]}`, () => {
    const phases = tapsOf(axis, extent, taps, results);
    const offsets = offsetsOf(phases);
    const first = 2 * up;
    const places = first + 2 * offsets.length;
    return Int32Array.from([
      ...phases.flatMap(() => [first, offsets.length]),
      ...offsets.flatMap((offset, at) => [offset, places + at * up]),
      ...offsets.flatMap((offset) => phases.map((phase) => phase.find((tap) => tap.offset === offset)?.place ?? -1)),
    ]);
  });
}

/** Those of all phases, in order. */
const offsetsOf = (phases: readonly (readonly { readonly offset: number }[])[]): number[] =>
  [...new Set(phases.flatMap((phase) => phase.map(({ offset }) => offset)))].sort((a, b) => a - b);

/** Whether a vector has one channel of four groups, rather than channels of one group. */
function isGrouped({ axes }: ConvCall, { groups, outputs, inputs }: Extents): boolean {
  if (axes[2].stride > LARGEST_STRIDE) return false;
  const grouped = (Math.ceil(groups / 4) * 4 * outputs * inputs) / GROUPED_SHARE;
  const dense = (groups * Math.ceil(outputs / SLICE) * SLICE * inputs) / DENSE_SHARE;
  return grouped < dense;
}

export function planConv(call: ConvCall, { threads }: Machine): Plan {
  const all = extentsOf(call);
  const { way = 'auto' } = call;
  if (!isGrouped(call, all) && way !== 'fourier') return planDense(call, all, threads);
  const fourier = way === 'direct' ? undefined : fourierPlan(call.axes, all);
  const direct = costOf('direct', directCounts(call, all));
  if (fourier && (way === 'fourier' || fourier.cost < direct))
    return { ...planFourier(call, all, fourier), choice: choiceOf(call, all, direct, fourier) };
  const plan = isGrouped(call, all) ? planGrouped(call, all) : planDense(call, all, threads);
  return sizeOf(all.taps) < LARGE_KERNEL ? plan : { ...plan, choice: choiceOf(call, all, direct) };
}

/** Such as `conv [1, 56, 56, 96, 1] by 31 x 31: Fourier (72 x 72; by the model 2.3 ms on a thread, direct 11.4 ms)`. */
function choiceOf(
  call: ConvCall,
  { taps, extents, groups, batch }: Extents,
  direct: number,
  fourier?: FourierPlan,
): string {
  const [, rows, columns] = extents;
  const what = `conv of ${batch} x ${rows} x ${columns} x ${groups} by ${taps.join(' x ')}`;
  const why = call.way === 'auto' || call.way === undefined ? 'by the model of cost' : 'as asked for';
  const told = `direct ${formatTime(direct / 1e6)}`;
  if (!fourier) return `${what}: direct, ${why}`;
  const windows = fourier.y.windows.length * fourier.x.windows.length;
  const sizes = `${fourier.y.size} x ${fourier.x.size}`;
  return `${what}: Fourier in ${windows === 1 ? 'one window' : `${windows} windows`} of ${sizes}, ${why}: ${formatTime(fourier.cost / 1e6)} on a thread, ${told}`;
}

/** What there is to do by `convGrouped`. */
export function directCounts(call: Parameters<typeof operationsOf>[0], all: Extents): DirectCounts {
  const { groups, outputs, inputs, taps, results, batch } = all;
  const channels = Math.ceil(groups / 4) * outputs;
  return {
    macs: operationsOf(call) * (Math.ceil(groups / 4) / groups / 2),
    results: channels * batch * sizeOf(results),
    taps: channels * batch * inputs * sizeOf(taps),
  };
}

/** Tasks are channels, and pictures where channels are few. */
function planFourier(call: ConvCall, all: Extents, { y, x, cost }: FourierPlan): Plan {
  const { weight, bias, epilogue, results } = call;
  const [fromBatch, , , , fromGroup, fromInput] = bytesOf(call.x);
  const [weightGroup, weightOutput, weightInput] = bytesOf(weight);
  const [toBatch, , , , toGroup, toOutput] = bytesOf(results);
  const channels = Math.ceil(all.groups / 4) * all.outputs;
  const pictures = Math.ceil(all.batch / Math.min(all.batch, Math.ceil(LEAST_TASKS / channels)));
  const tasks = channels * Math.ceil(all.batch / pictures);
  const transforms = [y, x].map((plan) => ({ windows: windowsOf(plan), ...transformOf(plan.size) }));
  const { program, work } = epilogue?.compiled ?? { work: 0 };
  return {
    tables: [...transforms.flatMap((each) => Object.values(each)), ...(program ? [program] : [])],
    jobs: (_, addressOf) => {
      const [ofY, ofX] = [y, x].map(({ size, windows }, index): Values<typeof FourierAxis> => {
        const at = index + 1;
        const { stride, dilation, up } = call.axes[at] as Axis;
        const tables = transforms[index] as (typeof transforms)[0];
        return {
          size,
          windows: windows.length,
          stride,
          dilation,
          up,
          from: bytesOf(call.x)[at + 1] as number,
          weight: bytesOf(weight)[at + 3] as number,
          to: bytesOf(results)[at + 1] as number,
          table: addressOf(tables.windows),
          radices: addressOf(tables.radices),
          frequencies: addressOf(tables.frequencies),
          twiddles: addressOf(tables.twiddles),
        };
      }) as [Values<typeof FourierAxis>, Values<typeof FourierAxis>];
      const params = FourierParams({
        batch: all.batch,
        pictures,
        groups: all.groups,
        inputs: all.inputs,
        outputs: all.outputs,
        y: ofY,
        x: ofX,
        from: call.x,
        fromBatch,
        fromGroup,
        fromInput,
        weight,
        weightGroup,
        weightOutput,
        weightInput,
        to: results,
        toBatch,
        toGroup,
        toOutput,
        bias,
        program: program ? addressOf(program) : 0,
      });
      const microseconds = cost / 1000 + (sizeOf(results.shape) * work) / ELEMENTS_PER_MICROSECOND;
      return [
        { phases: [{ kernel: 'convFourier', tasks }], params: [...params, ...(epilogue?.numbers ?? [])], microseconds },
      ];
    },
  };
}

/** How a task goes through rows and columns: with few taps its part of the pictures is whole rows. */
function planGrouped(call: ConvCall, all: Extents): Plan {
  const [, y, x] = call.axes;
  const [, yTaps, xTaps] = call.axes.map((axis, at) =>
    Math.max(
      ...tapsOf(axis, all.extents[at] as number, all.taps[at] as number, all.results[at] as number).map(
        (phase) => phase.length,
      ),
    ),
  ) as [number, number, number];
  const [rows, columns] = [Math.ceil(all.results[1] / y.up), Math.ceil(all.results[2] / x.up)];
  // Columns first: a tile of them with all of its taps in at most a quarter of the pictures' memory.
  const xTile = Math.min(columns, 512);
  const xChunk = Math.max(1, Math.min(xTaps, Math.floor(KERNEL_VECTORS / 4), chunkOf(x, xTile, PICTURE_VECTORS / 4)));
  const rowVectors = (xTile + 9) * x.stride + (xChunk - 1) * Math.abs(x.dilation);
  const most = Math.max(1, Math.floor(PICTURE_VECTORS / rowVectors));
  const width = widthOf(xTile);
  const shares = Math.max(
    1,
    Math.ceil(LEAST_TASKS / (all.batch * Math.ceil(all.groups / 4) * all.outputs * y.up * x.up)),
  );
  const yTile = Math.max(
    1,
    Math.min(
      Math.ceil(rows / shares),
      Math.floor(RESULT_VECTORS / (Math.ceil(xTile / width) * width)),
      Math.floor((most / 2 - 1) / y.stride) + 1,
    ),
  );
  const yChunk = Math.max(1, Math.min(yTaps, Math.floor(KERNEL_VECTORS / xChunk), chunkOf(y, yTile, most)));
  const tiles: Tiles = [NO_TILE, { tile: yTile, chunk: yChunk }, { tile: xTile, chunk: xChunk }];
  const count = Math.ceil(rows / yTile) * y.up * Math.ceil(columns / xTile) * x.up * all.results[0];
  const tasks = all.batch * all.outputs * Math.ceil(all.groups / 4) * count;
  return planOf(call, all, { tiles, width, phases: () => [{ kernel: 'convGrouped', tasks }], share: GROUPED_SHARE });
}

const NO_TILE: TileOf = { tile: 1, chunk: 1 };

/** Taps that a tile can meet at a time, so that what they read is at most `room` elements. */
function chunkOf({ stride, dilation }: Axis, tile: number, room: number): number {
  return Math.max(1, Math.floor((room - (tile + 9) * stride) / Math.abs(dilation)));
}

/** How many results of a row stay in registers, so that little is computed beyond its end. */
function widthOf(columns: number): number {
  const costs = WIDTHS.map((width) => Math.ceil(columns / width) * (width + TAP_COST));
  return WIDTHS[costs.indexOf(Math.min(...costs))] as number;
}

function planDense(call: ConvCall, all: Extents, threads: number): Plan {
  const [z, y, x] = call.axes;
  const { joined, taps } = joinedPhases(call, all);
  const phases = joined > 1 ? 1 : z.up * y.up * x.up;
  const slices = Math.ceil((joined * all.outputs) / SLICE);
  const pixels =
    all.batch * [z, y, x].reduce((count, { up }, at) => count * Math.ceil((all.results[at] as number) / up), 1);
  const panels = Math.ceil(pixels / PANEL);
  const across = Math.ceil(slices / TILE_SLICES);
  // So that the last tiles end together.
  const wanted = Math.max(Math.ceil(panels / TILE_PANELS), Math.min(panels, 2 * threads));
  const tile = PANEL * Math.ceil(panels / (Math.ceil(wanted / threads) * threads));
  const tiles: Tiles = [NO_TILE, NO_TILE, { tile, chunk: 1 }];
  const tasks = all.groups * phases * Math.ceil(pixels / tile) * across;
  return planOf(call, all, {
    tiles,
    width: 0,
    joined,
    bytes: all.groups * slices * SLICE * all.inputs * taps * 4,
    phases: () => [
      { kernel: 'packKernels', tasks: all.groups * phases * slices },
      { kernel: 'convDense', tasks },
    ],
    share: DENSE_SHARE,
  });
}

/** How many phases are outputs of one product, all where few outputs of each would fill a slice badly, or else 1; and its taps. */
function joinedPhases({ axes }: ConvCall, all: Extents): { joined: number; taps: number } {
  const up = axes.reduce((product, axis) => product * axis.up, 1);
  const one = { joined: 1, taps: sizeOf(all.taps) };
  if (up === 1 || axes.some(({ stride }) => stride > 1)) return one;
  const phases = axes.map((axis, at) =>
    tapsOf(axis, all.extents[at] as number, all.taps[at] as number, all.results[at] as number),
  );
  const apart = sizeOf(phases.map((each) => each.flat().length)) * Math.ceil(all.outputs / SLICE);
  const taps = sizeOf(phases.map((each) => offsetsOf(each).length));
  return taps * Math.ceil((up * all.outputs) / SLICE) < apart ? { joined: up, taps } : one;
}

interface How {
  readonly tiles: Tiles;
  readonly width: number;
  readonly joined?: number;
  /** What packed kernels take. */
  readonly bytes?: number;
  phases(): readonly Phase[];
  readonly share: number;
}

function planOf(call: ConvCall, all: Extents, { tiles, width, joined = 1, bytes, phases, share }: How): Plan {
  const { x, weight, bias, epilogue, results, axes } = call;
  const [fromBatch, , , , fromGroup, fromInput] = bytesOf(x);
  const [weightGroup, weightOutput, weightInput] = bytesOf(weight);
  const [toBatch, , , , toGroup, toOutput] = bytesOf(results);
  const taps = axes.map((axis, at) =>
    (joined > 1 ? joinedTableOf : tableOf)(
      axis,
      all.extents[at] as number,
      all.taps[at] as number,
      all.results[at] as number,
    ),
  );
  const { program, work } = epilogue?.compiled ?? { work: 0 };
  return {
    bytes: bytes === undefined ? {} : { packed: bytes },
    tables: [...taps, ...(program ? [program] : [])],
    jobs: ({ packed }, addressOf) => {
      const [z, y, x3] = axes.map(({ stride, up }, at) => ({
        extent: all.extents[at] as number,
        results: all.results[at] as number,
        stride,
        up,
        from: bytesOf(x)[at + 1] as number,
        weight: bytesOf(weight)[at + 3] as number,
        to: bytesOf(results)[at + 1] as number,
        taps: addressOf(taps[at] as Int32Array),
        ...(tiles[at] as TileOf),
      })) as [Values<typeof ConvAxis>, Values<typeof ConvAxis>, Values<typeof ConvAxis>];
      const params = ConvParams({
        batch: all.batch,
        groups: all.groups,
        inputs: all.inputs,
        outputs: all.outputs,
        z,
        y,
        x: x3,
        from: x,
        fromBatch,
        fromGroup,
        fromInput,
        weight,
        weightGroup,
        weightOutput,
        weightInput,
        to: results,
        toBatch,
        toGroup,
        toOutput,
        bias,
        program: program ? addressOf(program) : 0,
        width,
        packed: packed ?? 0,
        joined,
        batchInner: fromBatch === 4 && all.batch > 1,
      });
      const microseconds =
        operationsOf(call) / FLOPS_PER_MICROSECOND / share +
        (sizeOf(results.shape) * (1 + work)) / ELEMENTS_PER_MICROSECOND;
      return [{ phases: phases(), params: [...params, ...(epilogue?.numbers ?? [])], microseconds }];
    },
  };
}

const bytesOf = ({ strides }: ConvCall['x']) => strides.map((stride) => 4 * stride) as unknown as Six;
