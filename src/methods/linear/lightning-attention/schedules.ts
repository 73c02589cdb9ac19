/**
 * The decays of TransNormerLLM's heads, as its paper and as its code have them. In both, early layers forget fast and
 * late ones hardly, and the heads of a layer differ. A head with decay lambda has half forgotten after ln 2 / -ln lambda
 * tokens.
 */
import { checkRecord, checkWhole, show } from '../../../check';
import { ParameterError } from '../../../errors';

export const SCHEDULES = ['paper', 'released'] as const;
/** Decays as the paper says, or as in the released code. */
export type Schedule = (typeof SCHEDULES)[number];

/** Index of the layer, from 0, and number of layers. */
export interface LayerPlace {
  readonly layer: number;
  readonly layers: number;
}

/** One decay in (0, 1] for each head. */
export function lightningDecays(schedule: Schedule, heads: number, place: LayerPlace): number[] {
  if (!SCHEDULES.includes(schedule))
    throw new ParameterError(`schedule must be one of ${SCHEDULES.join(', ')}, got ${show(schedule)}`);
  checkRecord('place', place);
  return schedule === 'paper' ? paperDecays(heads, place) : releasedDecays(heads, place);
}

/** arXiv 2405.17381, equation 10: exp(-8h/H (1 - l/L)), for h and l from 0, so that head 0 never forgets. */
export function paperDecays(heads: number, { layer, layers }: LayerPlace): number[] {
  check(heads, layer, layers);
  return Array.from({ length: heads }, (_, head) => Math.exp(((-8 * head) / heads) * (1 - layer / layers)));
}

/** The decays of all released models: exp(-slope (1 - l/(L-1) + 1e-5)), so that the last layer hardly forgets. */
export function releasedDecays(heads: number, { layer, layers }: LayerPlace): number[] {
  check(heads, layer, layers);
  // A single layer is a first one.
  const temperature = 1 - layer / Math.max(1, layers - 1) + 1e-5;
  return releasedSlopes(heads).map((slope) => Math.exp(-slope * temperature));
}

/** ALiBi's: 2^(-8 (h+1) / H) for H a power of 2; for others those of the power below, then every other one of the next. */
export function releasedSlopes(heads: number): number[] {
  check(heads, 0, 1);
  const power = 2 ** Math.floor(Math.log2(heads));
  const slopes = (count: number) => Array.from({ length: count }, (_, head) => 2 ** ((-8 * (head + 1)) / count));
  const between = slopes(2 * power).filter((_, head) => head % 2 === 0);
  return [...slopes(power), ...between.slice(0, heads - power)];
}

function check(heads: number, layer: number, layers: number): void {
  checkWhole('heads', heads, 1);
  checkWhole('layers', layers, 1);
  checkWhole('layer', layer, 0, layers - 1);
}
