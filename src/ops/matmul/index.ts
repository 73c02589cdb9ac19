/** Matrix products. */
import { checkBoolean } from '../../check';
import { DTypeError, ShapeError } from '../../errors';
import type { KernelFiles } from '../../runtime/wasm/modules';
import { FLOATS, PANEL, SLICE } from '../../runtime/wasm/params';
import { contiguous, FLOPS_PER_MICROSECOND, withMemory } from '../../runtime/wasm/plan';
import type { DType } from '../../tensor/dtype';
import { formatShape, sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { checkControl, checkOptions, checkTensors, commonRuntime } from '../check';
import { compute } from '../compute';
import { type CommonAxis, commonAxes } from '../copy/axes';
import type { ResultOptions } from '../float32';
import type { Op } from '../op';
import type { MatmulCall } from './call';
import { DEPTH, GROUP, LeadingAxis, MatmulParams, TILE_PANELS, TILE_SLICES } from './params.generated';

const kernels: KernelFiles = {
  relaxed: () => new URL('./matmul.relaxed.wasm', import.meta.url),
  baseline: () => new URL('./matmul.baseline.wasm', import.meta.url),
};

/** Tiles that there are for each thread, at least, where sizes allow it. */
const TILES_PER_THREAD = 4;

const op: Op<MatmulCall> = {
  name: 'matmul',
  reference: async () => (await import('./reference')).matmul,
  kernels,
  wasm({ a, b, bias, out, axes }, { threads }) {
    const [rows, depth] = a.shape.slice(-2) as [number, number];
    const columns = b.shape.at(-1) as number;
    const batches = sizeOf(axes.map(({ extent }) => extent));
    const [panels, slices] = [Math.ceil(rows / PANEL), Math.ceil(columns / SLICE)];
    const tile = { panels: TILE_PANELS, slices: TILE_SLICES };
    const tiles = () => batches * Math.ceil(panels / tile.panels) * Math.ceil(slices / tile.slices);
    // Which tiles there are changes no bits.
    while (tiles() < TILES_PER_THREAD * threads && tile.panels + tile.slices > 2) {
      if (tile.panels > tile.slices) tile.panels /= 2;
      else tile.slices /= 2;
    }
    const [ofA, ofB] = [packing(axes, 'from'), packing(axes, 'to')];
    const blocks = Math.ceil(depth / DEPTH);
    const bytes = {
      packedA: ofA.matrices * panels * PANEL * depth * 4,
      packedB: ofB.matrices * slices * SLICE * depth * 4,
    };
    const sides = {
      a: { ...contiguous(a), lanes: rows, lane: a.strides.at(-2) as number, term: a.strides.at(-1) as number },
      b: { ...contiguous(b), lanes: columns, lane: b.strides.at(-1) as number, term: b.strides.at(-2) as number },
    };
    return withMemory(bytes, ({ packedA, packedB }) => [
      {
        phases: [
          { kernel: 'packPanels', tasks: ofA.matrices * blocks * Math.ceil(panels / GROUP) },
          { kernel: 'packSlices', tasks: ofB.matrices * blocks * Math.ceil(slices / GROUP) },
          { kernel: 'matmul', tasks: tiles() },
        ],
        params: [
          ...MatmulParams({
            ...{ depth, a: { ...sides.a, packed: packedA }, b: { ...sides.b, packed: packedB }, axes: axes.length },
            ...{ out, bias, biasStride: bias?.strides[0] ?? 0, ...tile },
          }),
          ...[...ofA.axes, ...ofB.axes].flatMap(LeadingAxis),
        ],
        microseconds: (2 * out.size * depth) / FLOPS_PER_MICROSECOND,
      },
    ]);
  },
  webgpu: async () => (await import('./webgpu')).planMatmul,
};

/** How many matrices a factor has, and its leading axes, with the step of each in packed ones. */
function packing(axes: readonly CommonAxis[], factor: 'from' | 'to') {
  let matrices = 1;
  const own = [...axes].reverse().map(({ extent, [factor]: stride }) => {
    const isOne = stride === 0;
    const axis = { extent, stride, matrices: isOne ? 0 : matrices };
    if (!isOne) matrices *= extent;
    return axis;
  });
  return { matrices, axes: own.reverse() };
}

export interface MatmulOptions extends ResultOptions {
  /** Whether the last two axes of a are swapped, [..., k, r]; default false. */
  readonly transposeA?: boolean | undefined;
  /** Whether the last two axes of b are swapped, [..., c, k]; default false. */
  readonly transposeB?: boolean | undefined;
  /** [c], of the dtype of a and b, added to every row. */
  readonly bias?: Tensor | undefined;
}

/**
 * The matrix product a b + bias: a [..., r, k], b [..., k, c] -> [..., r, c]. Leading axes broadcast against each other.
 * f32, f16 or bf16 storage of any strides, f32 arithmetic and result.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {DTypeError} another dtype, or several
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor<'f32'> {
  checkOptions('matmul', options, ['transposeA', 'transposeB', 'bias', 'out', 'signal', 'onProgress']);
  const { transposeA = false, transposeB = false, bias, out: given } = options;
  const inputs = bias === undefined ? { a, b } : { a, b, bias };
  checkInputs(inputs);
  checkControl(options);
  checkBoolean('transposeA', transposeA);
  checkBoolean('transposeB', transposeB);
  const { lead, rows, inner, columns } = extents(a, b, transposeA, transposeB);
  if (bias && (bias.rank !== 1 || bias.shape[0] !== columns))
    throw new ShapeError(`bias must have shape [c] with c = ${columns}, got ${formatShape(bias.shape)}`);
  if (transposeA) {
    using turned = swapped(a);
    return matmul(turned, b, { ...options, transposeA: false });
  }
  if (transposeB) {
    using turned = swapped(b);
    return matmul(a, turned, { ...options, transposeB: false });
  }
  // Rows that lie in memory as one and meet one b are one matrix.
  const strides = a.strides.slice(0, -1);
  const isOne = sizeOf(b.shape.slice(0, -2)) === 1 && commonAxes(a.shape.slice(0, -1), strides, strides).length === 1;
  using left = isOne ? a.reshape([-1, inner]) : a.expand([...lead, rows, inner]);
  using right = isOne ? b.reshape([inner, columns]) : b.expand([...lead, inner, columns]);
  const axes = commonAxes(left.shape.slice(0, -2), left.strides.slice(0, -2), right.strides.slice(0, -2));
  const spec = { shape: [...lead, rows, columns], dtype: 'f32', given } as const;
  const call = ({ out }: { out: Tensor }) => ({ a: left, b: right, bias, out, axes });
  return compute(op, inputs, { out: spec }, call, options).out;
}

/** Throws unless the tensors share a runtime, are floats of one dtype, and not empty. */
function checkInputs(inputs: Readonly<Record<string, Tensor>>): void {
  checkTensors(inputs);
  commonRuntime(inputs);
  const { a } = inputs as { a: Tensor };
  for (const [name, { dtype, shape, size }] of Object.entries(inputs)) {
    if (!(FLOATS as readonly DType[]).includes(dtype))
      throw new DTypeError(`${name} must be ${FLOATS.join(', ')}, got ${dtype}`);
    if (dtype !== a.dtype) throw new DTypeError(`${name} must be ${a.dtype} as a is, got ${dtype}`);
    if (size === 0) throw new ShapeError(`${name} ${formatShape(shape)} is empty`);
  }
}

/** What there is of leading axes, rows, terms and columns; throws unless they fit. */
function extents(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean) {
  const [letters, inB] = [transposeA ? '[..., k, r]' : '[..., r, k]', transposeB ? '[..., c, k]' : '[..., k, c]'];
  if (a.rank < 2) throw new ShapeError(`a must have shape ${letters}, got ${formatShape(a.shape)}`);
  const [rows, inner] = matrixOf(a, transposeA);
  const [terms, columns] = matrixOf(b, transposeB);
  if (b.rank < 2 || terms !== inner) {
    const expected = `b must have shape ${inB} with k = ${inner} as in a ${formatShape(a.shape)}`;
    throw new ShapeError(`${expected}, got ${formatShape(b.shape)}`);
  }
  const rank = Math.max(a.rank, b.rank);
  const lead = Array.from({ length: rank - 2 }, (_, axis) => {
    const [x, y] = [a, b].map(({ shape }) => shape[axis + shape.length - rank] ?? 1) as [number, number];
    if (x !== y && x !== 1 && y !== 1) {
      const expected = `b must have leading axes that broadcast with those of a ${formatShape(a.shape)}`;
      throw new ShapeError(`${expected}, got ${formatShape(b.shape)}`);
    }
    return x === 1 ? y : x;
  });
  return { lead, rows, inner, columns };
}

/** The extents of a matrix. */
function matrixOf({ shape }: Tensor, isTransposed: boolean): [number, number] {
  const [first, second] = shape.slice(-2) as [number, number];
  return isTransposed ? [second, first] : [first, second];
}

/** With the last two axes in each other's place. */
function swapped(x: Tensor): Tensor {
  const axes = [...x.shape.keys()];
  return x.permute([...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
}
