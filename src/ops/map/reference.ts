import { evaluateAll } from '../../expressions/evaluate';
import type { Tensor } from '../../tensor/tensor';
import type { Host } from '../op';
import type { MapCall } from './call';

export function map({ function: { results }, numbers, items }: MapCall, host: Host): void {
  for (const { inputs, outs } of items) {
    const { size } = outs[0] as Tensor;
    const values = evaluateAll(results, size, (name) => {
      const at = Number(name.slice(1));
      return name[0] === 'x' ? host.numbers(inputs[at] as Tensor) : new Float64Array(size).fill(numbers[at] as number);
    });
    outs.forEach((out, at) => {
      host.store(out, values[at] as Float64Array);
    });
  }
}
