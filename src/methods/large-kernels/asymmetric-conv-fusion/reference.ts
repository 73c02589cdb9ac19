import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { add, at, zeros } from '../../reference';

export interface FusionInputs<T> {
  /** [b, n, c]. */
  readonly x: T;
  /** [b, m, c]. */
  readonly y: T;
}

/** out[i, j] = sum over k of x[i + k - left, j] y[k, j], channel by channel. */
export function reference(
  { x, y }: FusionInputs<HostTensor>,
  { padding }: { readonly padding: 'same' | 'valid' },
  gradOut?: HostTensor,
): Record<string, HostTensor<'f64'>> {
  const [b, n, c] = x.shape as [number, number, number];
  const m = y.shape[1] as number;
  const left = padding === 'same' ? Math.floor((m - 1) / 2) : 0;
  const count = padding === 'same' ? n : n - m + 1;
  const [values, kernels] = [toFloat64(x), toFloat64(y)];
  const [out, gradX, gradY] = [zeros([b, count, c]), zeros(x.shape), zeros(y.shape)];
  const by = gradOut && toFloat64(gradOut);
  for (let row = 0; row < b * count; row++) {
    const batch = Math.floor(row / count);
    for (let k = 0; k < m; k++) {
      const from = (row % count) + k - left;
      if (from < 0 || from >= n) continue;
      for (let j = 0; j < c; j++) {
        const [read, tap, to] = [(batch * n + from) * c + j, (batch * m + k) * c + j, row * c + j];
        add(out.data, to, at(values, read) * at(kernels, tap));
        if (!by) continue;
        add(gradX.data, read, at(by, to) * at(kernels, tap));
        add(gradY.data, tap, at(by, to) * at(values, read));
      }
    }
  }
  return by ? { out, grad_x: gradX, grad_y: gradY } : { out };
}
