/** Ranks that compute together: each has a part of the tensors, and calls exchange them. */
import { version } from '../../package.json';
import { checkChoice, checkOptions, checkWhole, show } from '../check';
import { DTypeError, ParameterError, ShapeError } from '../errors';
import { checkControl, checkTensors } from '../ops/check';
import { cast, contiguous, widened } from '../ops/copy';
import { zeros } from '../ops/float32';
import { mapOne } from '../ops/map/core';
import { max, ofMaxima, sum } from '../ops/reduce';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import { type DType, isFloat } from '../tensor/dtype';
import { checkShape, formatShape, type Shape, sizeOf } from '../tensor/shape';
import { type Derivative, record, tapeOf } from '../tensor/tape';
import { disposeKey, Tensor } from '../tensor/tensor';
import { type ExchangeCall, exchanging, type Group, meet } from './exchange';
import { Flights } from './flights';
import type { Transport } from './transport';

/** Extents along an axis, by rank. */
type Counts = readonly number[];

export interface SendRecvOptions extends Control {
  /** That of the tensor which is received. Default: that of `x`. */
  readonly shape?: Shape | undefined;
}

export interface GatherOptions extends Control {
  /** Default: 0. */
  readonly axis?: number | undefined;
  /** Extents along the axis of each rank's part. Default: all alike. */
  readonly counts?: Counts | undefined;
}

export interface AllToAllOptions extends Control {
  /** The axis that is cut, a piece for each rank. */
  readonly split: number;
  /** The axis along which the received pieces are joined, in the order of ranks. Default: `split`. */
  readonly concat?: number | undefined;
  /** Extents along `split` of the pieces for each rank. Default: all alike. */
  readonly counts?: Counts | undefined;
  /** Extents along `concat` of the pieces from each rank. Default: that of this rank's own piece. */
  readonly received?: Counts | undefined;
}

export interface AllReduceOptions extends Control {
  /** Default: `'sum'`. */
  readonly operation?: 'sum' | 'max' | undefined;
}

/** How long a call waits for the other ranks. */
const DEFAULT_SECONDS = 300;
/** Up to so many elements all ranks send all others everything and add it up themselves. */
const SMALL = 2 ** 12;

/**
 * The ranks of a program. All of them make the same calls in the same order. A call checks its arguments, returns its tensor at
 * once and takes its turn in the order of its runtime; exchange goes on while kernels run that need nothing of it. What goes
 * wrong on one rank is a fault of the results on all that it sends to. Gradients are those of the sum of all ranks' losses.
 */
export class Communicator {
  #calls = 0;
  #nextContext: { value: number };
  #disposed = false;

  /** For `communicator()`, `split()` and `on()`. */
  constructor(
    readonly runtime: Runtime,
    private readonly group: Group,
    contexts: { value: number },
    private readonly isSilent = false,
  ) {
    this.#nextContext = contexts;
  }

  /** From 0 to `size` - 1. */
  get rank(): number {
    return this.group.rank;
  }

  get size(): number {
    return this.group.members.length;
  }

  /**
   * Sends x to one rank and receives a tensor of the same element type from another: [...] -> `shape`. Without `to` nothing is
   * sent, and without `from` the result is zeros. The gradient goes the way back.
   */
  sendRecv<D extends DType>(
    x: Tensor<D>,
    to: number | undefined,
    from: number | undefined,
    options: SendRecvOptions = {},
  ): Tensor<D> {
    this.#check('sendRecv', x, options, ['shape']);
    for (const [name, rank] of Object.entries({ to, from }))
      if (rank !== undefined) checkWhole(`${name} of sendRecv`, rank, 0, this.size - 1);
    const { shape = x.shape, ...control } = options;
    checkShape('shape of sendRecv', shape);
    const forward = (x: Tensor) => {
      if (from === undefined) {
        this.#exchange('sendRecv', at(to, contiguousOf(x)), [], x.dtype, control, [0]);
        return this.#zeros(shape, x.dtype);
      }
      return this.#exchange('sendRecv', at(to, contiguousOf(x)), at(from, shape), x.dtype, control, shape);
    };
    const backward = (gradient: Tensor, control: Control) =>
      this.sendRecv(gradient, from, to, { shape: x.shape, ...control });
    return this.#differentiable('sendRecv', x, shape, forward, backward);
  }

