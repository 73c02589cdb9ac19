/** Plans of convolutions for the CPU. */
import { BoundedMap } from '../../bounded-map';
import { PANEL, SLICE } from '../../runtime/cpu/params';
import {
  ELEMENTS_PER_MICROSECOND,
  FLOPS_PER_MICROSECOND,
  type Job,
  type Machine,
  type Phase,
  type Plan,
} from '../../runtime/cpu/plan';
import type { Values } from '../../runtime/cpu/struct';
import { sizeOf } from '../../tensor/shape';
import { formatTime } from '../../text/format';
import { type Axis, type ConvCall, type Extents, extentsOf, operationsOf, tapsOf, type Way } from './call';
import { costOf, type DirectCounts } from './costs';
import { type AxisPlan, type FourierPlan, fourierPlan, type Local, transformOf, windowsOf } from './fourier';
import {
  type ConvAxis,
  type FourierAxis,
  KERNEL_VECTORS,
  NEAR_COLUMNS,
  NEAR_VECTORS,
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
/** Windows of a task, where tasks share them. */
const LEAST_WINDOWS = 8;

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

/** How a call is computed, which shapes alone decide, and whether channels lie side by side. */
interface How {
  readonly phases: readonly Phase[];
  /** On one thread, without the epilogue. */
  readonly microseconds: number;
  readonly choice?: string | undefined;
}

const hows = new BoundedMap<string, DirectHow | FourierHow>(256);

export function planConv(call: ConvCall, { threads }: Machine): Plan {
  const all = extentsOf(call);
  const { way = 'auto', axes, x, results } = call;
  const steps = [x, results].map(({ strides }) => strides[4]);
  const shapes = `${threads} ${way} ${steps} ${axes.map((axis) => Object.values(axis))} ${Object.values(all)}`;
  const how = hows.get(shapes, () => howOf(call, all, way, threads));
  return 'pictures' in how ? planFourier(call, all, how) : planDirect(call, all, how);
}

function howOf(call: ConvCall, all: Extents, way: Way, threads: number): DirectHow | FourierHow {
  if ((way === 'auto' || way === 'local') && isNear(call, all)) return howNear(call, all);
  const isByChannel = isGrouped(call, all);
  if (!isByChannel && way !== 'fourier') return howDense(call, all, threads);
  const fourier = way === 'direct' ? undefined : fourierPlan(call.axes, all, way === 'local');
  const direct = costOf('direct', directCounts(call, all));
  const isFaster = fourier && (way === 'fourier' || fourier.cost < direct);
  const how = isFaster ? howFourier(all, fourier) : isByChannel ? howGrouped(call, all) : howDense(call, all, threads);
  if (!isFaster && sizeOf(all.taps) < LARGE_KERNEL) return how;
  return { ...how, choice: choiceOf(way, all, direct, isFaster ? fourier : undefined) };
}

const WHY: Readonly<Record<Way, string>> = {
  auto: 'by the model of cost',
  local: 'as it is causal',
  direct: 'as asked for',
  fourier: 'as asked for',
};

/** Such as `conv of 1 x 56 x 56 x 96 by 1 x 31 x 31: Fourier in one window of 72 x 72, by the model of cost: ...`. */
function choiceOf(way: Way, { taps, extents, groups, batch }: Extents, direct: number, fourier?: FourierPlan): string {
  const [, rows, columns] = extents;
  const what = `conv of ${batch} x ${rows} x ${columns} x ${groups} by ${taps.join(' x ')}`;
  const why = WHY[way];
  if (!fourier) return `${what}: direct, ${why}`;
  const { x, y, local, cost } = fourier;
  const windows = y.windows.length * x.windows.length;
  const [own, other] = [formatTime(cost / 1e6), formatTime(direct / 1e6)];
  return `${what}: Fourier in ${windows === 1 ? 'one window' : `${windows} windows`} of ${y.size} x ${x.size}${local ? ' and direct within them' : ''}, ${why}: ${own} on a thread, direct ${other}`;
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

interface FourierHow extends How {
  readonly axes: readonly { readonly plan: AxisPlan; readonly tables: ReturnType<typeof tablesOf> }[];
  /** What a task goes through. */
  readonly pictures: number;
  readonly local: Local | undefined;
  /** Tasks that share the windows of a picture. */
  readonly shares: number;
}

const tablesOf = (plan: AxisPlan) => ({ table: windowsOf(plan), ...transformOf(plan.size) });

/** Tasks are channels, and pictures where channels are few, and windows where those are few, too. */
function howFourier({ groups, outputs, batch }: Extents, { y, x, local, cost }: FourierPlan): FourierHow {
  const channels = Math.ceil(groups / 4) * outputs;
  const pictures = Math.ceil(batch / Math.min(batch, Math.ceil(LEAST_TASKS / channels)));
  const tasks = channels * Math.ceil(batch / pictures);
  // Each share transforms the kernel again.
  const most = local ? Math.max(1, Math.floor(x.windows.length / LEAST_WINDOWS)) : 1;
  const shares = Math.min(most, Math.ceil(LEAST_TASKS / tasks));
  return {
    axes: [y, x].map((plan) => ({ plan, tables: tablesOf(plan) })),
    pictures,
    local,
    shares,
    phases: [{ kernel: 'convFourier', tasks: tasks * shares }],
    microseconds: cost / 1000,
  };
}

function planFourier(
  call: ConvCall,
  all: Extents,
  { axes, pictures, local, shares, phases, microseconds, choice }: FourierHow,
): Plan {
  const program = call.epilogue?.compiled.program;
  return {
    tables: [...axes.flatMap(({ tables }) => Object.values(tables)), ...(program ? [program] : [])],
    interprets: program !== undefined,
    choice,
    jobs: (_, addressOf) => {
      const [y, x] = axes.map(({ plan, tables }, index): Values<typeof FourierAxis> => {
        const { stride, dilation, up } = call.axes[index + 1] as Axis;
        const { table, radices, frequencies, twiddles } = tables;
        return {
          ...bytesAlong(call, index + 1),
          table: addressOf(table),
          radices: addressOf(radices),
          frequencies: addressOf(frequencies),
          twiddles: addressOf(twiddles),
          size: plan.size,
          windows: plan.windows.length,
          stride,
          dilation,
          up,
        };
      }) as [Values<typeof FourierAxis>, Values<typeof FourierAxis>];
      const params = FourierParams({
        ...all,
        ...operandsOf(call),
        pictures,
        shares,
        ...(local ?? { near: 0, parts: 0, partTaps: 0 }),
        extent: all.extents[2],
        y,
        x,
        program: program ? addressOf(program) : 0,
      });
      return [jobOf(call, phases, params, microseconds)];
    },
  };
}

/** Whether it is of each channel by 3 x 3 neighbouring taps, with channels side by side in x and in the results. */
function isNear({ axes, x, results }: ConvCall, { groups, outputs, inputs, extents, taps, results: counts }: Extents) {
  if (groups % 4 !== 0 || outputs * inputs * taps[0] * extents[0] > 1) return false;
  if (x.strides[4] !== 1 || results.strides[4] !== 1) return false;
  return [1, 2].every((at) => {
    const { stride, dilation, up } = axes[at] as Axis;
    if (taps[at] !== 3 || stride * Math.abs(dilation) * up > 1) return false;
    return tapsOf(axes[at] as Axis, extents[at] as number, 3, counts[at] as number)[0]?.length === 3;
  });
}

/** Tasks go down all rows, unless there would be few tasks. */
function howNear(call: ConvCall, all: Extents): DirectHow {
  const [, rows, columns] = all.results;
  const xTile = Math.min(columns, NEAR_COLUMNS);
  const across = all.batch * Math.ceil(all.groups / (4 * NEAR_VECTORS)) * Math.ceil(columns / xTile);
  const yTile = Math.ceil(rows / Math.min(rows, Math.ceil(LEAST_TASKS / across)));
  return {
    taps: tapTables(call, all, tableOf),
    tiles: [NO_TILE, { tile: yTile, chunk: 1 }, { tile: xTile, chunk: 1 }],
    width: 0,
    joined: 1,
    phases: [{ kernel: 'convNear', tasks: across * Math.ceil(rows / yTile) }],
    microseconds: timeOf(call, GROUPED_SHARE),
  };
}

/** How a task goes through rows and columns: with few taps its part of the pictures is whole rows. */
function howGrouped(call: ConvCall, all: Extents): DirectHow {
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
  const phases = [{ kernel: 'convGrouped', tasks }];
  return {
    taps: tapTables(call, all, tableOf),
    tiles,
    width,
    joined: 1,
    phases,
    microseconds: timeOf(call, GROUPED_SHARE),
  };
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

function howDense(call: ConvCall, all: Extents, threads: number): DirectHow {
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
  return {
    taps: tapTables(call, all, joined > 1 ? joinedTableOf : tableOf),
    tiles,
    width: 0,
    joined,
    bytes: all.groups * slices * SLICE * all.inputs * taps * 4,
    phases: [
      { kernel: 'packKernels', tasks: all.groups * phases * slices },
      { kernel: 'convDense', tasks },
    ],
    microseconds: timeOf(call, DENSE_SHARE),
  };
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

interface DirectHow extends How {
  readonly taps: readonly Int32Array[];
  readonly tiles: Tiles;
  readonly width: number;
  readonly joined: number;
  /** What packed kernels take. */
  readonly bytes?: number;
}

const tapTables = ({ axes }: ConvCall, { extents, taps, results }: Extents, make: typeof tableOf): Int32Array[] =>
  axes.map((axis, at) => make(axis, extents[at] as number, taps[at] as number, results[at] as number));

/** Microseconds of multiply-adds at a share of the peak, and of passing over results. */
const timeOf = (call: ConvCall, share: number): number =>
  operationsOf(call) / FLOPS_PER_MICROSECOND / share + sizeOf(call.results.shape) / ELEMENTS_PER_MICROSECOND;

function planDirect(call: ConvCall, all: Extents, how: DirectHow): Plan {
  const { taps, tiles, width, joined, bytes, phases, microseconds, choice } = how;
  const program = call.epilogue?.compiled.program;
  return {
    bytes: bytes === undefined ? {} : { packed: bytes },
    tables: [...taps, ...(program ? [program] : [])],
    interprets: program !== undefined,
    choice,
    jobs: ({ packed }, addressOf) => {
      const [z, y, x] = call.axes.map(({ stride, up }, at) => ({
        ...bytesAlong(call, at),
        ...(tiles[at] as TileOf),
        extent: all.extents[at] as number,
        results: all.results[at] as number,
        stride,
        up,
        taps: addressOf(taps[at] as Int32Array),
      })) as [Values<typeof ConvAxis>, Values<typeof ConvAxis>, Values<typeof ConvAxis>];
      const operands = operandsOf(call);
      const params = ConvParams({
        ...all,
        ...operands,
        z,
        y,
        x,
        program: program ? addressOf(program) : 0,
        width,
        packed: packed ?? 0,
        joined,
        batchInner: operands.fromBatch === 4 && all.batch > 1,
      });
      return [jobOf(call, phases, params, microseconds)];
    },
  };
}

function jobOf({ results, epilogue }: ConvCall, phases: readonly Phase[], params: number[], microseconds: number): Job {
  if (!epilogue) return { phases, params, microseconds };
  const more = (sizeOf(results.shape) * epilogue.compiled.work) / ELEMENTS_PER_MICROSECOND;
  return { phases, params: [...params, ...epilogue.numbers], microseconds: microseconds + more };
}

/** Where elements, kernels and results lie, but for their spatial axes. */
function operandsOf({ x, weight, results, bias }: ConvCall) {
  const [fromBatch, , , , fromGroup, fromInput] = bytesOf(x);
  const [weightGroup, weightOutput, weightInput] = bytesOf(weight);
  const [toBatch, , , , toGroup, toOutput] = bytesOf(results);
  return {
    ...{ from: x, fromBatch, fromGroup, fromInput },
    ...{ weight, weightGroup, weightOutput, weightInput },
    ...{ to: results, toBatch, toGroup, toOutput, bias },
  };
}

/** From one element, tap and result of an axis to the next. */
const bytesAlong = ({ x, weight, results }: ConvCall, axis: number) => ({
  from: 4 * (x.strides[axis + 1] as number),
  weight: 4 * (weight.strides[axis + 3] as number),
  to: 4 * (results.strides[axis + 1] as number),
});

const bytesOf = ({ strides }: ConvCall['x']) => strides.map((stride) => 4 * stride) as unknown as Six;
