import { afterEach, describe, expect, test, vi } from 'vitest';
import { onRanks } from '../../test/ranks';
import {
  attention,
  cast,
  createRuntime,
  gatedDeltaRule,
  hostTensor,
  linearAttention,
  multiply,
  pullback,
  type Runtime,
  type Selection,
  type Tensor,
} from '../index';
import {
  and,
  band,
  causal,
  documentIds,
  documents,
  fromTable,
  full,
  globalSliding,
  type Mask,
  not,
  or,
  prefix,
  shareQuestion,
  strided,
} from '../masks';
import * as scores from '../scores';
import { MECHANISMS, type Mechanism, simulateContextParallel } from '../simulate';
import type { Communicator } from './communicator';
import { type ContextParallel, contextParallel } from './context-parallel';
import { contiguousShards, type Shard, shardsOf, unevenness } from './shards';
import { ThreadTransport } from './threads';

const LENGTHS = [5, 17, 15];
const N = 37;
const causalDocuments = and(causal(), documents(documentIds(LENGTHS)));

interface Extents {
  readonly b: number;
  readonly h: number;
  readonly g: number;
}

/** Keys that each query of a head sees at random, some queries none. */
function tableOf(h: number): Mask {
  const data = Uint8Array.from({ length: h * N * N }, (_, at) => Number((at * 7919) % 11 < 4 && (at / N) % N >= 3));
  return fromTable({ dtype: 'u8', shape: [h, N, N], data });
}

/** Many ranks start faster without threads, and counts need no kernels. */
const ON_REFERENCE = { backend: 'reference' } as const;
const D = 8;
const E = 12;

/** q, k and v, and the gradients with respect to out and lse. */
function inputsOn(runtime: Runtime, { b, h, g }: Extents, dtype: 'f32' | 'f16' = 'f32', n = N) {
  const random = (heads: number, columns: number, seed: number) =>
    runtime.random([b, n, heads, columns], { seed, dtype });
  return {
    q: random(h, D, 1),
    k: random(g, D, 2),
    v: random(g, E, 3),
    gradOut: random(h, E, 4),
    gradLse: runtime.random([b, n, h], { seed: 5 }),
  };
}

type Inputs = ReturnType<typeof inputsOn>;

type Tensors = Readonly<Record<string, Tensor>>;

/** Results and gradients of a function of q, k and v, and of what else it has. */
function passes<More extends Tensors = Record<never, Tensor>>(
  attend: (q: Tensor, k: Tensor, v: Tensor, more: More) => object,
  { q, k, v, gradOut, gradLse }: Inputs,
  more?: More,
): Tensor[] {
  const call = (t: Tensors) => attend(t.q as Tensor, t.k as Tensor, t.v as Tensor, t as unknown as More);
  const { results, pull } = pullback(call, { q, k, v, ...more } as Tensors);
  const gradients = pull({ out: gradOut, lse: gradLse } as never) as Tensors;
  const { out, lse } = results as { out: Tensor; lse: Tensor };
  return [out, lse, ...Object.keys({ q, k, v, ...more }).map((name) => gradients[name] as Tensor)];
}

const read = (tensors: readonly Tensor[]) => Promise.all(tensors.map(async (x) => Array.from(await x.read(), Number)));

/** Tolerance is relative to the largest number above 1. */
function expectAlike(got: readonly number[][], wanted: readonly number[][], tolerance: number): void {
  for (const [at, values] of wanted.entries()) {
    const most = tolerance * Math.max(1, ...values.filter(Number.isFinite).map(Math.abs));
    const isAlike = (value: number, i: number) =>
      Object.is(value, got[at]?.[i]) || Math.abs(value - (got[at]?.[i] ?? NaN)) < most;
    expect(values.every(isAlike)).toBe(true);
  }
}

type Case = readonly [
  name: string,
  ranks: number,
  extents: Extents,
  mask: (h: number) => Mask,
  names: readonly (Mechanism | 'auto')[],
];

