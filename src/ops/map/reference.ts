import { evaluateAll } from '../../expressions/evaluate';
import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';
import type { MapCall } from './call';

export function map({ function: { results }, numbers, tensors, items }: MapCall, host: Host): void {
  const captured = tensors.map((x) => host.numbers(x));
  for (const { inputs, outs } of items) {
    const { size } = outs[0] as Tensor;
    const values = evaluateAll(results, size, (name) => {
      const at = Number(name.slice(1));
      if (name[0] === 't') return captured[at] as Float64Array;
      return name[0] === 'x' ? host.numbers(inputs[at] as Tensor) : new Float64Array(size).fill(numbers[at] as number);
    });
    outs.forEach((out, at) => {
      host.store(out, values[at] as Float64Array);
    });
  }
}
