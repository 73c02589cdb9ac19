import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeWithMachineCode, randomCases } from '../../../test/backends';
import { relativeError, smallGradient } from '../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import {
  type AttentionSettings,
  attention,
  attentionBackward,
  differentiate,
  gather,
  type Regions,
  type Runtime,
  type Selection,
  sum,
  type Tensor,
  topK,
} from '../../index';
import * as masks from '../../masks';
import type { Extent, Mask } from '../../masks/mask';
import * as scores from '../../scores';
import { uniform } from '../../tensor/random';
import { bandOf } from '.';
import { softmaxAttention, softmaxAttentionBackward } from './softmax';

type Side = 'query' | 'key';
type Blocks = number | Regions | readonly (readonly number[])[];

/** The lengths of the blocks of a head. */
const isLengths = (blocks: Blocks): blocks is readonly (readonly number[])[] => Array.isArray(blocks);

/** How many blocks there are of the tokens, and in which each is. */
function blocksOf(blocks: Blocks, tokens: number, head = 0): { count: number; of(token: number): number } {
  if (isLengths(blocks)) {
    const lengths = (blocks[head] ?? blocks[0]) as readonly number[];
    const ids = lengths.flatMap((length, block) => new Array<number>(length).fill(block));
    return { count: lengths.length, of: (token) => ids[token] as number };
  }
  if (typeof blocks === 'number')
    return { count: Math.ceil(tokens / blocks), of: (token) => Math.floor(token / blocks) };
  const [height, width] = blocks.extent as [number, number];
  const [a, b] = blocks.region as [number, number];
  const columns = Math.ceil(width / b);
  return {
    count: Math.ceil(height / a) * columns,
    of: (token) => Math.floor(Math.floor(token / width) / a) * columns + Math.floor((token % width) / b),
  };
}

const said = (side: Side, blocks: Blocks) => ({
  [`${side}${typeof blocks === 'number' ? 'Block' : isLengths(blocks) ? 'Lengths' : 'Grid'}`]: blocks,
});

interface Problem extends Extent {
  readonly queries: Blocks;
  readonly keys: Blocks;
  /** Extents of the selection's tensor. */
  readonly batches: number;
  readonly heads: number;
  /** About how many of eight blocks are seen. */
  readonly share: number;
  readonly settings: AttentionSettings;
}

/** Flags of some blocks; lists and runs of the same ones: in any order, with duplicates, and with -1 or nothing for the rest. */
function choose({ n, m, queries, keys, batches, heads, share }: Problem) {
  const [nq, nk] = [blocksOf(queries, n).count, blocksOf(keys, m).count];
  const flags = Int32Array.from(uniform(batches * heads * nq * nk, nq + 3 * nk, 0, 8), (x) =>
    x < share ? Math.floor(x) - 9 : 0,
  );
  const rows = Array.from({ length: batches * heads * nq }, (_, row) => {
    const seen = [...flags.subarray(row * nk, (row + 1) * nk).keys()].filter((block) => flags[row * nk + block] !== 0);
    return [...seen.reverse(), ...seen.slice(0, 1), -1];
  });
  const k = Math.max(...rows.map(({ length }) => length));
  const lists = Int32Array.from(rows.flatMap((row) => [...row, ...new Array<number>(k - row.length).fill(-1)]));
  const runs = rows.map((row) => row.map((block) => (block < 0 ? [nk, nk] : [block, block + 1])));
  const offsets = Array.from({ length: batches * heads * (nq + 1) }, (_, at) => {
    const row = Math.floor(at / (nq + 1)) * nq + (at % (nq + 1));
    return runs.slice(0, row).reduce((sum, { length }) => sum + length, 0);
  });
  return { flags, lists, runs: Int32Array.from(runs.flat(2)), offsets: Int32Array.from(offsets), nq, nk, k };
}

function selections(runtime: Runtime, problem: Problem) {
  const { queries, keys, batches, heads } = problem;
  const { flags, lists, runs, offsets, nq, nk, k } = choose(problem);
  const blocks = { ...said('query', queries), ...said('key', keys) };
  return {
    lists: { lists: runtime.tensor<'i32'>(lists, [batches, heads, nq, k]), ...blocks },
    flags: { flags: runtime.tensor<'i32'>(flags, [batches, heads, nq, nk]), ...blocks },
    runs: {
      runs: runtime.tensor<'i32'>(runs, [runs.length / 2, 2]),
      offsets: runtime.tensor<'i32'>(offsets, [batches, heads, nq + 1]),
      ...blocks,
    },
  } satisfies Record<string, Selection>;
}