  /**
   * Cuts x along an axis, a piece for each rank, and joins the pieces that all ranks have for this one, in their order. The
   * gradient goes the way back.
   */
  allToAll<D extends DType>(x: Tensor<D>, options: AllToAllOptions): Tensor<D> {
    this.#check('allToAll', x, options, ['split', 'concat', 'counts', 'received']);
    const { split, concat = split, counts: given, received: expected, ...control } = options;
    const extent = axisExtent('split of allToAll', x, split);
    axisExtent('concat of allToAll', x, concat);
    const counts = this.#counts('counts of allToAll', given, this.#parts(extent, 'split'), extent);
    const own = counts[this.rank] as number;
    const each = split === concat ? own : (x.shape[concat] as number);
    const received = this.#counts('received of allToAll', expected, this.#all(each));
    const total = sumOf(received);
    const shape = x.shape.map((e, axis) => (axis === concat ? total : axis === split ? own : e));
    const forward = (x: Tensor) => {
      // With the joined axis in front, the pieces that come one after the other are the whole.
      // Ranks that exchange nothing send no messages either.
      const pieces = partsOf(x, split, counts).map((piece) =>
        piece.size > 0 ? contiguousOf(toFront(piece, concat)) : undefined,
      );
      const front = frontShape(shape, concat);
      const shapes = received
        .map((count) => [count, ...front.slice(1)])
        .map((shape) => (sizeOf(shape) > 0 ? shape : undefined));
      return toPlace(this.#exchange('allToAll', pieces, shapes, x.dtype, control, front), concat);
    };
    const backward = (gradient: Tensor, control: Control) =>
      this.allToAll(gradient, { split: concat, concat: split, counts: received, received: counts, ...control });
    return this.#differentiable('allToAll', x, shape, forward, backward);
  }

  /** All ranks' tensors joined along an axis. Its gradient is a `reduceScatter`. */
  allGather<D extends DType>(x: Tensor<D>, options: GatherOptions = {}): Tensor<D> {
    this.#check('allGather', x, options, ['axis', 'counts']);
    const { axis = 0, counts: given, ...control } = options;
    const extent = axisExtent('axis of allGather', x, axis);
    const counts = this.#counts('counts of allGather', given, this.#all(extent));
    if (counts[this.rank] !== extent)
      throw new ShapeError(
        `counts of allGather[${this.rank}] must be the extent ${extent} of x, got ${counts[this.rank]}`,
      );
    const shape = x.shape.map((e, at) => (at === axis ? sumOf(counts) : e));
    const forward = (x: Tensor) => {
      const piece = contiguousOf(toFront(x, axis));
      const front = frontShape(shape, axis);
      const shapes = counts.map((count) => [count, ...front.slice(1)]);
      return toPlace(this.#exchange('allGather', this.#all(piece), shapes, x.dtype, control, front), axis);
    };
    const backward = (gradient: Tensor, control: Control) => this.reduceScatter(gradient, { axis, counts, ...control });
    return this.#differentiable('allGather', x, shape, forward, backward);
  }

  /**
   * The sum of all ranks' tensors, f32, f16 or bf16, of which each rank gets its part along an axis. Sums are in f32, in the
   * order of ranks. Its gradient is an `allGather`.
   */
  reduceScatter<D extends DType>(x: Tensor<D>, options: GatherOptions = {}): Tensor<D> {
    this.#check('reduceScatter', x, options, ['axis', 'counts']);
    checkFloats('reduceScatter', x);
    const { axis = 0, counts: given, ...control } = options;
    const extent = axisExtent('axis of reduceScatter', x, axis);
    const counts = this.#counts('counts of reduceScatter', given, this.#parts(extent, 'axis'), extent);
    const own = counts[this.rank] as number;
    const shape = x.shape.map((e, at) => (at === axis ? own : e));
    const forward = (x: Tensor) => {
      const pieces = partsOf(x, axis, counts).map(contiguousOf);
      const together = [this.size, ...shape];
      return reduced('sum', this.#exchange('reduceScatter', pieces, this.#all(shape), x.dtype, control, together));
    };
    const backward = (gradient: Tensor, control: Control) => this.allGather(gradient, { axis, counts, ...control });
    return this.#differentiable('reduceScatter', x, shape, forward, backward);
  }

  /**
   * The sum of all ranks' tensors, or the largest of their elements; f32, f16 or bf16. The same bits on all ranks. The gradient
   * of a sum is that of the results summed, of a maximum it goes to the ranks that have it, in equal shares.
   */
  allReduce<D extends DType>(x: Tensor<D>, options: AllReduceOptions = {}): Tensor<D> {
    this.#check('allReduce', x, options, ['operation']);
    checkFloats('allReduce', x);
    const { operation = 'sum', ...control } = options;
    checkChoice('operation of allReduce', operation, ['sum', 'max']);
    const name = `allReduce ${operation}`;
    const forward = (x: Tensor) => {
      const flat = contiguousOf(x).reshape([x.size]);
      if (x.size <= SMALL || this.size === 1) {
        const together = [this.size, ...x.shape];
        return reduced(
          operation,
          this.#exchange(name, this.#all(flat), this.#all(flat.shape), x.dtype, control, together),
        );
      }
      const counts = evenly(x.size, this.size);
      const own = [counts[this.rank] as number];
      const together = [this.size, ...own];
      const parts = this.#exchange(name, partsOf(flat, 0, counts), this.#all(own), x.dtype, control, together);
      const part = reduced(operation, parts);
      const shapes = counts.map((count) => [count]);
      return this.#exchange(name, this.#all(part), shapes, x.dtype, control, x.shape);
    };
    const backward = (gradient: Tensor, control: Control, { x, out }: Readonly<Record<string, Tensor>>) => {
      const total = this.allReduce(gradient, control);
      if (!x || !out) return total;
      const isLargest = mapOne(ofMaxima.largest(), { x: widened(x), out: widened(out) });
      const count = this.allReduce(isLargest, control);
      return mapOne(ofMaxima.share(), { isLargest, count, gradOut: widened(total) });
    };
    return this.#differentiable(name, x, x.shape, forward, backward, operation === 'max' ? ['x', 'out'] : []);
  }

  /** The tensor of rank `root` on all of them; the others give one of its shape. Its gradient is the sum of all ranks', at the root. */
  broadcast<D extends DType>(x: Tensor<D>, root = 0, options: Control = {}): Tensor<D> {
    this.#check('broadcast', x, options, []);
    checkWhole('root of broadcast', root, 0, this.size - 1);
    const forward = (x: Tensor) => {
      const sends = this.rank === root ? this.#all(contiguousOf(x)) : [];
      return this.#exchange('broadcast', sends, at(root, x.shape), x.dtype, options, x.shape);
    };
    const backward = (gradient: Tensor, control: Control) => this.#reduceTo(root, gradient, control);
    return this.#differentiable('broadcast', x, x.shape, forward, backward);
  }

  /** Resolves when all ranks have called it and computed what they called before. */
  async barrier(): Promise<void> {
    this.#assertUsable('barrier()');
    using empty = this.runtime.empty([0]);
    using nothing = this.#exchange('barrier', this.#all(empty), this.#all([0]), 'f32', {}, [0]);
    await nothing.read();
  }

  /**
   * A communicator of those ranks that give the same colour, a whole number, in the order of their keys and then of their
   * ranks; undefined for those without a colour.
   */
  async split(colour: number | undefined, key = this.rank): Promise<Communicator | undefined> {
    this.#assertUsable('split()');
    if (colour !== undefined) checkWhole('colour of split', colour, 0, 2 ** 31 - 1);
    checkWhole('key of split', key, -(2 ** 31), 2 ** 31 - 1);
    using own = this.runtime.tensor(Int32Array.of(colour ?? -1, key, this.#nextContext.value), [1, 3]);
    using all = this.allGather(own);
    const rows = await all.read();
    const entries = this.group.members.map((member, rank) => {
      const [colour, key, context] = rows.subarray(3 * rank) as unknown as [number, number, number];
      return { member, colour, key, context, rank };
    });
    // Above all that any of the ranks has used.
    const context = Math.max(...entries.map((entry) => entry.context));
    this.#nextContext.value = context + 1;
    if (colour === undefined) return undefined;
    const chosen = entries.filter((entry) => entry.colour === colour).sort((a, b) => a.key - b.key || a.rank - b.rank);
    const members = chosen.map(({ member }) => member);
    const rank = members.indexOf(this.group.members[this.rank] as number);
    return new Communicator(this.runtime, { ...this.group, context, members, rank }, this.#nextContext);
  }

  /**
   * @internal For tensors of another runtime: as many ranks that exchange nothing, so that results are as large as they would be, for
   * what counts memory.
   */
  on(runtime: Runtime): Communicator {
    return runtime === this.runtime ? this : new Communicator(runtime, this.group, { value: 0 }, true);
  }

  /** Calls are refused afterwards. Disposing twice is harmless. */
  dispose(): void {
    this.#disposed = true;
  }

  [disposeKey](): void {
    this.dispose();
  }

  toString(): string {
    return `Communicator(rank ${this.rank} of ${this.size} by ${this.group.transport.name})`;
  }

  #reduceTo(root: number, x: Tensor, control: Control): Tensor {
    return this.runtime.scope(() => {
      const isRoot = this.rank === root;
      const shapes = isRoot ? this.#all(x.shape) : [];
      const together = isRoot ? [this.size, ...x.shape] : [0];
      const all = this.#exchange('broadcast, back', at(root, contiguousOf(x)), shapes, x.dtype, control, together);
      return isRoot ? reduced('sum', all) : this.#zeros(x.shape, x.dtype);
    });
  }

  /** Sends a piece to each rank and receives one of each; returns them one after the other, together of that shape. */
  #exchange(
    name: string,
    sends: ExchangeCall['sends'],
    receives: ExchangeCall['receives'],
    dtype: DType,
    control: Control,
    shape: Shape,
  ): Tensor {
    const { runtime, group } = this;
    const out = runtime.allocate([...shape], dtype);
    if (this.isSilent) return out;
    const what = `${name}, call ${this.#calls++}`;
    const call = { group, what, sends, receives, out };
    const inputs = [...new Set(sends)].filter((piece): piece is Tensor => piece !== undefined);
    runtime.calls.run(exchanging, { make: () => call }, inputs, [out], control);
    return out;
  }

  /** Runs `forward` on x untracked; for the tape it is one call with `backward` as its derivative. */
  #differentiable<D extends DType>(
    name: string,
    x: Tensor<D>,
    shape: Shape,
    forward: (x: Tensor) => Tensor,
    backward: (gradient: Tensor, control: Control, saved: Readonly<Record<string, Tensor>>) => Tensor,
    saves: readonly string[] = [],
  ): Tensor<D> {
    const { runtime } = this;
    const tape = tapeOf(name, { x });
    const out = runtime.scope(() => forward(tape ? untracked(x) : x));
    const gradients: Derivative['gradients'] = (saved, { out }, _, control) => ({
      x: backward(out ?? this.#zeros(shape, 'f32'), control, saved),
    });
    // Other ranks wait for their part of the gradient, also where this rank's loss does not depend on the result.
    if (tape) record(name, tape, { x }, { out }, { saves, gradients, always: true });
    return out as Tensor<D>;
  }

  #zeros(shape: Shape, dtype: DType): Tensor {
    return dtype === 'f32' ? zeros(this.runtime, shape) : this.runtime.zeros(shape, dtype);
  }

  /** The same for each rank. */
  #all<T>(value: T): T[] {
    return Array.from({ length: this.size }, () => value);
  }

  #parts(extent: number, axis: string): Counts | string {
    const { size } = this;
    if (extent % size === 0) return this.#all(extent / size);
    return `the ${size} ranks do not divide the extent ${extent} along ${axis}: say counts`;
  }

  #counts(name: string, given: Counts | undefined, otherwise: Counts | string, total?: number): Counts {
    if (given === undefined) {
      if (typeof otherwise === 'string') throw new ShapeError(otherwise);
      return otherwise;
    }
    if (!Array.isArray(given) || given.length !== this.size)
      throw new ParameterError(`${name} must be an extent for each of the ${this.size} ranks, got ${show(given)}`);
    for (const [rank, count] of given.entries()) checkWhole(`${name}[${rank}]`, count, 0);
    if (total !== undefined && sumOf(given) !== total)
      throw new ShapeError(`${name} must sum to the extent ${total}, got ${show(given)}`);
    return given;
  }

