import { expect, test } from 'vitest';
import { onRanks } from '../../test/ranks';
import { pullback, type Tensor } from '../index';

test('calls give what they say', async () => {
  const size = 3;
  const all = await onRanks(size, async (c) => {
    const { runtime, rank } = c;
    const x = runtime.tensor([
      [rank, 10 + rank],
      [20 + rank, 30 + rank],
    ]);
    const ring = c.sendRecv(x, (rank + 1) % size, (rank + size - 1) % size);
    const gathered = c.allGather(x, { axis: 1 });
    const summed = c.allReduce(x);
    const largest = c.allReduce(x, { operation: 'max' });
    const cast = c.broadcast(x, 1);
    const uneven = runtime.tensor(
      Float32Array.from({ length: 6 }, (_, i) => 100 * rank + i),
      [6],
    );
    const turned = c.allToAll(uneven, { split: 0, counts: [1, 2, 3], received: [rank + 1, rank + 1, rank + 1] });
    const scattered = c.reduceScatter(uneven, { counts: [1, 2, 3] });
    const half = await c.split(rank === 1 ? undefined : 0, -rank);
    const pair = half && [half.rank, half.size, ...(await half.allGather(runtime.tensor([rank])).read())];
    await c.barrier();
    const read = async (t: Tensor) => [...((await t.read()) as Float32Array)];
    return {
      ring: await read(ring),
      gathered: await read(gathered),
      summed: await read(summed),
      largest: await read(largest),
      cast: await read(cast),
      turned: await read(turned),
      scattered: await read(scattered),
      pair,
    };
  });
  expect(all).toMatchInlineSnapshot(`
    [
      {
        "cast": [
          1,
          11,
          21,
          31,
        ],
        "gathered": [
          0,
          10,
          1,
          11,
          2,
          12,
          20,
          30,
          21,
          31,
          22,
          32,
        ],
        "largest": [
          2,
          12,
          22,
          32,
        ],
        "pair": [
          1,
          2,
          2,
          0,
        ],
        "ring": [
          2,
          12,
          22,
          32,
        ],
        "scattered": [
          300,
        ],
        "summed": [
          3,
          33,
          63,
          93,
        ],
        "turned": [
          0,
          100,
          200,
        ],
      },
      {
        "cast": [
          1,
          11,
          21,
          31,
        ],
        "gathered": [
          0,
          10,
          1,
          11,
          2,
          12,
          20,
          30,
          21,
          31,
          22,
          32,
        ],
        "largest": [
          2,
          12,
          22,
          32,
        ],
        "pair": undefined,
        "ring": [
          0,
          10,
          20,
          30,
        ],
        "scattered": [
          303,
          306,
        ],
        "summed": [
          3,
          33,
          63,
          93,
        ],
        "turned": [
          1,
          2,
          101,
          102,
          201,
          202,
        ],
      },
      {
        "cast": [
          1,
          11,
          21,
          31,
        ],
        "gathered": [
          0,
          10,
          1,
          11,
          2,
          12,
          20,
          30,
          21,
          31,
          22,
          32,
        ],
        "largest": [
          2,
          12,
          22,
          32,
        ],
        "pair": [
          0,
          2,
          2,
          0,
        ],
        "ring": [
          1,
          11,
          21,
          31,
        ],
        "scattered": [
          309,
          312,
          315,
        ],
        "summed": [
          3,
          33,
          63,
          93,
        ],
        "turned": [
          3,
          4,
          5,
          103,
          104,
          105,
          203,
          204,
          205,
        ],
      },
    ]
  `);
});

test('gradients', async () => {
  const all = await onRanks(2, async (c) => {
    const { runtime, rank } = c;
    const { results, pull } = pullback(({ x }) => ({ out: c.allGather(x) }), { x: runtime.tensor([rank, 1]) });
    const g = pull({ out: runtime.tensor([1 + rank, 2, 3, 4]) });
    void results;
    return [...(await g.x.read())];
  });
  expect(all).toEqual([
    [3, 4],
    [6, 8],
  ]);
});
