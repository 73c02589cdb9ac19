import { type Runtime, Tensor } from '../src/index';

/** Does work that waits, such as a test that reads, and disposes what it made on `runtime` but for what it returns. */
export async function scoped<T>(runtime: Runtime, work: () => Promise<T>): Promise<T> {
  const made = new Set<Tensor>();
  const own = runtime.own;
  runtime.own = (tensor) => {
    made.add(tensor);
    own.call(runtime, tensor);
  };
  try {
    const result = await work();
    const kept = result instanceof Tensor ? [result] : Object.values(result ?? {});
    for (const tensor of kept) made.delete(tensor as Tensor);
    return result;
  } finally {
    runtime.own = own;
    for (const tensor of made) tensor.dispose();
  }
}