  #check(name: string, x: Tensor, options: Control, known: readonly string[]): void {
    this.#assertUsable(name);
    checkTensors({ x });
    checkOptions(name, options, [...known, 'signal', 'onProgress']);
    checkControl(options);
    x.assertUsable(`x of ${name}`);
    if (x.runtime !== this.runtime)
      throw new ParameterError(`x of ${name} lives on another runtime than the communicator`);
  }

  #assertUsable(use: string): void {
    if (this.#disposed) throw new ParameterError(`${use}: the communicator was disposed`);
  }
}

const sumOf = (counts: Counts): number => counts.reduce((total, count) => total + count, 0);

/** A list with one entry, or none. */
function at<T>(rank: number | undefined, value: T): T[] {
  const list: T[] = [];
  if (rank !== undefined) list[rank] = value;
  return list;
}

/** Parts of a whole that differ by at most one. */
const evenly = (total: number, parts: number): number[] =>
  Array.from({ length: parts }, (_, at) => Math.floor(((at + 1) * total) / parts) - Math.floor((at * total) / parts));

const untracked = (x: Tensor): Tensor =>
  new Tensor(x.runtime, x.storage.retain(), x.dtype, x.shape, x.strides, x.offset);

const contiguousOf = (x: Tensor): Tensor => (x.isContiguous ? x : contiguous(x));