/** The same as a mask. */
function maskOf(problem: Problem): Pick<Mask, 'sees'> {
  const { flags, nq, nk } = choose(problem);
  const { batches, heads, n, m } = problem;
  const near = bandOf(problem.settings);
  return {
    sees(i, j, place) {
      const head = Math.floor((place.head * heads) / place.h);
      const row = (batches === 1 ? 0 : place.batch) * heads + head;
      const [queries, keys] = [blocksOf(problem.queries, n, head), blocksOf(problem.keys, m, head)];
      if (flags[(row * nq + queries.of(i)) * nk + keys.of(j)] === 0 || !near.sees(i, j, place)) return false;
      return problem.settings.mask?.sees(i, j, place) ?? true;
    },
  };
}

const D = 5;
const E = 6;

/** Forward and backward by each form, beside the definition. */
async function expectExact(runtime: Runtime, problem: Problem): Promise<void> {
  const { b, n, m, h, g, settings } = problem;
  await scoped(runtime, async () => {
    const random = (shape: number[], seed: number) => runtime.random(shape, { seed });
    const [q, k, v] = [random([b, n, h, D], 1), random([b, m, g, D], 2), random([b, m, g, E], 3)];
    const [gradOut, gradLse] = [random([b, n, h, E], 4), random([b, n, h], 5)];
    const host = { q: await q.toHost(), k: await k.toHost(), v: await v.toHost(), gradOut: await gradOut.toHost() };
    const mask = maskOf(problem);
    const sees = (i: number, j: number, head: number, batch: number) => mask.sees(i, j, { b, n, m, h, g, batch, head });
    const scale = 1 / Math.sqrt(D);
    const right = softmaxAttention(host, scale, sees);
    const grads = softmaxAttentionBackward({ ...host, gradLse: await gradLse.toHost() }, scale, sees);
    for (const [form, selection] of Object.entries(selections(runtime, problem))) {
      const { out, lse } = attention(q, k, v, { ...settings, selection });
      expectClose(await out.read(), right.out.data, 1e-5);
      expectClose(await lse.read(), right.lse.data, 1e-5);
      const actual = attentionBackward(q, k, v, { out, lse, gradOut, gradLse }, { ...settings, selection });
      for (const name of ['gradQ', 'gradK', 'gradV'] as const) {
        const error = relativeError(await actual[name].toHost(), grads[name], smallGradient(Object.values(grads)));
        expect(error, `${name}, ${form}`).toBeLessThan(1e-3);
      }
    }
  });
}

const size = fc.constantFrom(1, 7, 64);
const cases = fc
  .record({
    b: fc.integer({ min: 1, max: 2 }),
    n: fc.integer({ min: 1, max: 150 }),
    m: fc.integer({ min: 1, max: 150 }),
    g: fc.integer({ min: 1, max: 2 }),
    repeat: fc.integer({ min: 1, max: 2 }),
    share: fc.integer({ min: 0, max: 8 }),
    alike: fc.record({ batches: fc.boolean(), heads: fc.constantFrom('all', 'groups', 'none') }),
    queries: size,
    keys: size,
    settings: fc.constantFrom<AttentionSettings>(
      {},
      { causal: true },
      { window: [20, 3] },
      { mask: masks.or(masks.strided(5), masks.sinks(4)) },
    ),
  })
  .map(({ repeat, alike, ...given }): Problem => {
    const h = given.g * repeat;
    const heads = { all: 1, groups: given.g, none: h }[alike.heads];
    return { ...given, h, heads, batches: alike.batches ? 1 : given.b };
  });

