/** Convolutions of each channel on its own, in float64. */

import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/** Distances between taps. */
export type Dilation = readonly [rows: number, columns: number];

/** Each channel of pictures x [b,y,x,c] with its own kernel, of odd extents; zeros lie around the pictures; f32, contiguous. */
export interface DepthwiseConvCall {
  readonly x: Tensor;
  /** [ky,kx,c]. */
  readonly weight: Tensor;
  /** [c]. */
  readonly bias?: Tensor | undefined;
  /** In the shape of x. */
  readonly out: Tensor;
  readonly dilation: Dilation;
  /** Whether the kernels are rotated by 180 degrees. */
  readonly flipped: boolean;
}

/** The gradient with respect to the kernels -> out [ky,kx,c]. */
export interface DepthwiseConvWeightsCall extends Pick<DepthwiseConvCall, 'x' | 'out' | 'dilation'> {
  readonly gradOut: Tensor;
}

interface DepthwiseShape {
  /** The shape of x [b,y,x,c]. */
  readonly shape: readonly number[];
  /** The extents of a kernel. */
  readonly taps: readonly [rows: number, columns: number];
  readonly dilation: Dilation;
}

export function depthwiseConv(call: DepthwiseConvCall, { numbers, store }: Host): void {
  const { flipped, dilation } = call;
  const [x, weight, bias] = [numbers(call.x), numbers(call.weight), call.bias && numbers(call.bias)];
  const taps = call.weight.shape.slice(0, 2) as [number, number];
  const shape: DepthwiseShape = { shape: call.x.shape, taps, dilation };
  const channels = shape.shape[3] as number;
  const last = shape.taps[0] * shape.taps[1] - 1;
  const out = Float64Array.from(x, (_, at) => bias?.[at % channels] ?? 0);
  for (const { to, from, tap } of pairsOf(shape)) {
    const at = (flipped ? last - tap : tap) * channels;
    for (let c = 0; c < channels; c++) out[to + c]! += x[from + c]! * weight[at + c]!;
  }
  store(call.out, out);
}

export function depthwiseConvWeights(call: DepthwiseConvWeightsCall, { numbers, store }: Host): void {
  const [x, gradOut] = [numbers(call.x), numbers(call.gradOut)];
  const taps = call.out.shape.slice(0, 2) as [number, number];
  const shape: DepthwiseShape = { shape: call.x.shape, taps, dilation: call.dilation };
  const channels = shape.shape[3] as number;
  const out = new Float64Array(shape.taps[0] * shape.taps[1] * channels);
  for (const { to, from, tap } of pairsOf(shape)) {
    for (let c = 0; c < channels; c++) out[tap * channels + c]! += x[from + c]! * gradOut[to + c]!;
  }
  store(call.out, out);
}

/** Which inputs, by tap, a result is made of: the places of their first channels. */
function* pairsOf({ shape, taps: [tall, wide], dilation }: DepthwiseShape) {
  const [batch, rows, columns, channels] = shape as readonly [number, number, number, number];
  for (let b = 0; b < batch; b++) {
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        for (let tap = 0; tap < tall * wide; tap++) {
          const row = y + (Math.floor(tap / wide) - (tall - 1) / 2) * dilation[0];
          const column = x + ((tap % wide) - (wide - 1) / 2) * dilation[1];
          if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
          const at = (r: number, c: number) => ((b * rows + r) * columns + c) * channels;
          yield { to: at(y, x), from: at(row, column), tap };
        }
      }
    }
  }
}
