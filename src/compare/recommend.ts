import { formatPercent, formatRatio } from '../report/format';
import type { Row } from './comparison';

export interface Recommendation {
  /** One sentence: what to use for full and for causal attention, with the numbers it follows from. */
  readonly text: string;
  /** How the variant was chosen. */
  readonly rule: string;
  /** The label of the chosen row; undefined where exact attention is the best choice. */
  readonly full?: string;
  readonly causal?: string;
  /** Largest output error (relative L2) that a recommended variant may have. */
  readonly maxError: number;
}

/** A variant that gains less is not worth its error. */
const LEAST_SPEEDUP = 1.1;

/** The fastest variant that errs by at most `maxError`, for full and for causal use. */
export function recommend(rows: readonly Row[], maxError: number): Recommendation {
  const full = choose(
    rows.filter((row) => !row.causal),
    maxError,
  );
  const causal = choose(
    rows.filter((row) => row.causal),
    maxError,
  );
  return {
    text: `For full attention, ${full.advice}; for causal attention, ${causal.advice}.`,
    rule: `the fastest variant at least ${formatRatio(LEAST_SPEEDUP)} as fast as exact attention whose output error (relative L2) is at most ${formatPercent(maxError)}; exact attention where none is`,
    ...(full.pick && { full: full.pick }),
    ...(causal.pick && { causal: causal.pick }),
    maxError,
  };
}

function choose(rows: readonly Row[], maxError: number): { readonly advice: string; readonly pick?: string } {
  const variants = rows.filter((row) => !row.baseline).sort((a, b) => b.speedup - a.speedup);
  const [fastest] = variants;
  if (!fastest) return { advice: 'no other variant was measured' };
  if (fastest.speedup < LEAST_SPEEDUP) {
    return {
      advice: `stay with exact attention: the fastest variant, ${fastest.label}, reaches only ${formatRatio(fastest.speedup)}`,
    };
  }
  const faster = variants.filter((row) => row.speedup >= LEAST_SPEEDUP);
  const pick = faster.find((row) => row.error.relativeL2 <= maxError);
  if (pick) return { advice: `use ${pick.label}: ${describe(pick)}`, pick: pick.label };
  const closest = faster.reduce((a, b) => (b.error.relativeL2 < a.error.relativeL2 ? b : a));
  return { advice: `stay with exact attention: even ${closest.label} has ${describe(closest)}` };
}

function describe({ speedup, error, mass }: Row): string {
  const kept = mass ? `, keeping ${formatPercent(mass.mean)} of the attention` : '';
  return `${formatRatio(speedup)} the speed at an error of ${formatPercent(error.relativeL2)}${kept}`;
}
