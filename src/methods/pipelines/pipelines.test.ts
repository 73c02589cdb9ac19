/** Parts of pipelines against their references, forward and gradients, and against known answers. */
import { expect, test } from 'vitest';
import { describeOnBackends, fewOnGpu } from '../../../test/backends';
import { differentiated, relativeError } from '../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { type HostTensor, hostTensor, toFloat64 } from '../../tensor/host';
import { normal } from '../../tensor/random';
import { sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import type { Method } from '../define';
import { settled } from '../outputs';
import { simpruneAttention } from '../sparse/simprune-attention';
import { pointGroups } from './point-groups';
import { roiBoxes } from './roi-boxes';
import { roiLabels } from './roi-labels';
import { subjectScores } from './subject-scores';

const random = (shape: readonly number[], seed: number, of: (x: number) => number = (x) => x) =>
  hostTensor(normal(sizeOf(shape), seed).map(of), shape, 'f32');

const QKV = { q: random([2, 24, 2, 5], 1), k: random([2, 24, 2, 5], 2), v: random([2, 24, 2, 3], 3) };
const PICTURE = { ...QKV, tokens: random([2, 24, 7], 4) };
const SCORED = {
  cross: random([2, 5, 5, 6], 1, (x) => 0.02 * Math.abs(x)),
  self: random([2, 5, 5, 25], 2, Math.abs),
};
const MAP = { attention: random([3, 7, 9], 1, (x) => Math.max(0, x) ** 4) };

type Inputs = Readonly<Record<string, HostTensor>>;
const CASES: readonly (readonly [method: Method, params: object, inputs: Inputs])[] = [
  [simpruneAttention as never, { grid: [4, 6] }, { ...PICTURE, noise: random([2, 24], 5) }],
  [subjectScores as never, { subjects: [1, 3, 4] }, SCORED],
  [roiLabels as never, { maximumArea: 1 }, { ...MAP, sinks: random([3, 7, 9], 2, (x) => 0.0008 * x) }],
  [roiBoxes as never, { threshold: 0.6 }, { map: random([2, 9, 8], 1, (x) => 3 * x) }],
  [pointGroups as never, { groups: 5, size: 4, start: 2 }, { points: random([2, 20, 3], 1) }],
  [simpruneAttention as never, { grid: [4, 6], recover: 'before', ratio: 0.7, scale: 0.3 }, PICTURE],
  [simpruneAttention as never, { grid: [3, 8], patch: 3, ratio: 0.9 }, PICTURE],
  [simpruneAttention as never, { grid: [4, 6], ratio: 0 }, PICTURE],
  [subjectScores as never, { subjects: [2], smooth: false }, SCORED],
  [roiLabels as never, { foreground: 0.9, maximumArea: 0.2 }, MAP],
  [roiBoxes as never, { threshold: -0.8, smallArea: 6, maximumArea: 9 }, { map: random([2, 9, 8], 2, (x) => 3 * x) }],
];

describeOnBackends('parts of pipelines', (runtime) => {
  test.each(
    fewOnGpu(
      CASES.map((each) => [each[0].name, each[1], each] as const),
      5,
    ),
  )('%s %j', async (_, __, [method, given, inputs]) => {
    const params = method.parse(given as Record<string, unknown>);
    const found = method.reference(inputs, params);
    await scoped(runtime(), async () => {
      const tensors = Object.fromEntries(
        Object.entries(inputs).map(([name, host]) => [name, runtime().fromHost(host as HostTensor<'f32'>)]),
      );
      const check = async (name: string, tensor: Tensor, wanted: HostTensor, most: number) => {
        const host = await tensor.toHost();
        if (tensor.dtype !== 'i32') expect(relativeError(host, wanted), name).toBeLessThan(most);
        else
          expect({ [name]: [host.shape, ...toFloat64(host)] }).toEqual({
            [name]: [wanted.shape, ...toFloat64(wanted)],
          });
      };
      if (method.gradient === false) {
        const results = await settled(method.forward(tensors, params));
        for (const [name, tensor] of Object.entries(results)) await check(name, tensor, found[name]!, 0);
        for (const tensor of Object.values(results)) tensor.dispose();
        return;
      }
      const gradOut = random(found.out!.shape, 9);
      const expected = method.reference(inputs, params, gradOut);
      const { results, gradients } = differentiated(
        method,
        tensors,
        params,
        runtime().fromHost(gradOut as HostTensor<'f32'>),
      );
      for (const [name, tensor] of Object.entries(results)) await check(name, tensor, expected[name]!, 2e-5);
      expect(Object.keys(gradients).map((name) => `grad_${name}`)).toEqual(
        Object.keys(expected).filter((name) => name.startsWith('grad_')),
      );
      for (const [name, tensor] of Object.entries(gradients))
        await check(name, tensor as Tensor, expected[`grad_${name}`]!, 1e-4);
    });
  });

  test('labels, boxes and overlaps of hand examples', async () => {
    await scoped(runtime(), async () => {
      const map = (values: readonly number[], shape: readonly number[]) => runtime().tensor(values, shape);
      const seen = map([0, 0, 0, 0.05, 0, 1, 0.15, 0, 0, 0.3, 0.9, 0, 0, 0, 0, 0], [1, 4, 4]);
      const labels = [...(await roiLabels.forward({ attention: seen }, roiLabels.parse({})).labels.read())];
      expect(labels).toEqual([0, 0, 0, 0, 0, 1, -100, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
      // A box of half the picture leaves all open; so does a picture in which nothing is seen.
      const half = map([1, 1, 0, 0, 0, 0, 0, 0], [2, 2, 2]);
      const open = roiLabels.forward({ attention: half }, roiLabels.parse({})).labels;
      expect([...(await open.read())]).toEqual(Array(8).fill(-100));

      // A point is dropped, two places become three, and a picture without a region has no box.
      const logits = (at: readonly number[]) => Array.from({ length: 36 }, (_, i) => (at.includes(i) ? 9 : -9));
      const maps = map([...logits([0]), ...logits([14, 15]), ...logits([])], [3, 6, 6]);
      const boxes = await roiBoxes.forward({ map: maps }, roiBoxes.parse({ threshold: 0.3, sigma: 0.1 })).boxes;
      expect(boxes).toMatchObject({ shape: [1, 5], dtype: 'i32' });
      expect([...(await boxes.read())]).toEqual([1, 1, 1, 4, 4]);
      boxes.dispose();

      const [first, second] = [
        [0.5, 0.5, 0, 0],
        [1, 0, 0, 0],
      ];
      const cross = map([0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], [1, 2, 2, 4]);
      const self = map([...first, ...second, ...first, ...second], [1, 2, 2, 4]);
      const { out } = subjectScores.forward({ cross, self }, subjectScores.parse({ subjects: [1, 2], smooth: false }));
      expectClose(await out.read(), [0, 0.25], 1e-6);
    });
  });

  test('pruning copies kept results bit for bit; copies of tokens change nothing', async () => {
    await scoped(runtime(), async () => {
      // All four tokens of a patch alike, so that whichever is kept stands for the others.
      const patchOf = (i: number) => Math.floor(Math.floor(i / 4) / 2) * 2 + Math.floor((i % 4) / 2);
      const of = (c: number, seed: number) => {
        const rows = normal(4 * c, seed);
        return runtime().tensor(
          Array.from({ length: 16 * c }, (_, at) => rows[patchOf(Math.floor(at / c)) * c + (at % c)]!),
          [1, 16, 1, c],
        );
      };
      const [q, k, v] = [of(4, 1), of(4, 2), of(3, 3)];
      const tokens = of(5, 4).reshape([1, 16, 5]);
      const plain = simpruneAttention.forward({ q, k, v, tokens }, simpruneAttention.parse({ grid: [4, 4], ratio: 0 }));
      for (const recover of ['after', 'before'] as const) {
        const params = simpruneAttention.parse({ grid: [4, 4], ratio: 0.75, recover });
        const { out, kept } = simpruneAttention.forward({ q, k, v, tokens }, params);
        expectClose(await out.read(), await plain.out.read(), 1e-5);
        expect([...(await kept.read())].reduce((a, b) => a + b)).toBe(4);
        const rows = Array.from({ length: 16 }, async (_, i) => String(await out.slice(1, i, i + 1).read()));
        expect(new Set(await Promise.all(rows)).size).toBe(4);
      }
    });
  });

  test('refuse what does not fit, by name', async () => {
    const tensors = Object.fromEntries(
      Object.entries({ ...PICTURE, ...SCORED }).map(([name, host]) => [
        name,
        runtime().fromHost(host as HostTensor<'f32'>),
      ]),
    ) as Record<'q' | 'k' | 'v' | 'tokens' | 'cross' | 'self', Tensor>;
    const prune = (params: object) => () =>
      simpruneAttention.forward(tensors, simpruneAttention.parse(params as never));
    const { q, k, v, tokens, cross, self } = tensors;
    const score = (subjects: number[]) => () =>
      subjectScores.forward({ cross, self }, subjectScores.parse({ subjects }));
    for (const [call, message] of [
      [
        () => simpruneAttention.forward({ q, k, v, tokens }, simpruneAttention.parse({ grid: [4, 5] })),
        'grid must have the 24 places of q, got 4 x 5, which are 20',
      ],
      [
        () => simpruneAttention.forward({ q, k, v, tokens }, simpruneAttention.parse({ grid: [4, 6], ratio: 0.8 })),
        'ratio must leave one token of each patch, so be at most 0.75 here, got 0.8: 19 of 24 tokens, 6 patches',
      ],
      [
        () => simpruneAttention.forward({ q, k, v, tokens }, simpruneAttention.parse({ grid: [2, 12], patch: 3 })),
        'patch must be at most the sides of the grid, 2 x 12, got 3',
      ],
      [score([5]), 'subjects must be from 1 to 4, between the first and the last of 6 tokens, got 5'],
      [score([2, 2]), 'subjects must differ, got 2, 2'],
    ] as const)
      await expectRefusal(runtime(), call, message);
    expect(prune({ grid: [4, 6] })).toThrow("simprune-attention has no input 'cross'");
    for (const each of Object.values(tensors)) each.dispose();
  });
});
