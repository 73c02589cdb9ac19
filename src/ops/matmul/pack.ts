/** Matrices that are laid out once, as products read them. */
import type { Control } from '../../runtime/backend';
import { SLICE } from '../../runtime/cpu/params';
import { address, overElements } from '../../runtime/cpu/plan';
import type { Op } from '../../runtime/op';
import type { Runtime } from '../../runtime/runtime';
import type { DType } from '../../tensor/dtype';
import type { Shape } from '../../tensor/shape';
import { disposeKey, type Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { boolean, defineComposite, floats, type OptionsOf } from '../define';
import type { Operand } from '../operand';
import { factor } from './few-rows';
import { DEPTH, GROUP, kernels, MatmulParams } from './params.generated';

/** A matrix [k, c] as the right-hand side of products, in f32 and in the layout of its runtime's kernels. */
export class PackedMatrix implements Operand {
  readonly dtype = 'f32';
  readonly isContiguous = true;

  /** @internal Made by `packMatrix`. */
  constructor(
    /** @internal All of it. */
    readonly elements: Tensor<'f32'>,
    /** @internal [k, c]: its rows, on backends whose kernels read those. */
    readonly rows: Tensor<'f32'>,
  ) {}

  get shape(): Shape {
    return this.rows.shape;
  }

  get size(): number {
    return this.rows.size;
  }

  get runtime(): Runtime {
    return this.rows.runtime;
  }

  assertUsable(use: string): void {
    this.rows.assertUsable(use);
  }

  dispose(): void {
    this.rows.dispose();
    this.elements.dispose();
  }

  [disposeKey](): void {
    this.dispose();
  }
}

const rowsOf = <D extends DType>(elements: Tensor<D>, [k, c]: readonly [number, number]): Tensor<D> => {
  using flat = elements.slice(0, 0, k * c);
  return flat.reshape([k, c]);
};

/** Terms that are summed at a time: blocks of them are alike. */
export const termsOf = (depth: number): number => Math.ceil(depth / Math.ceil(depth / DEPTH));

/** How many tasks pack a matrix. */
export const packingTasks = (depth: number, columns: number): number =>
  Math.ceil(depth / termsOf(depth)) * Math.ceil(columns / SLICE / GROUP);

const NO_FACTOR = { address: 0, dtype: 0, lanes: 0, lane: 0, term: 0 };
const NO_PRODUCT = { axes: 0, out: undefined, bias: undefined, biasStride: 0, program: 0, panels: 0, slices: 0 };

interface PackCall {
  readonly matrix: Tensor;
  readonly elements: Tensor;
  readonly rows: Tensor;
}

const op: Op<PackCall> = {
  name: 'packMatrix',
  async reference() {
    const { copy } = await import('../copy/reference');
    return ({ matrix, rows }, host) => copy({ x: matrix, out: rows }, host);
  },
  kernels,
  cpu({ matrix, elements }) {
    const [depth, columns] = matrix.shape as [number, number];
    const sides = { a: NO_FACTOR, b: factor(matrix, columns, -1, -2) };
    const params = MatmulParams({ ...NO_PRODUCT, ...sides, depth, packed: address(elements), terms: termsOf(depth) });
    return overElements('packSlices', packingTasks(depth, columns), params, 2 * matrix.size);
  },
  async webgpu() {
    const { planCopy } = await import('../copy/webgpu');
    return ({ matrix, rows }, workspace) => planCopy({ x: matrix, out: rows }, workspace);
  },
};

/** @internal */
export const packMatrixOp = defineComposite({
  name: 'packMatrix',
  inputs: { matrix: floats('k c', { strided: true }) },
  options: {
    /** Whether the matrix is [c, k], as weights of layers are; default false. */
    transpose: boolean(false),
  },
  run({ matrix, transpose }, control) {
    using transposed = transpose ? matrix.permute([1, 0]) : undefined;
    const x = transposed ?? matrix;
    const [k, c] = x.shape as [number, number];
    const spec = { shape: [k * SLICE * Math.ceil(c / SLICE)], dtype: 'f32' } as const;
    let rows: Tensor<'f32'> | undefined;
    const call = ({ elements }: { elements: Tensor<'f32'> }) => {
      rows = rowsOf(elements, [k, c]);
      return { matrix: x, elements, rows };
    };
    const { elements } = compute(op, { matrix: x }, { elements: spec }, call, control);
    return new PackedMatrix(elements, rows as unknown as Tensor<'f32'>);
  },
});

export interface PackOptions extends OptionsOf<typeof packMatrixOp>, Control {}

/**
 * A matrix [k, c], f32, f16 or bf16, of any strides, for many products on its right-hand side: `matmul` and `linear` take it
 * in the place of a tensor and need not pack it at each call. It is a copy in f32, and has no gradient.
 *
 * @throws {ShapeError} another rank, an empty matrix
 * @throws {DTypeError} a matrix that holds no floats
 */
export const packMatrix = (matrix: Tensor, options: PackOptions = {}): PackedMatrix =>
  packMatrixOp({ matrix }, options);
