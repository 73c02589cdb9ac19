import type { Method } from '../methods/define';
import { formatLimit, formatPercent, formatRatio } from '../text/format';
import { hasError, isMeasured, type Recommendation, type Row, type RowWithError } from './comparison';
import { useOf } from './use';

/** A variant that gains less is not worth its error. */
const LEAST_SPEEDUP = 1.1;

/**
 * The fastest variant that errs by at most `maxError`, for full and for causal use, of those that have an error.
 * `methods` are those of the rows.
 */
export function recommend(rows: readonly Row[], maxError: number, methods: readonly Method[]): Recommendation {
  const [full, causal] = [false, true].map((use) =>
    choose(
      rows.filter((row) => row.causal === use),
      maxError,
    ),
  ) as [Choice, Choice];
  const forCausal = rows.some((row) => row.causal) ? `; for causal attention, ${causal.advice}` : '';
  return {
    text: `For full attention, ${full.advice}${forCausal}.`,
    rule: `the fastest variant at least ${LEAST_SPEEDUP}× as fast as exact attention whose output error (relative L2) is at most ${formatLimit(maxError)}; exact attention where none is`,
    ...(full.pick && { full: full.pick.label }),
    ...(causal.pick && { causal: causal.pick.label }),
    uses: [full.pick, causal.pick]
      .filter((pick) => pick !== undefined)
      .map((pick) => useOf(pick, methods.find(({ name }) => name === pick.method) as Method)),
    maxError,
  };
}

interface Choice {
  readonly advice: string;
  readonly pick?: RowWithError;
}

function choose(rows: readonly Row[], maxError: number): Choice {
  if (rows.some((row) => row.baseline && !isMeasured(row)))
    return { advice: 'nothing is recommended, as exact attention itself could not be measured' };
  const others = rows.filter((row) => !row.baseline);
  const variants = others.filter(hasError).sort((a, b) => b.speedup - a.speedup);
  const [fastest] = variants;
  if (!fastest) {
    const reason = others.some(isMeasured) ? 'serves without training' : 'was measured';
    return { advice: `no other variant ${reason}` };
  }
  if (fastest.speedup < LEAST_SPEEDUP) {
    const reached = `reaches only ${formatRatio(fastest.speedup)} the speed`;
    return { advice: `stay with exact attention, as even the fastest variant, ${fastest.label}, ${reached}` };
  }
  const faster = variants.filter((row) => row.speedup >= LEAST_SPEEDUP);
  const pick = faster.find((row) => row.error.relativeL2 <= maxError);
  if (pick) {
    const advice = `use ${pick.label}, ${formatRatio(pick.speedup)} as fast with an error of ${describeLoss(pick)}`;
    return { advice, pick };
  }
  const closest = faster.reduce((a, b) => (b.error.relativeL2 < a.error.relativeL2 ? b : a));
  const loss = `${describeLoss(closest)} at ${formatRatio(closest.speedup)} the speed`;
  return {
    advice: `stay with exact attention, as of the variants at least ${LEAST_SPEEDUP}× as fast even the most accurate, ${closest.label}, has an error of ${loss}`,
  };
}

function describeLoss({ error, mass }: RowWithError): string {
  return `${formatPercent(error.relativeL2)}${mass ? ` (it keeps ${formatPercent(mass.mean)} of the attention)` : ''}`;
}
