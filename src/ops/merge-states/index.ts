/** Softmaxes over parts of the keys, joined by their log-sum-exps. */
import { isRecord, show } from '../../check';
import { ParameterError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { contiguous, overElements } from '../../runtime/cpu/plan';
import type { Op } from '../../runtime/op';
import type { DType } from '../../tensor/dtype';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { widened } from '../copy';
import { defineComposite, f32, floats, type Setting, type TensorSpec, tensorChecker } from '../define';
import { kernels, MergeParams, Part, ROWS } from './params.generated';
import type { MergeBackwardCall, MergeCall } from './reference';

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

const specsOf = (count: number): Record<string, TensorSpec> =>
  named<TensorSpec>(
    Array.from({ length: count }, (_, at) => ({
      out: floats('... e', at > 0 ? { like: 'parts[0].out' } : {}),
      lse: f32('...'),
    })),
  );

/** By the number of parts. */
const checkers: ReturnType<typeof tensorChecker>[] = [];

/** The parts, and their tensors by name. */
interface Parts {
  readonly states: readonly AttentionState[];
  readonly tensors: Readonly<Record<string, Tensor>>;
}

const parts: Setting<readonly AttentionState[], Parts> = {
  expected: `an array of 1 to ${MOST_PARTS} { out, lse }`,
  check(name, given) {
    if (!Array.isArray(given) || given.length === 0 || given.length > MOST_PARTS || !Array.from(given).every(isRecord))
      throw new ParameterError(`${name} must be ${this.expected}, got ${show(given)}`);
    const states = given.map(({ out, lse }: AttentionState) => ({ out, lse }));
    const tensors = named<Tensor>(states);
    const check = checkers[states.length] ?? tensorChecker(specsOf(states.length));
    checkers[states.length] = check;
    check(tensors);
    return { states, tensors };
  },
};

/** @internal */
export const mergeStatesOp = defineComposite({
  name: 'mergeStates',
  inputs: { parts },
  results: { out: floats('... e'), lse: f32('...') },
  run({ parts: { states: parts, tensors } }, options): AttentionState {
    const { out, lse } = parts[0] as AttentionState;
    const given = options as MergeStatesOptions;
    const specs = {
      out: { shape: out.shape, dtype: out.dtype, given: given.out },
      lse: { shape: lse.shape, dtype: 'f32', given: given.lse },
    } as const;
    const derivative: Derivative = {
      saves: () => [...Object.keys(tensors), 'out', 'lse'],
      gradients(saved, { out: gradOut, lse: gradLse }, _, control) {
        const own = parts.map((_, at) => stateOf(saved, `parts[${at}].`));
        const given = { gradOut: gradOut && widened(gradOut), gradLse };
        return named(mergeStatesBackward(own, { ...stateOf(saved), ...given }, control));
      },
    };
    return compute(forward, tensors, specs, (merged) => ({ parts, ...merged }), options, { derivative });
  },
});

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
  return mergeStatesOp({ parts }, options) as AttentionState<D>;
}

const named = <T>(states: readonly { readonly out: T; readonly lse: T }[]): Record<string, T> =>
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
  const inputs = { ...named<Tensor>(parts), out, lse, ...(gradOut && { gradOut }), ...(gradLse && { gradLse }) };
  const specs = Object.fromEntries(
    Object.entries(named<Tensor>(parts)).map(([name, { shape }]) => [name, { shape, dtype: 'f32' as const }]),
  );
  const gradientsIn = (results: Readonly<Record<string, Tensor>>) =>
    parts.map((_, at) => stateOf(results, `parts[${at}].`));
  const call = { parts, out, lse, gradOut, gradLse };
  return gradientsIn(
    compute(backward, inputs, specs, (results) => ({ ...call, gradients: gradientsIn(results) }), control),
  );
}
