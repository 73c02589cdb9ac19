/** Ops as benchmarks call them: inputs, operations and bytes follow from their declarations. */
import { type Costed, costOf, shapeFrom, tensorInputs, usualResults } from '../ops/cost';
import { createRuntime } from '../ops/create-runtime';
import type { TensorSpec } from '../ops/define';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import { normal } from '../tensor/random';
import { type Extents, sizeOf } from '../tensor/shape';
import { Tensor } from '../tensor/tensor';
import { known } from './expected';
import { joined } from './operation';
import type { Operation } from './problem';

/** A declared op, whatever it takes. */
export interface AnyOp {
  // biome-ignore lint/suspicious/noExplicitAny: arguments of every type.
  (given: any, options?: any): unknown;
  readonly declaration: Costed;
}

/** Above so many operations a byte arithmetic is the limit, not memory. */
const BALANCE = 4;

/** Calls of an op on random inputs of these extents, with settings beside them. */
export function declaredOperation(op: AnyOp, extents: Extents, settings: object = {}): Operation {
  const { declaration } = op;
  const { operations, bytes } = costOf(declaration, extents);
  const entries = Object.entries(settings);
  const required = Object.fromEntries(entries.filter(([name]) => name in declaration.inputs));
  const options = Object.fromEntries(entries.filter(([name]) => !(name in declaration.inputs)));
  const run = (inputs: object, control: Control) =>
    resultsOf(op({ ...inputs, ...required }, { ...options, ...control }));
  return {
    name: declaration.name,
    flops: () => (operations > BALANCE * bytes ? operations : 0),
    bytes: () => bytes,
    size: () => usualResults(declaration).reduce((sum, [, spec]) => sum + sizeOf(shapeFrom(spec, extents)), 0),
    async expected() {
      using runtime = await createRuntime({ backend: 'reference' });
      return [known(await joined(run(inputsOf(declaration, extents, runtime), {})), 'largest result')];
    },
    open(runtime) {
      const inputs = inputsOf(declaration, extents, runtime);
      let last: readonly Tensor[] = [];
      const dispose = () => {
        for (const tensor of last) tensor.dispose();
      };
      return {
        call(control) {
          dispose();
          last = run(inputs, control);
        },
        result: () => joined(last),
        tensors: [...Object.values(inputs), { dispose }],
      };
    },
  };
}

/** The tensors of a result, whether it is one or several by name. */
const resultsOf = (result: unknown): readonly Tensor[] =>
  result instanceof Tensor ? [result] : Object.values(result as Readonly<Record<string, Tensor>>);

/** Normal numbers, in rows of length 1 about, and indices that any axis has. */
function inputsOf(declaration: Costed, extents: Extents, runtime: Runtime): Readonly<Record<string, Tensor>> {
  const inputs = tensorInputs(declaration).map(([name, spec], at) => [name, inputOf(spec, extents, runtime, at + 1)]);
  return Object.fromEntries(inputs);
}

function inputOf(spec: TensorSpec, extents: Extents, runtime: Runtime, seed: number): Tensor {
  const shape = shapeFrom(spec, extents);
  const numbers = normal(sizeOf(shape), seed);
  const { dtypes, most: limit = Infinity } = spec;
  if (!dtypes.includes('i32')) {
    const scaled = numbers.map((x) => x / Math.sqrt(shape.at(-1) ?? 1));
    return runtime.tensor(limit < Infinity ? scaled.map((x) => limit - Math.abs(x)) : scaled, shape);
  }
  const most = Math.min(...Object.values(extents));
  const indices = Int32Array.from(numbers, (x) => Math.floor(Math.abs(x) * 1e6) % most);
  return runtime.tensor(indices, shape, 'i32');
}