describeWithMachineCode('selections', (runtime) => {
  test('a query sees the blocks of its own block, by lists, flags or runs', async () => {
    await scoped(runtime(), async () => {
      const q = runtime().tensor(new Float32Array(5), [1, 5, 1, 1]);
      const k = runtime().tensor(new Float32Array(6), [1, 6, 1, 1]);
      const v = runtime().tensor([1, 2, 3, 4, 5, 6], [1, 6, 1, 1]);
      const means = async (selection: Partial<Selection>) => [
        ...(await attention(q, k, v, { selection: { queryBlock: 2, keyBlock: 4, ...selection } }).out.read()),
      ];
      const lists = runtime().tensor<'i32'>(new Int32Array([1, 1, -1, -1, 0, 1]), [1, 1, 3, 2]);
      expect(await means({ lists })).toEqual([5.5, 5.5, 0, 0, 3.5]);
      const flags = runtime().tensor<'i32'>(new Int32Array([0, 1, 0, 0, -7, 2]), [1, 1, 3, 2]);
      expect(await means({ flags })).toEqual([5.5, 5.5, 0, 0, 3.5]);
      // Keys one by one, a run of them twice.
      const runs = runtime().tensor<'i32'>(new Int32Array([4, 6, 0, 3, 2, 6, 0, 3]), [4, 2]);
      const offsets = runtime().tensor<'i32'>(new Int32Array([0, 1, 1, 4]), [1, 1, 4]);
      expect(await means({ runs, offsets, keyBlock: 1 })).toEqual([5.5, 5.5, 0, 0, 3.5]);
    });
  });

  test('agree with the definition on odd shapes, per head and batch, beside other masks, forward and backward', async () => {
    await fc.assert(
      fc.asyncProperty(cases, (problem) => expectExact(runtime(), problem)),
      randomCases(15),
    );
  });

  test('take regions of a grid, beside other masks too', async () => {
    const fixed = { b: 1, n: 9 * 11, h: 2, g: 1, batches: 1, heads: 2, share: 4 };
    const queries = { extent: [9, 11], region: [4, 3] };
    const grids = { ...fixed, m: 99, queries, keys: { extent: [9, 11], region: [2, 5] } };
    await expectExact(runtime(), { ...grids, settings: {} });
    await expectExact(runtime(), { ...grids, settings: { causal: true } });
    await expectExact(runtime(), { ...fixed, m: 50, queries, keys: 7, settings: { mask: masks.strided(3) } });
    await expectExact(runtime(), { ...grids, n: 12, queries: 3, settings: { window: [40, 2] } });
  });

  test('take blocks of unequal lengths, which may differ by head', async () => {
    const fixed = { b: 2, n: 50, m: 60, h: 4, g: 2, batches: 1, heads: 2, share: 4, settings: {} };
    const [few, many] = [
      [
        [1, 30, 9, 10],
        [20, 20, 2, 8],
      ],
      [
        [5, 25, 29, 1],
        [15, 15, 15, 15],
      ],
    ];
    await expectExact(runtime(), { ...fixed, queries: few, keys: many });
    await expectExact(runtime(), { ...fixed, queries: [[24, 1, 25]], keys: 7, settings: { causal: true } });
  });

  test('follow from what other ops compute, on the tape too', async () => {
    await scoped(runtime(), async () => {
      const [q, k, v] = [1, 2, 3].map((seed) => runtime().random([1, 40, 2, 4], { seed })) as [Tensor, Tensor, Tensor];
      const score = scores.softcap(2);
      const routes = runtime().random([1, 2, 4, 5], { seed: 4 });
      const attend = (lists: Tensor<'i32'>) => {
        const selection = { lists, queryBlock: 10, keyBlock: 8 };
        const { loss, gradients } = differentiate(
          (q: Tensor) => sum(attention(q, k, v, { selection, score, causal: true }).out),
          q,
        );
        return [loss, gradients] as [Tensor, Tensor];
      };
      const { indices } = topK(routes, 2);
      const [loss, gradient] = attend(indices);
      const [sameLoss, sameGradient] = attend(runtime().fromHost(await indices.toHost()));
      expect(await loss.read()).toEqual(await sameLoss.read());
      const grads = await gradient.read();
      expect(grads).toEqual(await sameGradient.read());
      // Along one entry of q, since the choice does not move with it.
      const at = 4 * 2 * 17 + 3;
      const lossAt = async (step: number) => {
        const moved = (await q.read()).slice() as Float32Array;
        moved[at]! += step;
        const selection = { lists: indices, queryBlock: 10, keyBlock: 8 };
        const { out } = attention(runtime().tensor(moved, q.shape), k, v, { selection, score, causal: true });
        return (await sum(out).read())[0] as number;
      };
      const slope = ((await lossAt(0.02)) - (await lossAt(-0.02))) / 0.04;
      expect(grads[at]).not.toBe(0);
      expect(Math.abs((grads[at] as number) - slope)).toBeLessThan(2e-3);
    });
  });

  test('leave nothing behind, however many there are', async () => {
    await scoped(runtime(), async () => {
      const q = runtime().random([1, 64, 1, 4], { seed: 1 });
      const call = async (block: number) => {
        using lists = runtime().tensor<'i32'>(new Int32Array(8).fill(block), [1, 1, 8, 1]);
        const { out, lse } = attention(q, q, q, { selection: { lists, queryBlock: 8, keyBlock: 8 } });
        await out.read();
        out.dispose();
        lse.dispose();
      };
      await call(0);
      const { live, peak } = runtime().memory();
      for (let block = 0; block < 8; block++) await call(block);
      expect(runtime().memory()).toMatchObject({ live, peak });
    });
  });

  test('are refused by name where they do not fit', async () => {
    await scoped(runtime(), async () => {
      const q = runtime().random([2, 10, 4, 2], { seed: 1 });
      const ints = (...shape: number[]): Tensor<'i32'> =>
        runtime().tensor<'i32'>(new Int32Array(shape.reduce((size, extent) => size * extent, 1)), shape);
      const [lists, flags] = [ints(2, 4, 3, 2), ints(1, 2, 3, 5)];
      const blocks = { queryBlock: 4, keyBlock: 2 };
      const refuse = (selection: unknown, message: string) =>
        expectRefusal(runtime(), () => attention(q, q, q, { selection: selection as Selection }), message);
      await refuse({ ...blocks }, 'selection must have one of lists, flags, runs, got none');
      await refuse({ lists, flags, ...blocks }, 'selection must have one of lists, flags, runs, got lists and flags');
      await refuse({ lists, keyBlock: 2 }, 'selection must have one of queryBlock, queryLengths, queryGrid, got none');
      await refuse({ lists, ...blocks, keyBlock: 0 }, 'selection.keyBlock must be an integer >= 1, got 0');
      await refuse({ lists: q, ...blocks }, 'selection.lists must be i32, got f32');
      await refuse(
        { lists: ints(2, 4, 2, 2), ...blocks },
        'selection.lists must have shape [1 or 2, a divisor of 4, 3, k], got [2, 4, 2, 2]',
      );
      await refuse({ flags: ints(2, 3, 3, 5), ...blocks }, 'a divisor of 4, 3, 5], got [2, 3, 3, 5]');
      await refuse({ flags: ints(2, 4, 3, 4), ...blocks }, 'a divisor of 4, 3, 5], got [2, 4, 3, 4]');
      await refuse(
        { lists, queryBlock: 4, keyGrid: { extent: [3, 3], region: [1, 1] } },
        'extent of selection.keyGrid must hold the 10 keys, got [3, 3]',
      );
      await refuse(
        { lists, keyBlock: 2, queryGrid: { extent: [5, 2], region: [2] } },
        'region of selection.queryGrid must have an integer for each of the 2 axes, got [2]',
      );
      const lengths = { queryBlock: 4, lists };
      await refuse({ ...lengths, keyLengths: [4, 5] }, 'selection.keyLengths must hold 10 tokens together, got 9');
      await refuse({ ...lengths, keyLengths: [10, 0] }, 'selection.keyLengths[1] must be an integer from 1 to 10');
      await refuse(
        { ...lengths, keyLengths: [[10], [5, 5]] },
        'selection.keyLengths[1] must be 1 lengths, as for the first head, got 2',
      );
      await refuse({ ...lengths, keyLengths: [[10], [10], [10]] }, 'one for each of the 4 heads of the choice, got 3');
      const wrong = (value: number) => {
        const entries = new Int32Array(48).fill(-1);
        entries[2 * 4 * 3 + 5] = value;
        return runtime().tensor(entries, [2, 4, 3, 2]);
      };
      for (const value of [5, -2, 2 ** 31 - 1, -(2 ** 31)])
        await refuse(
          { lists: wrong(value), ...blocks },
          `selection.lists must hold key blocks from 0 to 4, or -1 for none, got ${value} at [1, 0, 2, 1]`,
        );
      await refuse({ lists, offsets: lists, ...blocks }, 'selection must have runs and offsets together, got lists');
      const ends = (...values: number[]) => runtime().tensor(Int32Array.from(values), [values.length / 2, 2]);
      const offsets = (...values: number[]) => runtime().tensor(Int32Array.from(values), [1, 1, values.length]);
      const refuseRuns = (runs: Tensor, offsets: Tensor, message: string) =>
        refuse({ runs, offsets, ...blocks }, message);
      await refuseRuns(ends(0, 5), offsets(0, 1, 1), 'selection.offsets must have shape [1 or 2, a divisor of 4, 4]');
      await refuseRuns(ints(2), offsets(0, 1, 1, 1), 'selection.runs must have shape [r, 2], got [2]');
      const expected = 'first key blocks and those past the last, in order, from 0 to 5';
      await refuseRuns(ends(0, 6), offsets(0, 1, 1, 1), `${expected}, got 6 at [0, 1]`);
      await refuseRuns(ends(3, 2), offsets(0, 1, 1, 1), `${expected}, got 2 at [0, 1]`);
      await refuseRuns(ends(0, 5), offsets(0, 2, 1, 1), 'places of runs, in order, from 0 to 1, got 2 at [0, 0, 1]');
      // A fault of what it is computed from is its own.
      const missing = gather(runtime().random([4, 8], { seed: 2 }), runtime().tensor(new Int32Array(12).fill(9), [12]));
      const faulty = topK(missing, 2).indices.reshape([1, 4, 3, 2]);
      await refuse({ lists: faulty, ...blocks, keyBlock: 1 }, 'indices must be from 0 to 3, got 9');
    });
  });
});
