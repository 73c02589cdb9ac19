import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/** x [n, p], y [m, p] -> out [n, m]: sums over coordinates of squares or of magnitudes of differences; contiguous. */
export interface DistancesCall {
  readonly x: Tensor;
  readonly y: Tensor;
  readonly norm: 'squared' | 'absolute';
  readonly out: Tensor;
}

/** x [n, p], y [m, p], weights [n, m] -> out [n, p]: sums over y of weights times the signs of x - y; contiguous. */
export interface SignSumsCall extends Omit<DistancesCall, 'norm'> {
  readonly weights: Tensor;
}

export function distances({ x, y, norm, out }: DistancesCall, { numbers, store }: Host): void {
  const terms = x.shape[1] as number;
  const [points, others] = [numbers(x), numbers(y)];
  const m = y.shape[0] as number;
  const found = Float64Array.from({ length: out.size }, (_, at) => {
    const [i, j] = [Math.floor(at / m), at % m];
    let sum = 0;
    for (let k = 0; k < terms; k++) {
      const difference = points[i * terms + k]! - others[j * terms + k]!;
      sum += norm === 'squared' ? difference ** 2 : Math.abs(difference);
    }
    return sum;
  });
  store(out, found);
}

export function laplacians(call: Omit<DistancesCall, 'norm'>, host: Host): void {
  const store: Host['store'] = (out, values) =>
    host.store(
      out,
      values.map((d) => Math.exp(-d)),
    );
  distances({ ...call, norm: 'absolute' }, { ...host, store });
}

export function exponentials({ x, y, out }: Omit<DistancesCall, 'norm'>, { numbers, store }: Host): void {
  const terms = x.shape[1] as number;
  const m = y.shape[0] as number;
  const [points, others] = [numbers(x), numbers(y)];
  const found = Float64Array.from({ length: out.size }, (_, at) => {
    const [i, j] = [Math.floor(at / m), at % m];
    let sum = 0;
    for (let k = 0; k < terms; k++) sum += points[i * terms + k]! * others[j * terms + k]!;
    return Math.exp(Math.min(sum, 0));
  });
  store(out, found);
}

export function signSums({ x, y, weights, out }: SignSumsCall, { numbers, store }: Host): void {
  const terms = x.shape[1] as number;
  const [points, others, factors] = [numbers(x), numbers(y), numbers(weights)];
  const m = y.shape[0] as number;
  const found = Float64Array.from({ length: out.size }, (_, at) => {
    const [i, k] = [Math.floor(at / terms), at % terms];
    let sum = 0;
    for (let j = 0; j < m; j++) sum += factors[i * m + j]! * Math.sign(points[at]! - others[j * terms + k]!);
    return sum;
  });
  store(out, found);
}
