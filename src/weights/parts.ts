import type { HostTensor } from '../tensor/host';
import { sizeOf } from '../tensor/shape';
import type { ReadOptions } from './source';
import type { StoredTensor } from './stored';
import type { Weights } from './weights';

/** Elements that are read at a time: 16 MiB of f32. */
const PART = 2 ** 22;

/** The elements of a tensor as f32, some rows at a time, so that its size does not matter. */
export async function* partsOf(
  weights: Weights,
  { name, shape, strides }: StoredTensor,
  options: ReadOptions,
): AsyncGenerator<HostTensor<'f32'>> {
  const [count = 1, ...inner] = shape;
  if (inner.length === 0 || strides) {
    yield await weights.read(name, { ...options, dtype: 'f32' });
    return;
  }
  const rows = Math.max(1, Math.floor(PART / Math.max(1, sizeOf(inner))));
  for (let at = 0; at < count; at += rows)
    yield await weights.read(name, { ...options, dtype: 'f32', rows: [at, Math.min(at + rows, count)] });
}
