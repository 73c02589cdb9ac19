import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/** As `heldRows` takes them; contiguous. */
export interface HeldRowsCall {
  readonly x: Tensor;
  readonly thresholds: Tensor;
  readonly held: Tensor;
  readonly share: Tensor;
}

export function heldRows(call: HeldRowsCall, { numbers, store }: Host): void {
  const { x, held, share } = call;
  const [, n, h, d] = x.shape as [number, number, number, number];
  const [values, thresholds] = [numbers(x), numbers(call.thresholds)];
  const result = new Float64Array(values.length);
  const zeros = new Float64Array(share.size);
  for (let at = 0; at < values.length; at++) {
    const head = Math.floor(at / d) % h;
    const isFirst = Math.floor(at / d / h) % n === 0;
    const before = isFirst ? 0 : result[at - h * d]!;
    const change = values[at]! - before;
    const isSent = isFirst || Math.abs(change) > thresholds[head]!;
    result[at] = isSent ? values[at]! : before;
    if (!isSent || change === 0) zeros[Math.floor(at / d / h / n) * h + head]! += 1 / (n * d);
  }
  store(held, result);
  store(share, zeros);
}