const CASES: readonly Case[] = [
  ['any mask', 1, { b: 1, h: 2, g: 1 }, tableOf, ['ulysses', 'loongtrain']],
  ['any mask', 2, { b: 2, h: 4, g: 2 }, tableOf, MECHANISMS],
  ['documents', 4, { b: 1, h: 4, g: 2 }, () => causalDocuments, MECHANISMS],
  ['causal', 4, { b: 1, h: 2, g: 2 }, causal, ['ring', 'usp', 'loongtrain']],
  ['full', 8, { b: 1, h: 2, g: 1 }, full, ['all-gather', 'usp', 'loongtrain']],
  ['a window', 4, { b: 2, h: 2, g: 1 }, () => band(6, 2), ['edges', 'auto']],
  ['share-question', 16, { b: 1, h: 4, g: 1 }, () => shareQuestion(LENGTHS), ['loongtrain', 'auto']],
];

test.each(CASES)(
  '%s on %i ranks: results and gradients are those of one machine',
  async (_, ranks, extents, maskOf, names) => {
    const mask = maskOf(extents.h);
    using runtime = await createRuntime(ranks > 8 ? ON_REFERENCE : { backend: 'wasm', threads: 1 });
    const wanted = await read(passes((q, k, v) => attention(q, k, v, { mask }), inputsOn(runtime, extents)));
    const { b: batch, h: heads, g: keyHeads } = extents;
    const all = await onRanks(
      ranks,
      async (communicator) => {
        const whole = inputsOn(communicator.runtime, extents);
        const found: number[][][] = [];
        for (const mechanism of names) {
          const attend = contextParallel(attention, {
            communicator,
            tokens: N,
            mask,
            mechanism,
            batch,
            heads,
            keyHeads,
          });
          const own = Object.fromEntries(Object.entries(whole).map(([name, x]) => [name, attend.dispatch(x)]));
          const parts = passes((q, k, v) => attend(q, k, v, { lse: true }), own as unknown as Inputs);
          found.push(await read(parts.map((part) => attend.undispatch(part))));
        }
        return found;
      },
      ranks > 8 ? ON_REFERENCE : {},
    );
    for (const found of all) for (const got of found) expectAlike(got, wanted, 1e-5);
  },
);

