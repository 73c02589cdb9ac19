/** How many multiplications a model takes, found by its calls on memory that holds nothing. */
import { checkRecord } from '../check';
import { areaAt } from '../masks/area';
import type { Backend } from '../runtime/backend';
import type { Buffer } from '../runtime/memory';
import type { Op } from '../runtime/op';
import type { Pause } from '../runtime/order';
import { runtimeOn } from '../runtime/runtime';
import type { Elements } from '../tensor/elements';
import { hostTensor } from '../tensor/host';
import { checkShape, type Shape, sizeOf } from '../tensor/shape';
import type { CreatedModel } from './define';

// biome-ignore lint/suspicious/noExplicitAny: each op has calls of its own.
type AnyCall = any;

/** Whether a tensor was written from the host: the weights of pooling and of resizing, which are products here. */
type IsConstant = (x: Elements) => boolean;

/** Products that are added up, of the calls of ops that are made of them. */
const COUNTS: Readonly<Record<string, (call: AnyCall, isConstant: IsConstant) => number>> = {
  conv: ({ results, weight }) => sizeOf(results.shape) * sizeOf(weight.shape.slice(2)),
  matmul: ({ a, b, out }, isConstant) => ([a, b].some(isConstant) ? 0 : sizeOf(out.shape) * a.shape.at(-1)),
  attention({ q, v, mask }) {
    const [[b, n, h, d], [, m, g, e]] = [q.shape, v.shape];
    return b * h * areaAt(mask, { b, n, m, h, g, batch: 0, head: 0 }) * (d + e);
  },
  linearAttention({ q, v }) {
    const [[b, n, h, d], [, m, , e]] = [q.shape, v.shape];
    return b * h * d * (n + m) * e;
  },
};

/** Memory that holds nothing, and calls that are counted. */
class Counter implements Backend {
  readonly name = 'reference';
  multiplications = 0;
  readonly #constants = new WeakSet<Buffer>();

  allocate = (bytes: number): Buffer => ({ bytes });
  release(): void {}
  write(buffer: Buffer): void {
    this.#constants.add(buffer);
  }
  read = async (_: Buffer, _offset: number, length: number) => new Uint8Array(length);

  /** Each row as the integers from 0 on, which are places that differ. */
  known({ dtype, shape }: Elements) {
    const row = shape.at(-1) ?? 1;
    return hostTensor(
      Array.from({ length: sizeOf(shape) }, (_, at) => at % row),
      shape,
      dtype,
    );
  }

  memory = () => ({ live: 0, peak: 0, reserved: 0 });
  resetPeak(): void {}
  explain = () => [];
  dispose(): void {}

  *run<Call>({ name }: Op<Call>, call: Call): Generator<Pause, undefined, void> {
    this.multiplications += COUNTS[name]?.(call, ({ storage }) => this.#constants.has(storage.buffer)) ?? 0;
  }
}

/**
 * How many products convolutions, matrix products and attention of an inference add up, folded as far as the model folds: what papers
 * call multiply-accumulates, or often FLOPs. Pooling, resizing and whatever is by element do not count. Nothing is computed and no
 * memory is taken.
 *
 * @param shapes those of the inputs, such as `{ x: [1, 3, 224, 224] }`; integers among them count as 0, 1, 2 and so on
 */
export function countMultiplications<In>(
  model: Pick<CreatedModel<In>, 'parameters' | 'integers' | 'forward' | 'fold'>,
  shapes: { readonly [Name in keyof In]: Shape },
): number {
  checkRecord('model', model);
  checkRecord('shapes', shapes);
  const counter = new Counter();
  const runtime = runtimeOn(counter);
  const empty = (name: string, shape: Shape) => {
    checkShape(name, shape);
    return runtime.empty(shape, model.integers.includes(name) ? 'i32' : 'f32');
  };
  const entries = Object.entries<{ readonly shape: Shape }>(model.parameters);
  const parameters = model.fold(Object.fromEntries(entries.map(([name, { shape }]) => [name, empty(name, shape)])));
  counter.multiplications = 0;
  const inputs = Object.entries<Shape>(shapes).map(([name, shape]) => [name, empty(name, shape)]);
  model.forward(Object.fromEntries(inputs) as In, parameters);
  return counter.multiplications;
}
