/** How far from it the middle of a picture sees. */
import { effectiveReceptiveField } from '../measure/receptive-field';
import type { Control } from '../runtime/backend';
import type { Contender, Qkv } from './contenders';

const SHARE = 0.9;

/**
 * The side, in tokens, of the square around the middle of a grid [rows, columns] within which a contender has most of the weights
 * that it gives values there; undefined without a gradient with respect to values.
 */
export async function reachOf(
  { forward, spatial }: Contender,
  { q, k, v }: Qkv,
  grid: readonly number[],
  { signal }: Pick<Control, 'signal'>,
): Promise<number | undefined> {
  const [b, h, e] = [v.shape[0], v.shape.at(-2), v.shape.at(-1)] as [number, number, number];
  const shape = [b, ...grid, h, e];
  using values = v.reshape(shape);
  try {
    const field = await effectiveReceptiveField(
      (x) => forward({ q, k, v: spatial ? x : x.reshape(v.shape) }, {}).out.reshape(shape),
      values,
      { ...(signal && { signal }) },
    );
    return field.side(SHARE);
  } catch {
    signal?.throwIfAborted();
    await v.runtime.finish().catch(() => {});
    return undefined;
  }
}