describe('scores and selections are of places in the sequence', () => {
  const [n, extents] = [36, { b: 2, h: 4, g: 2 }];
  const integers = (runtime: Runtime, shape: readonly number[], at: (place: number) => number) =>
    runtime.tensor(
      Int32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, place) => at(place)),
      shape,
      'i32',
    );
  const grid = { extent: [6, 6], region: [2, 3] };

  const SELECTIONS: readonly (readonly [string, (runtime: Runtime) => Selection | undefined])[] = [
    ['no selection', () => undefined],
    [
      'flags for the regions of a grid, for heads two by two',
      (runtime) => ({
        flags: integers(runtime, [1, 2, 6, 9], (at) => (at * 7) % 3),
        ...{ queryGrid: grid, keyGrid: { extent: [6, 6], region: [2, 2] } },
      }),
    ],
    [
      'runs of keys for each query of each head, none for some',
      (runtime) => ({
        runs: integers(
          runtime,
          [2 * 4 * n, 2],
          (at) => (at % 2 === 0 ? (at * 5) % 30 : ((at - 1) * 5) % 30) + (at % 2) * 6,
        ),
        offsets: integers(
          runtime,
          [2, 4, n + 1],
          (at) => Math.floor(at / (n + 1)) * n + Math.max(0, (at % (n + 1)) - 2),
        ),
        ...{ queryBlock: 1, keyBlock: 1 },
      }),
    ],
    [
      'lists of blocks that differ by head',
      (runtime) => ({
        lists: integers(runtime, [2, 4, 3, 2], (at) => ((at * 5) % 4) - 1),
        queryLengths: [10, 20, 6],
        keyLengths: [
          ...[
            [3, 3, 30],
            [12, 12, 12],
            [30, 5, 1],
            [1, 34, 1],
          ],
        ],
      }),
    ],
  ];

  /** A score that depends on everything that one may depend on. */
  const scoreOf = ({ slopes, table }: Record<'slopes' | 'table', Tensor>) =>
    scores.compose(
      scores.softcap(2),
      scores.alibi(slopes),
      scores.relativeBias(
        hostTensor(
          Float32Array.from({ length: 4 * 71 }, (_, at) => Math.sin(at)),
          [4, 71],
        ),
      ),
      scores.from(
        (s, b, h, q, k, { table, n, m }) => s + (table[(3 * q + k + h + b) % 7] as number) * ((q + k) / (n + m)),
        {
          table,
        },
      ),
    );

  test.each(SELECTIONS)('%s', async (_, selectionOn) => {
    const mask = band(20, 3);
    const captured = (runtime: Runtime) => ({
      slopes: runtime.random([4], { seed: 8 }),
      table: runtime.random([7], { seed: 9 }),
    });
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const selection = selectionOn(runtime);
    const wanted = await read(
      passes(
        (q, k, v, more) => attention(q, k, v, { mask, score: scoreOf(more), selection }),
        inputsOn(runtime, extents, 'f32', n),
        captured(runtime),
      ),
    );
    await onRanks(4, async (communicator) => {
      const { runtime } = communicator;
      const whole = inputsOn(runtime, extents, 'f32', n);
      const selection = selectionOn(runtime);
      for (const mechanism of MECHANISMS) {
        const attend = contextParallel(attention, { communicator, tokens: n, mask, mechanism });
        const own = Object.fromEntries(Object.entries(whole).map(([name, x]) => [name, attend.dispatch(x)]));
        const parts = passes(
          (q, k, v, more) => attend(q, k, v, { lse: true, score: scoreOf(more), selection }),
          own as unknown as Inputs,
          captured(runtime),
        );
        // Gradients of what all ranks have are theirs together.
        const found = parts.map((part, at) => (at < 5 ? attend.undispatch(part) : communicator.allReduce(part)));
        expectAlike(await read(found), wanted, 2e-5);
      }
    });
  });
});

/** Elements that each rank sends in the forward and in the backward pass of several attentions. */
async function sentOnRanks(
  devices: number,
  [heads, keyHeads, tokens, d]: readonly [number, number, number, number],
  attentionsOf: (communicator: Communicator) => readonly ContextParallel[],
): Promise<[number, number][][]> {
  const post = vi.spyOn(ThreadTransport.prototype, 'post');
  const onRank = async (communicator: Communicator) => {
    const { runtime, rank } = communicator;
    const sent = () =>
      post.mock.calls
        .filter((_, call) => (post.mock.contexts[call] as ThreadTransport).rank === rank)
        .flatMap(([, messages]) => messages.map(({ payload }) => payload.length / 4))
        .reduce((sum, elements) => sum + elements, 0);
    const found: [number, number][] = [];
    for (const attend of attentionsOf(communicator)) {
      const whole = [heads, keyHeads, keyHeads].map((h) => runtime.zeros([1, tokens, h, d]));
      const before = sent();
      const { results, pull } = pullback((all: Three) => attend(...all), whole.map((x) => attend.dispatch(x)) as Three);
      await results.out.read();
      const between = sent();
      await read(pull({ out: results.out } as never) as unknown as Tensor[]);
      found.push([between - before, sent() - between]);
    }
    return found;
  };
  return await onRanks(devices, onRank, ON_REFERENCE);
}

