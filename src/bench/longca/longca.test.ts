import { expect, test } from 'vitest';
import { disagreements } from '../../masks/longca-disagreements';
import type { findMethod } from '../../methods/registry';
import { maskNamed } from '../../methods/sparse/longca';
import { MASK_NAMES } from '../../methods/sparse/longca/settings';
import { softmaxAttention } from '../../ops/attention/softmax';
import type { Runtime } from '../../runtime/runtime';
import type { Session } from '../contender';
import { givenOf } from '../given';
import { extentOf, type Task } from '../problem';
import { casesOf, flopsOf, keyOf, type LongCaCase, type LongCaProblem, maskOf, pairsOf } from './cases';
import type { LongCaContender } from './contenders';
import { byWorth } from './plan';
import { heatMaps, type LongCaRow, longCaCsv, longCaFailures, panelsOf } from './report';
import { type LongCaOptions, runLongCa } from './run';
import { givenTo, taskOf } from './task';

test.each(MASK_NAMES)(
  '%s: area and FLOPs are those counted pair by pair, and so are the runs that peers get',
  (mask) => {
    const problem: LongCaProblem = { mask, n: 100, pass: 'backward', h: 4, g: 2, d: 8 };
    const { n, h, g } = problem;
    const method = maskNamed(mask) as ReturnType<typeof findMethod>;
    const task = taskOf(problem);
    const { tensors, settings } = givenOf(givenTo(task, problem, false));
    const { left, right } = settings as Record<'left' | 'right', number | null>;
    const [offsets, runs] = [tensors.offsets?.data, tensors.runs?.data] as [Int32Array | undefined, Int32Array];
    let counted = 0;
    for (let head = 0; head < h; head++)
      for (let i = 0; i < n; i++)
        for (let j = 0; j < n; j++) {
          const sees = task.problem.mask.sees(i, j, { ...extentOf(task.problem), batch: 0, head });
          if (sees) counted++;
          const row = (offsets && offsets.length > n + 1 ? Math.floor((head * g) / h) * n : 0) + i;
          const isGiven = offsets
            ? Array.from(
                { length: (offsets[row + 1] as number) - (offsets[row] as number) },
                (_, at) => 2 * ((offsets[row] as number) + at),
              ).some((at) => (runs[at] as number) <= j && j < (runs[at + 1] as number))
            : (left === -1 || j >= i - (left as number)) && (right === -1 || j <= i + (right as number));
          if (isGiven !== sees) throw new Error(`query ${i} and key ${j} of head ${head}`);
        }
    expect(pairsOf(problem)).toBe(counted);
    expect([flopsOf(problem), flopsOf({ ...problem, pass: 'forward' })]).toEqual([80 * counted, 32 * counted]);
    expect(maskOf(problem)).toBe(maskOf(problem));
    expect(method.name).toBe(mask);
  },
);

test("where the authors' forms disagree", () => {
  expect(disagreements().map(({ mask, areas, differing }) => [mask, ...areas, differing])).toEqual([
    ['prefix-lm-causal', 2040, 2020, 20],
    ['prefix-lm-document', 585, 561, 24],
    ['sliding-window', 452, 844, 392],
    ['global-sliding-window', 1117, 2118, undefined],
  ]);
});

const CHOICE = {
  n: [12, 24],
  sparse: [48],
  masks: ['full', 'uniform-block-sparse'],
  passes: ['forward'],
  heads: [[1, 1]],
  d: 4,
} as const;

test('long lengths are for sparse masks, and a budget begins in the middle', () => {
  const cases = casesOf({ ...CHOICE, n: [1024, 8192], sparse: [65_536], contenders: ['tfjs', 'saccade'] });
  const told = (all: readonly LongCaCase[]) => all.map(({ contender, mask, n }) => `${contender} ${mask} ${n}`);
  expect(told(cases)).toEqual([
    ...[1024, 8192].flatMap((n) => CHOICE.masks.flatMap((mask) => [`tfjs ${mask} ${n}`, `saccade ${mask} ${n}`])),
    'tfjs uniform-block-sparse 65536',
    'saccade uniform-block-sparse 65536',
  ]);
  expect(told(byWorth(cases, [contender('tfjs'), contender('saccade')])).slice(0, 4)).toEqual([
    'saccade full 8192',
    'saccade uniform-block-sparse 8192',
    'tfjs full 8192',
    'tfjs uniform-block-sparse 8192',
  ]);
});

