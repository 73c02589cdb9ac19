import { describe, expect, test } from 'vitest';
import { associativeRecall, copy, IGNORED, inContextRegression, needle, stateTracking, type Task } from '.';

/** The sequences of a seed, as plain lists. */
function rowsOf(task: Task, count: number, seed: number): { tokens: number[]; targets: number[] }[] {
  const { tokens, targets } = task.examples(count, seed);
  expect([tokens.shape, targets.shape]).toEqual([
    [count, task.length],
    [count, task.length],
  ]);
  const row = (data: Int32Array, at: number) => [...data.subarray(at * task.length, (at + 1) * task.length)];
  return Array.from({ length: count }, (_, at) => ({
    tokens: row(tokens.data as Int32Array, at),
    targets: row(targets.data as Int32Array, at),
  }));
}

/** Answers at one place by plain search: the last element of `seen` is the question. */
type Solver = (seen: readonly number[]) => number;

const isTransposed = (of: readonly number[]) => (each: readonly number[]) => each.map((item) => of[item] as number);
/** Permutations in the order of the alphabet, by sorting all words of the letters. */
function allPermutations(items: number): number[][] {
  const words = Array.from({ length: items ** items }, (_, word) =>
    [...word.toString(items).padStart(items, '0')].map(Number),
  );
  return words.filter((word) => new Set(word).size === items);
}
const words =
  (items: number): Solver =>
  (seen) => {
    const all = allPermutations(items);
    const start = Array.from({ length: items }, (_, item) => item);
    const product = seen.reduce((state, token) => isTransposed(all[token]!)(state), start);
    return all.findIndex((each) => each.join() === product.join());
  };
/** What stood behind the first occurrence of the question. */
const recalled: Solver = (seen) => seen[seen.indexOf(seen.at(-1)!) + 1]!;

const solved: [Task, Solver][] = [
  [associativeRecall(), recalled],
  [associativeRecall({ length: 33, pairs: 3, keys: 5 }), recalled],
  [needle(), recalled],
  [needle({ length: 11, needles: 3, symbols: 2 }), recalled],
  [copy(), (seen) => seen[seen.length - 1 - 64]!],
  [copy({ length: 5, symbols: 3 }), (seen) => seen[seen.length - 1 - 2]!],
  [stateTracking(), words(3)],
  [stateTracking({ length: 9, items: 5 }), words(5)],
];

test.each(solved)('$name: the answers are those of plain search', (task, solve) => {
  for (const { tokens, targets } of rowsOf(task, 5, 3)) {
    expect(targets.some((target) => target !== IGNORED)).toBe(true);
    for (const [at, target] of targets.entries())
      if (target !== IGNORED) expect(solve(tokens.slice(0, at + 1))).toBe(target);
  }
});

const all = [...solved.map(([task]) => task), inContextRegression(), inContextRegression({ length: 20, inputs: 1 })];

test.each(all)('$name: a guess is right as often as chance says, whatever is guessed', (task) => {
  const counts = new Map<number, number>();
  let asked = 0;
  for (const { targets } of rowsOf(task, 4000, 5))
    for (const target of targets)
      if (target !== IGNORED) {
        asked++;
        counts.set(target, (counts.get(target) ?? 0) + 1);
      }
  expect(counts.size).toBe(Math.round(1 / task.chance));
  // Answers of a sequence are not independent: of the sequences alone, five deviations.
  const deviation = Math.sqrt((task.chance * (1 - task.chance)) / 4000);
  for (const count of counts.values()) expect(Math.abs(count / asked - task.chance)).toBeLessThan(5 * deviation);
});

test.each(all)('$name: tokens are of the vocabulary, and seeds give sequences of their own', (task) => {
  const [first, again, other] = [rowsOf(task, 20, 7), rowsOf(task, 20, 7), rowsOf(task, 20, 2 ** 31 + 7)];
  expect(first).toEqual(again);
  const long = (rows: typeof first) => new Set(rows.map(({ tokens }) => tokens.join()));
  if (task.length >= 20) expect([...long(first)].some((row) => long(other).has(row))).toBe(false);
  for (const { tokens, targets } of [...first, ...other]) {
    const isToken = (value: number) => value >= 0 && value < task.vocabulary;
    expect(tokens.every(isToken) && targets.every((target) => target === IGNORED || isToken(target))).toBe(true);
  }
});

