import { concat } from '../ops/copy';
import type { Tensor } from '../tensor/tensor';
import { type Communicator, checkCommunicator } from './communicator';

/** What sums tensors over ranks, those in f32 by one exchange: for `sum` of `train`. The same bits on all ranks. */
export function sumOver(ranks: Communicator): (tensors: readonly Tensor[]) => readonly Tensor[] {
  checkCommunicator(ranks);
  return (tensors) => {
    const communicator = ranks.on(tensors[0]?.runtime ?? ranks.runtime);
    if (tensors.some(({ dtype }) => dtype !== 'f32')) return tensors.map((x) => communicator.allReduce(x));
    return communicator.runtime.scope(() => {
      const flat = tensors.map((x) => x.reshape([x.size]) as Tensor<'f32'>);
      const sums = communicator.allReduce(concat(flat, 0));
      let past = 0;
      return tensors.map(({ size, shape }) => {
        past += size;
        return sums.slice(0, past - size, past).reshape(shape);
      });
    });
  };
}
