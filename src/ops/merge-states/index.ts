/** Softmaxes over parts of the keys, joined by their log-sum-exps. */
import { isRecord, show } from '../../check';
import { DTypeError, ParameterError, ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { FLOATS } from '../../runtime/cpu/params';
import { contiguous, overElements } from '../../runtime/cpu/plan';
import type { Op } from '../../runtime/op';
import type { DType } from '../../tensor/dtype';
import { formatShape, sameShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { checkControl, checkOptions, checkTensors, commonRuntime } from '../check';
import { compute } from '../compute';
import { widened } from '../copy';
import { checkContiguous } from '../float32';
import { kernels, MergeParams, Part, ROWS } from './params.generated';
import type { MergeBackwardCall, MergeCall, State } from './reference';

const forward: Op<MergeCall> = {
  name: 'mergeStates',
  reference: async () => (await import('./reference')).mergeStates,
  kernels,
  cpu: (call) => planOf('mergeStates', { ...call, gradOut: undefined, gradLse: undefined, gradients: [] }),
  webgpu: async () => (await import('./webgpu')).planMergeStates,
};

const backward: Op<MergeBackwardCall> = {
  name: 'mergeStatesBackward',
  reference: async () => (await import('./reference')).mergeStatesBackward,
  kernels,
  cpu: (call) => planOf('mergeStatesBackward', call),
  webgpu: async () => (await import('./webgpu')).planMergeStatesBackward,
};

function planOf(kernel: string, { parts, out, lse, gradOut, gradLse, gradients }: MergeBackwardCall) {
  const rows = lse.size;
  const { dtype } = contiguous(out);
  const params = [
    ...MergeParams({ rows, columns: out.size / rows, dtype, parts: parts.length, out, lse, gradOut, gradLse }),
    ...parts.flatMap((part, at) => Part({ ...part, gradOut: gradients[at]?.out, gradLse: gradients[at]?.lse })),
  ];
  return overElements(kernel, Math.ceil(rows / ROWS), params, parts.length * out.size);
}

/** What attention gives over some of the keys: out [..., e] and lse [...], the log of the sum of exponentials, f32. */
export interface AttentionState<D extends DType = DType> {
  readonly out: Tensor<D>;
  readonly lse: Tensor<'f32'>;
}

/** Whose params fit where a job has its own. */
const MOST_PARTS = 128;

export interface MergeStatesOptions<D extends DType = DType> extends Control, Partial<AttentionState<D>> {}

/**
 * The softmax over all keys from softmaxes over parts of them, such as `attention` gives with `out` and `lse`: up to
 * 128 parts out [..., e], f32, f16 or bf16, and lse [...], f32, contiguous -> both, of the same shapes and dtypes. A part
 * whose lse is -Infinity counts nothing, whatever its out; where all are, out is 0 and lse -Infinity.
 *
 * @throws {ShapeError} shapes that differ, strided or empty ones
 * @throws {DTypeError} dtypes that differ, or other ones
 */
export function mergeStates<D extends DType>(
  parts: readonly AttentionState<D>[],
  options: MergeStatesOptions<D> = {},
): AttentionState<D> {
  if (!Array.isArray(parts) || parts.length === 0 || parts.length > MOST_PARTS || !Array.from(parts).every(isRecord))
    throw new ParameterError(`parts must be an array of 1 to ${MOST_PARTS} { out, lse }, got ${show(parts)}`);
  const states = parts.map(({ out, lse }) => ({ out, lse }) as AttentionState<D>);
  const inputs = named(states);
  checkTensors(inputs);
  commonRuntime(inputs);
  checkOptions('mergeStates', options, ['out', 'lse', 'signal', 'onProgress']);
  checkControl(options);
  checkContiguous(inputs);
  const { out: first } = states[0] as AttentionState<D>;
  if (!(FLOATS as readonly DType[]).includes(first.dtype))
    throw new DTypeError(`parts[0].out must be ${FLOATS.join(', ')}, got ${first.dtype}`);
  if (first.rank < 1) throw new ShapeError('parts[0].out must have shape [..., e], got []');
  const wanted = { out: first, lse: { shape: first.shape.slice(0, -1), dtype: 'f32' } } as const;
  for (const [name, { shape, dtype, size }] of Object.entries(inputs)) {
    const like = name.endsWith('out') ? wanted.out : wanted.lse;
    if (size === 0) throw new ShapeError(`${name} ${formatShape(shape)} is empty`);
    if (!sameShape(shape, like.shape))
      throw new ShapeError(
        `${name} must have shape ${formatShape(like.shape)} as parts[0].out ${formatShape(first.shape)}, got ${formatShape(shape)}`,
      );
    if (dtype !== like.dtype) throw new DTypeError(`${name} must be ${like.dtype}, got ${dtype}`);
  }
  const specs = {
    out: { shape: first.shape, dtype: first.dtype, given: options.out },
    lse: { ...wanted.lse, given: options.lse },
  };
  const make = ({ out, lse }: State) => ({ parts: states, out, lse });
  const derivative: Derivative = {
    saves: [...Object.keys(inputs), 'out', 'lse'],
    gradients(saved, { out: gradOut, lse: gradLse }, _, control) {
      const parts = states.map((_, at) => stateOf(saved, `parts[${at}].`));
      const given = { gradOut: gradOut && widened(gradOut), gradLse };
      return named(mergeStatesBackward(parts, { ...stateOf(saved), ...given }, control));
    },
  };
  return compute(forward, inputs, specs, make, options, { derivative }) as AttentionState<D>;
}

const named = (states: readonly AttentionState[]): Record<string, Tensor> =>
  Object.fromEntries(
    states.flatMap(({ out, lse }, at) => [
      [`parts[${at}].out`, out],
      [`parts[${at}].lse`, lse],
    ]),
  );

const stateOf = (tensors: Readonly<Record<string, Tensor>>, prefix = '') =>
  ({ out: tensors[`${prefix}out`], lse: tensors[`${prefix}lse`] }) as AttentionState<'f32'>;

/** The gradients with respect to the parts of `mergeStates`, f32, from what they were merged to and those of it. */
function mergeStatesBackward(
  parts: readonly AttentionState[],
  { out, lse, gradOut, gradLse }: Omit<MergeBackwardCall, 'parts' | 'gradients'>,
  control: Control,
): readonly AttentionState<'f32'>[] {
  const inputs = { ...named(parts), out, lse, ...(gradOut && { gradOut }), ...(gradLse && { gradLse }) };
  const specs = Object.fromEntries(
    Object.entries(named(parts)).map(([name, { shape }]) => [name, { shape, dtype: 'f32' as const }]),
  );
  const gradientsIn = (results: Readonly<Record<string, Tensor>>) =>
    parts.map((_, at) => stateOf(results, `parts[${at}].`));
  const call = { parts, out, lse, gradOut, gradLse };
  return gradientsIn(
    compute(backward, inputs, specs, (results) => ({ ...call, gradients: gradientsIn(results) }), control),
  );
}