describe('elements sent', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test.each([
    [4, 8, 4],
    [8, 2, 2],
  ])('are those of the formulas on %i ranks', async (devices, heads, keyHeads) => {
    const [tokens, d] = [64, 4];
    const costs = simulateContextParallel({ devices, tokens, heads, keyHeads, d }).filter(
      ({ refused, mechanism }) => !refused && mechanism !== 'edges',
    );
    const counted = await sentOnRanks(devices, [heads, keyHeads, tokens, d], (communicator) =>
      costs.map(({ mechanism }) => contextParallel(attention, { communicator, tokens, mechanism, causal: true })),
    );
    const wanted = costs.map((cost) => [cost.forward.elementsSent, cost.backward.elementsSent]);
    for (const found of counted) expect(found).toEqual(wanted);
  });

  test('by edges are the keys that queries of other ranks see', async () => {
    const [devices, heads, keyHeads, tokens, d, window] = [4, 2, 1, 64, 4, 10];
    const settings = { devices, tokens, heads, keyHeads, d };
    const table = Uint8Array.from({ length: tokens ** 2 }, (_, at) => Number((at * 7919) % 101 === 0));
    const masks = [
      ...[band(window, 0), band(20, 3), documents(documentIds([16, 20, 4, 24])), causal()],
      fromTable({ dtype: 'u8', shape: [tokens, tokens], data: table }),
    ];
    const place = { b: 1, n: tokens, m: tokens, h: heads, g: keyHeads, batch: 0, head: 0 };
    // The closed form of a window is that of runs.
    const divisions = masks.map((mask, at) => (at === 0 ? contiguousShards : shardsOf)(mask, place, devices));
    const counted = await sentOnRanks(devices, [heads, keyHeads, tokens, d], (communicator) =>
      masks.map((mask, at) => {
        const shards = divisions[at] as readonly Shard[];
        return contextParallel(attention, { communicator, tokens, mask, shards, mechanism: 'edges' });
      }),
    );
    const positions = (shard: Shard) => shard.runs.flatMap(([start, past]) => range(start, past));
    for (const [at, mask] of masks.entries()) {
      const shards = divisions[at] as readonly Shard[];
      for (const [holder, own] of shards.entries()) {
        const seen = (of: Shard, rank: number) =>
          positions(of).filter((j) => positions(shards[rank] as Shard).some((i) => mask.sees(i, j, place))).length;
        const keys = shards.reduce((sum, _, rank) => sum + (rank === holder ? 0 : seen(own, rank)), 0);
        const given = shards.reduce((sum, shard, rank) => sum + (rank === holder ? 0 : seen(shard, holder)), 0);
        const elements = 2 * keyHeads * d;
        expect(counted[holder]?.[at]).toEqual([elements * keys, elements * (keys + given)]);
      }
    }
    const model = simulateContextParallel({ ...settings, window }).find(({ mechanism }) => mechanism === 'edges');
    expect(Math.max(...counted.map(([first]) => first?.[0] as number))).toBe(model?.forward.elementsSent);
    expect(Math.max(...counted.map(([first]) => first?.[1] as number))).toBe(model?.backward.elementsSent);
  });

  test('are those of edges where these are the cheapest', async () => {
    const [found] = await onRanks(
      4,
      async (communicator) => {
        const q = communicator.runtime.zeros([1, 64, 2, 4]);
        const of = (mask: Mask) => contextParallel(attention, { communicator, tokens: 256, mask }).mechanismFor(q, q);
        return [of(band(10, 0)), of(full())];
      },
      ON_REFERENCE,
    );
    expect(found?.[0]).toBe('edges');
    expect(found?.[1]).not.toBe('edges');
  });
});

const range = (first: number, past: number) => Array.from({ length: past - first }, (_, at) => first + at);

type Three = [Tensor, Tensor, Tensor];

