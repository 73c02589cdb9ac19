import { baseline } from '../../../src/methods/baseline';
import type { Cost } from '../../../src/methods/define';
import type { TaskControl } from '../answer';
import { LENGTHS } from '../constants';
import { atLength, costInLayer, isAttention, lengthIn, lengthOf } from '../problem';
import { know, loadMethod, type Setting, settle } from './setting';

/** Milliseconds that counting at one length may take, for the next to be tried. */
const PATIENCE = 2000;

/** The costs of one method by length; undefined where its setting does not fit or counting would take too long. */
export interface CostLine {
  readonly method: string;
  readonly costs: readonly (Cost | undefined)[];
}

/**
 * Costs at every length, among them that of the setting, of exact attention, of others as their pages begin, and of the
 * setting, the last; a grid is as square as it can be.
 */
export async function costSeries(
  { setting, beside }: { readonly setting: Setting; readonly beside: readonly string[] },
  { signal }: TaskControl,
): Promise<{ readonly lengths: readonly number[]; readonly lines: readonly CostLine[] }> {
  const { method: own, params } = settle(setting);
  const causal = own.isCausal?.(params) ?? (params as { readonly causal?: boolean }).causal ?? false;
  const { h, d } = setting.extents;
  know([baseline]);
  const sample = async (name: string): Promise<Setting> => {
    const method = (await loadMethod(name))!;
    const { page } = await method.page!();
    const { params, extents } = page.sample;
    return { method: name, params, extents: isAttention(method) ? { ...extents, h, d } : extents };
  };
  const exact = { method: baseline.name, params: { causal }, extents: { n: 1, h, d } };
  const settings = [
    ...(isAttention(own) && own !== baseline ? [exact] : []),
    ...(await Promise.all(beside.map(sample))),
    setting,
  ];
  const now = lengthIn(setting.extents);
  const lengths = [...new Set([...LENGTHS, now])].sort((a, b) => a - b);
  const extentsAt = (extents: Setting['extents'], n: number) =>
    n === now && lengthOf(extents).join() === lengthOf(setting.extents).join()
      ? { ...extents, ...Object.fromEntries(lengthOf(extents).map((letter) => [letter, setting.extents[letter]])) }
      : atLength(extents, n);
  const lines: CostLine[] = [];
  for (const setting of settings) {
    const costs: (Cost | undefined)[] = [];
    let took = 0;
    for (const n of lengths) {
      // Counting takes time for some masks: let the page ask for something else in between.
      await new Promise((resolve) => setTimeout(resolve));
      signal?.throwIfAborted();
      if (took > PATIENCE) {
        costs.push(undefined);
        continue;
      }
      const start = performance.now();
      const { method, params, letters } = settle({ ...setting, extents: extentsAt(setting.extents, n) });
      try {
        costs.push(costInLayer(method, letters, params));
      } catch {
        costs.push(undefined);
      }
      took = performance.now() - start;
    }
    lines.push({ method: setting.method, costs });
  }
  return { lengths, lines };
}
