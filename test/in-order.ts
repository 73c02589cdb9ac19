import { Order, type Pause, type Turn } from '../src/runtime/order';

/** Has work its turn after what was given before, as a runtime does with calls; resolves or rejects with how it ends. */
export function inOrder(): <T>(work: Generator<Pause, T, void>) => Promise<T> {
  const order = new Order();
  return (work) => new Promise((resolve, reject) => order.take(told(work, resolve, reject)));
}

function* told<T>(
  work: Generator<Pause, T, void>,
  resolve: (value: T) => void,
  reject: (reason: unknown) => void,
): Turn {
  try {
    resolve(yield* work);
  } catch (error) {
    reject(error);
  }
}
