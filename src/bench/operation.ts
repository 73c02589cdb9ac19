/** Operations of which all calls read and write the same tensors, and what operations share. */

import { createRuntime } from '../ops/create-runtime';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import { hostTensor, pickRows } from '../tensor/host';
import { type Shape, sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { known } from './expected';
import type { Operation, Task } from './problem';

/** Tensors and whatever else calls take, by name. */
type Held = Readonly<Record<string, unknown>>;

interface Definition<Operands extends Held, Streamed extends Held, Out extends string>
  extends Pick<Operation, 'name' | 'growth' | 'takesGradient' | 'bytes'> {
  /** Default: 0. */
  readonly flops?: Operation['flops'];
  /** Default: all of the result, as the reference backend computes it. */
  readonly expected?: Operation['expected'];
  /** Shapes of what a call writes, by name; one after the other they are the result. */
  outputs(problem: Task['problem']): Readonly<Record<Out, Shape>>;
  /** What every call takes; tensors and the like among it are disposed when the session ends. */
  operands(runtime: Runtime, task: Task): Operands;
  /** Makes data that a call must not find in a cache, about `bytes` of it: each call reads another copy. */
  streamed?(runtime: Runtime, task: Task): () => Streamed;
  run(tensors: Operands & Streamed & Readonly<Record<Out, Tensor<'f32'>>>, control: Control): unknown;
}

/** An operation all calls of which write their results to the same tensors. */
export function tensorOperation<
  Operands extends Held,
  Out extends string,
  Streamed extends Held = Readonly<Record<never, never>>,
>(definition: Definition<Operands, Streamed, Out>): Operation {
  const { outputs, operands, streamed, run, ...rest } = definition;
  type Tensors = Parameters<typeof run>[0];
  const shapesOf = (problem: Task['problem']) => Object.entries<Shape>(outputs(problem));
  const hold = (runtime: Runtime, task: Task) => {
    const outs = shapesOf(task.problem).map(([name, shape]) => [name, unwritten(runtime, shape)] as const);
    return { outs: outs.map(([, out]) => out), held: { ...operands(runtime, task), ...Object.fromEntries(outs) } };
  };
  return {
    flops: () => 0,
    size: (problem) => shapesOf(problem).reduce((sum, [, shape]) => sum + sizeOf(shape), 0),
    async expected(problem, inputs) {
      using runtime = await createRuntime({ backend: 'reference' });
      const { held, outs } = hold(runtime, { problem, inputs });
      run({ ...held, ...streamed?.(runtime, { problem, inputs })() } as Tensors, {});
      return [known(await joined(outs), 'largest result')];
    },
    open(runtime, task) {
      const { held, outs } = hold(runtime, task);
      const sets = streamed && inTurns(rest.bytes(task.problem), streamed(runtime, task));
      return {
        call: (control) => run((sets ? { ...held, ...sets.next() } : held) as Tensors, control),
        result: () => joined(outs),
        tensors: [held, ...(sets?.all ?? [])].flatMap((each) => Object.values(each)).filter(isDisposable),
      };
    },
    ...rest,
  };
}

const isDisposable = (x: unknown): x is Pick<Tensor, 'dispose'> => typeof Object(x).dispose === 'function';

/** A tensor that is NaN until a kernel writes it: nothing left over from elsewhere can pass the gate. */
export const unwritten = (runtime: Runtime, shape: Shape): Tensor<'f32'> =>
  runtime.tensor(new Float32Array(sizeOf(shape)).fill(Number.NaN), shape);

/** The numbers of f32 tensors, one after the other. */
export async function joined(tensors: readonly Tensor[]): Promise<Float32Array> {
  const numbers = new Float32Array(tensors.reduce((sum, { size }) => sum + size, 0));
  let at = 0;
  for (const tensor of tensors) {
    numbers.set((await tensor.read()) as Float32Array, at);
    at += tensor.size;
  }
  return numbers;
}

/** After reading this many bytes, the first of them are no longer in any cache. */
const FAR = 2 ** 28;

/** Copies of something that takes `bytes`; each call takes the next one and does not find it in a cache. */
function inTurns<T>(bytes: number, make: () => T): { readonly all: readonly T[]; next(): T } {
  const all = Array.from({ length: Math.max(1, Math.ceil(FAR / bytes)) }, make);
  let calls = 0;
  return { all, next: () => all[calls++ % all.length] as T };
}

/** What ops give on the reference backend, in float64. */
export async function onReference(compute: (runtime: Runtime) => Tensor): Promise<Float64Array> {
  using runtime = await createRuntime({ backend: 'reference' });
  const result = compute(runtime);
  await runtime.finish();
  const { data } = await runtime.backend.known(result);
  return data as Float64Array;
}

/** Some rows of a matrix [1, rows, columns], or some columns of [rows, columns, 1]. */
export function pick(
  runtime: Runtime,
  x: Float32Array,
  [before, along, after]: readonly [number, number, number],
  places: readonly number[],
): Tensor<'f32'> {
  const { data } = pickRows(hostTensor(x, [before, along, after]), places);
  return runtime.tensor(data, before === 1 ? [places.length, after] : [before, places.length], 'f32');
}