describe('associativeRecall', () => {
  test('asks for every key once, near ones more often, at places that tell nothing about the pair', () => {
    const task = associativeRecall({ length: 64, pairs: 4, keys: 16 });
    const distances: number[] = [];
    const firsts: number[] = [];
    for (const { tokens, targets } of rowsOf(task, 2000, 1)) {
      const asked = targets.flatMap((target, at) => (target === IGNORED ? [] : [at]));
      expect(asked.map((at) => tokens[at]).sort()).toEqual([0, 2, 4, 6].map((at) => tokens[at]).sort());
      distances.push(...asked.map((at) => (at - 8) / 2));
      firsts.push(tokens.indexOf(tokens[asked[0]!]!) / 2);
    }
    const share = (values: readonly number[], value: number) =>
      values.filter((each) => each === value).length / values.length;
    expect(share(distances, 0)).toBeGreaterThan(3 * share(distances, 8));
    for (const pair of [0, 1, 2, 3]) expect(share(firsts, pair)).toBeCloseTo(0.25, 1);
  });
});

describe('inContextRegression', () => {
  test('least squares on the tokens knows most answers, more of them with more points', () => {
    const [bins, answers] = [64, 8];
    const task = inContextRegression({ length: 129, bins, answers });
    const middles = (count: number) => Array.from({ length: count }, (_, at) => quantile((at + 0.5) / count));
    const [xs, ys] = [middles(bins), middles(answers)];
    const right = [0, 0];
    const asked = [0, 0];
    for (const { tokens } of rowsOf(task, 200, 11)) {
      const points = Array.from({ length: 43 }, (_, at) => ({
        x: [0, 1].map((axis) => xs[tokens[3 * at + axis]!]!) as [number, number],
        y: ys[tokens[3 * at + 2]! - bins]!,
        answer: tokens[3 * at + 2]! - bins,
      }));
      for (const [half, at] of [4, 42].entries()) {
        const [a, b] = leastSquares(points.slice(0, at));
        const { x, answer } = points[at]!;
        const guess = Math.floor(answers * probability(a * x[0] + b * x[1]));
        asked[half]!++;
        if (guess === answer) right[half]!++;
      }
    }
    const [few, many] = right.map((count, half) => count / asked[half]!) as [number, number];
    expect(few).toBeGreaterThan(0.35);
    expect(many).toBeGreaterThan(Math.max(0.7, few));
  });

  /** Probabilities of less than -6, -5.999 and so on, by summing the density. */
  const table: number[] = [];
  for (let at = -6, sum = 0; at < 6; at += 0.001) {
    table.push(sum);
    sum += (0.001 * Math.exp((-at * at) / 2)) / Math.sqrt(2 * Math.PI);
  }
  const probability = (x: number) => table[Math.max(0, Math.min(table.length - 1, Math.round((x + 6) / 0.001)))]!;
  const quantile = (share: number) => 0.001 * table.findIndex((each) => each >= share) - 6;

  function leastSquares(points: readonly { x: readonly [number, number]; y: number }[]): [number, number] {
    let [xx, xz, zz, xy, zy] = [1e-3, 0, 1e-3, 0, 0];
    for (const { x, y } of points) {
      xx += x[0] ** 2;
      xz += x[0] * x[1];
      zz += x[1] ** 2;
      xy += x[0] * y;
      zy += x[1] * y;
    }
    const determinant = xx * zz - xz * xz;
    return [(zz * xy - xz * zy) / determinant, (xx * zy - xz * xy) / determinant];
  }
});

test('refuses sizes by name', () => {
  expect(() => associativeRecall({ pairs: 65 })).toThrow('pairs must be an integer from 1 to 64, got 65');
  expect(() => associativeRecall({ keys: 3, pairs: 4 })).toThrow('keys must be an integer from 4 to 1048576, got 3');
  expect(() => needle({ needles: 90 })).toThrow('needles must be an integer from 1 to 85, got 90');
  expect(() => copy({ length: 1 })).toThrow('length must be an integer >= 2, got 1');
  expect(() => stateTracking({ items: 7 })).toThrow('items must be an integer from 2 to 6, got 7');
  expect(() => inContextRegression({ answers: 1 })).toThrow('answers must be an integer from 2 to 65536, got 1');
  expect(() => copy().examples(0, 1)).toThrow('count must be an integer >= 1, got 0');
  expect(() => copy().examples(1, 0.5)).toThrow('seed must be an integer, got 0.5');
});