describe('shards', () => {
  const extent = (n: number, h = 1) => ({ b: 1, n, m: n, h, g: 1 });
  const random = (at: number) => ((Math.imul(at + 1, 2654435761) >>> 0) % 1000) / 1000;

  test('zigzag makes causal work equal', () => {
    expect(shardsOf(causal(), extent(128), 4).map(({ work }) => work)).toEqual([2064, 2064, 2064, 2064]);
    const order = shardsOf(causal(), extent(8), 4).flatMap(({ runs }) => runs.map(([start]) => start));
    expect(order).toEqual([0, 7, 1, 6, 2, 5, 3]);
    for (const ranks of [2, 4, 8, 16]) expect(unevenness(shardsOf(causal(), extent(5001), ranks))).toBeLessThan(1.01);
  });

  test('work under documents and any mask differs by less than 10%', () => {
    const lengths = Array.from({ length: 24 }, (_, at) => 1 + Math.floor(2 ** (3 + 6 * random(at))));
    const n = lengths.reduce((sum, length) => sum + length);
    const ids = documents(documentIds(lengths));
    const masks = [ids, and(causal(), ids), band(64, 0), shareQuestion(lengths), or(causal(), prefix(200)), strided(7)];
    for (const mask of [...masks, not(globalSliding(40, 80))])
      for (const ranks of [2, 4, 8]) {
        const shards = shardsOf(mask, extent(n), ranks);
        expect(unevenness(shards)).toBeLessThan(1.1);
        expect(shards.flatMap(({ runs }) => runs.map(([start, past]) => past - start)).reduce((a, b) => a + b)).toBe(n);
        expect(Math.max(...shards.map(({ tokens }) => tokens))).toBeLessThan((1.3 * n) / ranks);
      }
  });
});

test('tokens are dispatched and come back, of any element type', async () => {
  await onRanks(
    3,
    async (communicator) => {
      const { runtime, rank } = communicator;
      const attend = contextParallel(attention, { communicator, tokens: 20, causal: true });
      const ids = runtime.arange(20, { dtype: 'i32' });
      const own = attend.dispatch(ids, 0);
      expect([...(await own.read())]).toEqual([...attend.positions]);
      expect(attend.positions).toHaveLength((attend.shards[rank] as { tokens: number }).tokens);
      expect([...(await attend.undispatch(own, 0).read())]).toEqual([...(await ids.read())]);
      const half = runtime.random([2, 20, 3], { dtype: 'f16' });
      expect([...(await attend.undispatch(attend.dispatch(half)).read())]).toEqual([...(await half.read())]);
    },
    ON_REFERENCE,
  );
});

test('sixteen bits are rounded once', async () => {
  const extents = { b: 1, h: 2, g: 1 };
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const wanted = await read(
    passes((q, k, v) => attention(q, k, v), inputsOn(runtime, extents, 'f16')).map((x) => cast(x, 'f32')),
  );
  await onRanks(3, async (communicator) => {
    const whole = inputsOn(communicator.runtime, extents, 'f16');
    const attend = contextParallel(attention, { communicator, tokens: N, mechanism: 'ring' });
    const own = Object.fromEntries(Object.entries(whole).map(([name, x]) => [name, attend.dispatch(x)]));
    const parts = passes((q, k, v) => attend(q, k, v, { lse: true }), own as unknown as Inputs);
    expect(parts.map(({ dtype }) => dtype)).toEqual(['f16', 'f32', 'f16', 'f16', 'f16']);
    expectAlike(await read(parts.map((part) => cast(attend.undispatch(part), 'f32'))), wanted, 2e-3);
  });
});

