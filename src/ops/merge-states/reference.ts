import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/** A softmax over some of the keys: out [..., e], f32, f16 or bf16, and lse [...], f32; both contiguous. */
export interface State {
  readonly out: Tensor;
  readonly lse: Tensor;
}

/** Parts of one shape, at least one, to the state over the keys of all of them, of their dtype. */
export interface MergeCall {
  readonly parts: readonly State[];
  readonly out: Tensor;
  readonly lse: Tensor;
}

/** The gradients with respect to each part, f32, from those with respect to what they were merged to, as far as there are. */
export interface MergeBackwardCall extends MergeCall {
  readonly gradOut: Tensor | undefined;
  readonly gradLse: Tensor | undefined;
  readonly gradients: readonly State[];
}

/** A part that saw no key has none, whatever the others are. */
function weight(lse: number, total: number): number {
  return lse === -Infinity ? 0 : Math.exp(lse - total);
}

export function mergeStates({ parts, out, lse }: MergeCall, { numbers, store }: Host): void {
  const columns = out.size / lse.size;
  const totals = new Float64Array(lse.size);
  const sums = new Float64Array(out.size);
  const read = readParts(parts, numbers);
  for (let row = 0; row < totals.length; row++) {
    const largest = Math.max(...read.map((part) => part.lse[row]!));
    const shares = read.map((part) => weight(part.lse[row]!, largest));
    const sum = shares.reduce((sum, share) => sum + share, 0);
    totals[row] = Number.isFinite(largest) ? largest + Math.log(sum) : largest;
    read.forEach((part, at) => {
      if (shares[at] === 0) return;
      for (let i = row * columns; i < (row + 1) * columns; i++) sums[i]! += (shares[at]! / sum) * part.out[i]!;
    });
  }
  store(out, sums);
  store(lse, totals);
}

export function mergeStatesBackward(call: MergeBackwardCall, { numbers, store }: Host): void {
  const { parts, out, lse, gradOut, gradLse, gradients } = call;
  const columns = out.size / lse.size;
  const [merged, totals] = [numbers(out), numbers(lse)];
  const gradOuts = gradOut ? numbers(gradOut) : new Float64Array(out.size);
  const gradLses = gradLse ? numbers(gradLse) : new Float64Array(lse.size);
  readParts(parts, numbers).forEach((part, at) => {
    const grads = { out: new Float64Array(out.size), lse: new Float64Array(lse.size) };
    for (let row = 0; row < totals.length; row++) {
      const share = weight(part.lse[row]!, totals[row]!);
      if (share === 0) continue;
      let inner = gradLses[row]!;
      for (let i = row * columns; i < (row + 1) * columns; i++) {
        inner += gradOuts[i]! * (part.out[i]! - merged[i]!);
        grads.out[i] = share * gradOuts[i]!;
      }
      grads.lse[row] = share * inner;
    }
    store(gradients[at]!.out, grads.out);
    store(gradients[at]!.lse, grads.lse);
  });
}

const readParts = (parts: readonly State[], numbers: Host['numbers']) =>
  parts.map(({ out, lse }) => ({ out: numbers(out), lse: numbers(lse) }));