/** Along an axis. */
function partsOf(x: Tensor, axis: number, counts: Counts): Tensor[] {
  let past = 0;
  return counts.map((count) => {
    past += count;
    return x.slice(axis, past - count, past);
  });
}

const frontShape = (shape: Shape, axis: number): number[] => [
  shape[axis] as number,
  ...shape.filter((_, at) => at !== axis),
];

const toFront = (x: Tensor, axis: number): Tensor =>
  axis === 0 ? x : x.permute([axis, ...[...x.shape.keys()].filter((at) => at !== axis)]);

/** Undoes `toFront`, contiguous. */
function toPlace(x: Tensor, axis: number): Tensor {
  if (axis === 0) return x;
  const axes = [...x.shape.keys()].slice(1);
  axes.splice(axis, 0, 0);
  return contiguousOf(x.permute(axes));
}

/** Over the first axis, in f32. */
function reduced(operation: 'sum' | 'max', x: Tensor): Tensor {
  if (x.size === 0) return x.runtime.zeros(x.shape.slice(1), x.dtype);
  const reduce = operation === 'sum' ? sum : max;
  const result = reduce(widened(x), { axes: [0] });
  return x.dtype === 'f32' ? result : cast(result, x.dtype as 'f16');
}

function axisExtent(name: string, { shape }: Tensor, axis: number): number {
  const extent = Number.isInteger(axis) ? shape[axis] : undefined;
  if (extent === undefined)
    throw new ShapeError(`${name} must be one of the ${shape.length} axes of ${formatShape(shape)}, got ${show(axis)}`);
  return extent;
}

function checkFloats(name: string, { dtype }: Tensor): void {
  if (!isFloat(dtype)) throw new DTypeError(`x of ${name} must be of floating-point numbers, got ${dtype}`);
}

/** Throws unless it is a communicator. */
export function checkCommunicator(given: Communicator): void {
  if (!(given instanceof Communicator))
    throw new ParameterError(`communicator must be a Communicator, got ${show(given)}`);
}

/** The communicator of all ranks that a transport reaches. */
export async function openCommunicator(
  runtime: Runtime,
  transport: Transport,
  seconds = DEFAULT_SECONDS,
): Promise<Communicator> {
  const members = Array.from({ length: transport.size }, (_, rank) => rank);
  const group = { transport, context: 0, members, rank: transport.rank, flights: new Flights(transport.name), seconds };
  await meet(group, `saccade ${version}`);
  return new Communicator(runtime, group, { value: 1 });
}
