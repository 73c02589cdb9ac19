import type { Cost } from '../../../src/methods/define';
import { findMethod } from '../../../src/methods/registry';
import type { TaskControl } from '../answer';
import { LENGTHS } from '../constants';
import { isSpatial, sampleParams, sampleSizes } from '../problem';
import { type Setting, settle } from './setting';

/** Milliseconds that counting at one length may take, for the next to be tried. */
const PATIENCE = 150;

/** The costs of one method by length; undefined where its setting does not fit or counting would take too long. */
export interface CostLine {
  readonly method: string;
  readonly costs: readonly (Cost | undefined)[];
}

/**
 * Costs at every length of exact attention, of others as their pages begin, and of a setting, the last; a grid is as square
 * as it can be.
 */
export async function costSeries(
  { setting, beside }: { readonly setting: Setting; readonly beside: readonly string[] },
  { signal }: TaskControl,
): Promise<CostLine[]> {
  const { method: own, params } = settle(setting);
  const causal = own.isCausal?.(params) ?? (params as { readonly causal?: boolean }).causal ?? false;
  const sample = (name: string): Setting => {
    const method = findMethod(name);
    return { ...setting, method: name, params: sampleParams(method, sampleSizes(method)) };
  };
  const exact = { ...setting, method: 'attention', params: { causal } };
  const settings = [...(own.name === 'attention' ? [] : [exact]), ...beside.map(sample), setting];
  const lines: CostLine[] = [];
  for (const setting of settings) {
    const { method } = settle(setting);
    const costs: (Cost | undefined)[] = [];
    let took = 0;
    for (const [at, n] of LENGTHS.entries()) {
      // Counting takes time for some masks: let the page ask for something else in between.
      await new Promise((resolve) => setTimeout(resolve));
      signal?.throwIfAborted();
      if (took > PATIENCE) {
        costs.push(undefined);
        continue;
      }
      const start = performance.now();
      const rows = 2 ** Math.floor((6 + at) / 2);
      const { params, letters } = settle({ ...setting, tokens: isSpatial(method) ? [rows, n / rows] : [n] });
      try {
        costs.push(method.cost(letters, params));
      } catch {
        costs.push(undefined);
      }
      took = performance.now() - start;
    }
    lines.push({ method: setting.method, costs });
  }
  return lines;
}