/** Computes by the reference, unless `fails` has an error for the length. */
function contender(name: string, fails: (n: number) => Error | undefined = () => undefined): LongCaContender {
  return {
    name,
    label: name,
    how: 'by the reference',
    start: 0,
    rate: 1e9,
    open: () => ({
      name,
      async open({ problem, inputs }: Task, signal): Promise<Session> {
        const { n, d, mask } = problem;
        const failure = fails(n);
        // It hangs, until it is ended.
        if (failure?.message === 'hangs')
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        if (failure) throw failure;
        const rows = (data: Float32Array) => ({ dtype: 'f32' as const, shape: [1, n, 1, d], data });
        const { out } = softmaxAttention(
          { q: rows(inputs.q), k: rows(inputs.k), v: rows(inputs.v) },
          1 / Math.sqrt(d),
          (i, j) => mask.sees(i, j, { ...extentOf(problem), batch: 0, head: 0 }),
        );
        return {
          threads: 1,
          time: async () => 3000,
          result: async () => Float32Array.from(out.data),
          memory: async () => 1e6,
          close: () => {},
        };
      },
    }),
  };
}

async function run(contenders: readonly LongCaContender[], more: Partial<LongCaOptions> = {}) {
  const rows: LongCaRow[] = [];
  const cases = casesOf({ ...CHOICE, contenders: contenders.map(({ name }) => name) });
  const options = { cases, contenders, place: { threads: 1 }, limit: 0.2, earlier: [], ...more };
  const leftOut = await runLongCa(options, undefined as unknown as Runtime, { onRow: (row) => void rows.push(row) });
  return { rows, leftOut };
}

test('each case has a result, also one that hangs, crashes, or takes all memory', async () => {
  const contenders = [
    contender('right'),
    contender('hungry', (n) => (n > 12 ? new Error('out of memory: it took more than 1.0 GiB') : undefined)),
    contender('broken', () => new Error('its process ended with SIGSEGV')),
    contender('idle', () => new Error('hangs')),
    { ...contender('narrow'), lacks: ({ n }: LongCaProblem) => (n > 12 ? 'it is for 12 tokens' : undefined) },
  ];
  const { rows } = await run(contenders);
  const told = (name: string) =>
    rows.filter(({ contender }) => contender === name).map(({ n, status }) => `${n} ${status}`);
  expect(rows).toHaveLength(25);
  // A call of 3 s is longer than the limit at any length that is as long or longer.
  expect(told('right')).toEqual(['12 ok', '12 ok', '24 too slow', '24 too slow', '48 too slow']);
  expect(told('hungry')).toContain('24 too slow');
  expect(told('broken')).toEqual(['12 failed', '12 failed', '24 failed', '24 failed', '48 failed']);
  expect(told('idle')).toContain('12 too slow');
  expect(told('narrow')).toContain('24 not supported');
  const report = { rows, contenders };
  const [header, first] = longCaCsv(report).split('\n');
  expect(header).toBe('mask,pass,heads,kv_heads,head_dim,metric,seqlen,right,hungry,broken,idle,narrow');
  expect(first).toBe('full,forward,1,1,4,TFLOP/s,12,7.68000e-10,7.68000e-10,-5,-3,7.68000e-10');
  expect(longCaCsv(report)).toContain('full,forward,1,1,4,time / (area x dense),12,1.00000,1.00000,-5,-3,1.00000');
  expect(longCaFailures(report)).toContain('broken: failed: its process ended with SIGSEGV (5 cases)');
  const [panel] = panelsOf(rows);
  expect(panel?.title).toBe('forward, one head');
  expect(heatMaps(report, rows)[0]?.rows[0]?.cells.map(({ text }) => text)).toEqual(['7.7e-7', 'slow', '']);
});

test('goes on with what is there, tries again what failed or had too little time, and leaves out what no budget is for', async () => {
  const { rows } = await run([contender('right'), contender('broken', () => new Error('gone'))], { limit: 60 });
  const again = await run([contender('right'), contender('broken')], { limit: 60, earlier: rows });
  expect(again.rows.map(({ contender }) => contender)).toEqual(new Array(5).fill('broken'));
  const alone = { limit: 60, earlier: [...rows, ...again.rows] };
  expect((await run([contender('right')], alone)).rows).toEqual([]);
  const slow = await run([contender('right')]);
  const longer = await run([contender('right')], { limit: 60, earlier: slow.rows });
  expect(longer.rows.map(keyOf)).toEqual(slow.rows.filter(({ status }) => status === 'too slow').map(keyOf));
  expect(await run([contender('right')], { limit: 60, budget: 0 })).toEqual({ rows: [], leftOut: 5 });
});
