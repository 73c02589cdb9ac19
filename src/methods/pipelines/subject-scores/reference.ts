import { ParameterError } from '../../../errors';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { rowOf, type Wide, zeros } from '../../reference';

/** Factor on shares of tokens before their softmax. */
export const SHARPNESS = 100;

interface Params {
  readonly subjects: readonly number[];
  readonly smooth: boolean;
}

/** The subjects; throws unless each is a token between the first and the last. */
export function tokensOf(subjects: readonly number[], tokens: number): readonly number[] {
  for (const subject of subjects)
    if (subject > tokens - 2)
      throw new ParameterError(
        `subjects must be from 1 to ${tokens - 2}, between the first and the last of ${tokens} tokens, got ${subject}`,
      );
  if (new Set(subjects).size < subjects.length)
    throw new ParameterError(`subjects must differ, got ${subjects.join(', ')}`);
  return subjects;
}

/** Scores by loops, picture by picture; gradients pass through the places that decide. */
export function reference(
  { cross, self }: Readonly<Record<'cross' | 'self', HostTensor>>,
  { subjects, smooth }: Params,
  gradOut?: HostTensor,
): Record<string, Wide> {
  const [b, s, , t] = cross.shape as [number, number, number, number];
  tokensOf(subjects, t);
  const size = s * s;
  const [given, around] = [toFloat64(cross), toFloat64(self)];
  const by = gradOut && toFloat64(gradOut);
  const [out, gradCross, gradSelf] = [zeros([b, 2]), zeros(cross.shape), zeros(self.shape)];
  for (let batch = 0; batch < b; batch++) {
    const shares = Array.from({ length: size }, (_, place) => shareOf(rowOf(given, batch * size + place, t)));
    const maps = subjects.map((subject) =>
      smoothed(
        shares.map((row) => row[subject]!),
        s,
        smooth,
      ),
    );
    const places = maps.map((map) => map.indexOf(Math.max(...map)));
    const missing = maps.map((map, i) => 1 - map[places[i]!]!);
    const worst = missing.indexOf(Math.max(...missing));
    out.data[2 * batch] = missing[worst]!;
    const fields = places.map((place) => smoothed([...rowOf(around, batch * size + place, size)], s, smooth));
    const byFields = fields.map((field) => field.map(() => 0));
    const pairs = fields.flatMap((_, i) => fields.slice(i + 1).map((_, j) => [i, i + 1 + j] as const));
    for (const [i, j] of pairs) {
      const [x, y] = [fields[i]!, fields[j]!];
      const common = x.reduce((sum, value, at) => sum + Math.min(value, y[at]!), 0);
      const all = x.reduce((sum, value, at) => sum + value + y[at]!, 1e-6);
      out.data[2 * batch + 1]! += common / all / pairs.length;
      for (const at of x.keys()) {
        const slope = (by?.[2 * batch + 1] ?? 0) / pairs.length;
        const least = x[at]! <= y[at]! ? i : j;
        byFields[least]![at]! += slope / all;
        for (const field of [i, j]) byFields[field]![at]! -= (slope * common) / all ** 2;
      }
    }
    if (!by) continue;
    for (const [i, place] of places.entries()) {
      const own = rowOf(gradSelf.data, batch * size + place, size);
      smoothed(byFields[i]!, s, smooth, true).forEach((value, at) => {
        own[at]! += value;
      });
    }
    const byMap = maps[worst]!.map((_, at) => (at === places[worst] ? -by[2 * batch]! : 0));
    smoothed(byMap, s, smooth, true).forEach((slope, place) => {
      const row = shares[place]!;
      const own = rowOf(gradCross.data, batch * size + place, t);
      const subject = subjects[worst]!;
      for (let token = 1; token < t - 1; token++)
        own[token]! += slope * SHARPNESS * row[subject]! * (Number(token === subject) - row[token]!);
    });
  }
  return by ? { out, grad_cross: gradCross, grad_self: gradSelf } : { out };
}

/** The softmax of the sharpened shares of all tokens but the first and the last, whose own are 0. */
function shareOf(row: Float64Array): Float64Array {
  const inner = row.slice(1, -1);
  const most = Math.max(...inner);
  const weights = row.map((share, token) =>
    token === 0 || token === row.length - 1 ? 0 : Math.exp(SHARPNESS * (share - most)),
  );
  const sum = weights.reduce((a, c) => a + c);
  return weights.map((weight) => weight / sum);
}

/** The 3 x 3 blur of a map [s, s], mirrored at its borders, or its transpose. */
function smoothed(map: readonly number[], s: number, smooth: boolean, transposed = false): number[] {
  if (!smooth) return [...map];
  const sides = [Math.exp(-1), 1, Math.exp(-1)];
  const total = (1 + 2 * Math.exp(-1)) ** 2;
  const mirrored = (at: number) => (s === 1 ? 0 : Math.abs(at) < s ? Math.abs(at) : 2 * s - 2 - at);
  const out = map.map(() => 0);
  for (const at of map.keys())
    for (const [dy, a] of sides.entries())
      for (const [dx, c] of sides.entries()) {
        const other = mirrored(Math.floor(at / s) + dy - 1) * s + mirrored((at % s) + dx - 1);
        const [to, from] = transposed ? [other, at] : [at, other];
        out[to]! += (a * c * map[from]!) / total;
      }
  return out;
}