describe.each([1, 3, 4])('states on %i ranks', (ranks) => {
  const [b, h, n] = [2, 4, 22];
  const random = (runtime: Runtime, ...columns: number[]) =>
    columns.map((c, seed) => runtime.random(c > 1 ? [b, n, h, c] : [b, n, h], { seed, distribution: 'uniform' }));

  /** Compares what an op gives for whole sequences with what ranks give. */
  async function compare(columns: number[], op: (...x: Tensor[]) => { out: Tensor }, sharded: ShardedOp) {
    const whole = async (runtime: Runtime, attend: (...x: Tensor[]) => { out: Tensor }, part = (x: Tensor) => x) => {
      const inputs = random(runtime, ...columns, E).map(part);
      const gradOut = inputs.pop() as Tensor;
      const { results, pull } = pullback((all: Tensor[]) => ({ out: attend(...all).out }), inputs);
      return [results.out, ...(pull({ out: gradOut } as never) as unknown as Tensor[])];
    };
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const wanted = await read(await whole(runtime, op));
    await onRanks(ranks, async (communicator) => {
      for (const mechanism of ranks === 3 ? (['states'] as const) : (['states', 'ulysses'] as const)) {
        const { attend, dispatch, undispatch } = sharded(communicator, mechanism, n);
        const got = await whole(communicator.runtime, attend, (x) => dispatch(x));
        expectAlike(await read(got.map((x) => undispatch(x))), wanted, 2e-5);
      }
    });
  }

  type ShardedOp = (
    communicator: Communicator,
    mechanism: 'states' | 'ulysses',
    tokens: number,
  ) => { attend: (...x: Tensor[]) => { out: Tensor }; dispatch(x: Tensor): Tensor; undispatch(x: Tensor): Tensor };

  test.each([
    { causal: true, decay: [1, 0.9, 0.5, 0.99] },
    { causal: true, normalise: true },
    { causal: false, normalise: true },
    { causal: false },
  ])('pass linear attention on: %o', async (settings) => {
    await compare(
      [D, D, E],
      (q, k, v) => linearAttention(q as Tensor, k as Tensor, v as Tensor, settings),
      (communicator, mechanism, tokens) => {
        const attend = contextParallel(linearAttention, { communicator, mechanism, tokens });
        const { dispatch, undispatch } = attend;
        return { attend: (q, k, v) => attend(q as Tensor, k as Tensor, v as Tensor, settings), dispatch, undispatch };
      },
    );
  });

  test('pass the gated delta rule on', async () => {
    const scaled = (k: Tensor) => multiply(k, k.runtime.tensor([0.3]));
    const decay = (g: Tensor) => multiply(g, g.runtime.tensor([-1]));
    await compare(
      [D, D, E, 1, 1],
      (q, k, v, g, beta) =>
        gatedDeltaRule(q as Tensor, scaled(k as Tensor), v as Tensor, decay(g as Tensor), beta as Tensor),
      (communicator, mechanism, tokens) => {
        const attend = contextParallel(gatedDeltaRule, { communicator, mechanism, tokens });
        const { dispatch, undispatch } = attend;
        return {
          attend: (q, k, v, g, beta) =>
            attend(q as Tensor, scaled(k as Tensor), v as Tensor, decay(g as Tensor), beta as Tensor),
          dispatch,
          undispatch,
        };
      },
    );
  });
});

test('bad input is refused by name', async () => {
  await onRanks(
    3,
    async (communicator) => {
      const { runtime } = communicator;
      const [q, k, short] = [runtime.zeros([1, 4, 4, 2]), runtime.zeros([1, 4, 2, 2]), runtime.zeros([1, 3, 2, 2])];
      const options = { communicator, tokens: 12 } as const;
      const attend = contextParallel(attention, options);
      expect(() => attend(q, short, short)).toThrow('k must have 4 tokens along axis 1 on rank');
      expect(() => contextParallel(attention, { ...options, mechanism: 'ulysses' })(q, k, k)).toThrow(
        "mechanism 'ulysses' cannot divide heads: 3 ranks do not divide 4 heads",
      );
      expect(() => contextParallel(linearAttention, { ...options, mechanism: 'ulysses' })(q, q, q)).toThrow(
        '3 ranks do not divide 4 heads',
      );
      expect(() => contextParallel(attention, { ...options, tokens: 2 })).toThrow(
        'tokens must be at least one for each of 3 ranks, got 2',
      );
      expect(() => contextParallel(attention, { ...options, mechanism: 'star' as 'ring' })).toThrow(
        'mechanism must be',
      );
      expect(() => contextParallel(attention, { ...options, mask: documents(documentIds([5])) })).toThrow('5 queries');
      expect(() => contextParallel(attention, { ...options, chunks: 2 } as never)).toThrow("has no option 'chunks'");
      expect(() => attend.dispatch(q)).toThrow('x of dispatch() must have 12 tokens along axis 1');
      expect(() => contextParallel((() => q) as never, options)).toThrow('op of contextParallel() must be attention');
    },
    ON_REFERENCE,
  );
});
