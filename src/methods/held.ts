/** Tensors of experiments, which wait for numbers and so cannot have a scope around them. */
import { nextTurn } from '../next-turn';
import type { Runtime } from '../runtime/runtime';
import { toFloat64 } from '../tensor/host';
import { disposeKey, type Tensor } from '../tensor/tensor';

/** Disposes tensors at the end of the block that is `using` it. */
export function held(tensors: readonly Tensor[]): Disposable {
  return {
    [disposeKey]() {
      for (const tensor of tensors) tensor.dispose();
    },
  };
}

/** The numbers of what `compute` returns, of which no tensor stays; others of this thread have a turn before. */
export async function numbersOf(runtime: Runtime, compute: () => Tensor): Promise<Float64Array> {
  await nextTurn();
  const [host] = runtime.scope(() => [compute().toHost()] as const);
  return toFloat64(await host);
}
