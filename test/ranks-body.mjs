/**
 * What a communicator gives, held against the same of all ranks' tensors in one process, forward and backward: the same for
 * ranks on one thread, as workers and by MPI. Returns the largest error by name.
 */
export async function checkRanks(communicator, { add, concat, pullback, cast }) {
  const { runtime, rank, size } = communicator;
  const ranks = [...Array(size).keys()];
  const errors = {};
  const error = async (a, b) => {
    const [x, y] = [await a.read(), await b.read()];
    if (x.length !== y.length || String(a.shape) !== String(b.shape)) return Number.POSITIVE_INFINITY;
    return x.reduce((most, value, at) => Math.max(most, Math.abs(value - y[at])), 0);
  };
  const total = (tensors) => tensors.reduce((sum, each) => add(sum, each));
  const cut = (x, axis, counts, which) => {
    const start = counts.slice(0, which).reduce((sum, count) => sum + count, 0);
    return x.slice(axis, start, start + counts[which]);
  };

  /** `together` on each rank must be what `alone` makes of all ranks' tensors for it; `shapeOf` is that of x by rank. */
  async function check(name, shapeOf, together, alone) {
    const shapes = ranks.map(shapeOf);
    const xs = shapes.map((shape, at) => runtime.random(shape, { seed: 7 + at }));
    const one = pullback(({ x }) => ({ out: together(x) }), { x: xs[rank] });
    const all = pullback(
      (inputs) =>
        Object.fromEntries(
          ranks.map((r) => [
            `o${r}`,
            alone(
              ranks.map((s) => inputs[`x${s}`]),
              r,
            ),
          ]),
        ),
      {
        ...Object.fromEntries(xs.map((x, at) => [`x${at}`, x])),
      },
    );
    const upstream = ranks.map((r) => runtime.random(all.results[`o${r}`].shape, { seed: 70 + r }));
    errors[name] = await error(one.results.out, all.results[`o${rank}`]);
    const [own] = [one.pull({ out: upstream[rank] })];
    const expected = all.pull(Object.fromEntries(upstream.map((each, r) => [`o${r}`, each])));
    errors[`gradient of ${name}`] = await error(own.x, expected[`x${rank}`]);
  }

  const same = () => [3, 5];
  const before = (r) => (r + size - 1) % size;
  await check(
    'sendRecv',
    same,
    (x) => communicator.sendRecv(x, (rank + 1) % size, before(rank)),
    (xs, r) => xs[before(r)],
  );
  const uneven = (r) => [2, 3 + r];
  await check(
    'sendRecv, uneven',
    uneven,
    (x) => communicator.sendRecv(x, (rank + 1) % size, before(rank), { shape: uneven(before(rank)) }),
    (xs, r) => xs[before(r)],
  );
  await check(
    'allGather',
    uneven,
    (x) => communicator.allGather(x, { axis: 1, counts: ranks.map((r) => 3 + r) }),
    (xs) => concat(xs, 1),
  );
  const counts = ranks.map((r) => (r * 2) % 5);
  const sum = counts.reduce((a, b) => a + b);
  await check(
    'reduceScatter, one rank without a part',
    () => [sum, 3],
    (x) => communicator.reduceScatter(x, { counts }),
    (xs, r) => cut(total(xs), 0, counts, r),
  );
  // Ulysses: heads are divided, tokens of uneven parts gathered.
  const tokens = ranks.map((r) => 2 + r);
  await check(
    'allToAll, heads against tokens',
    (r) => [1, tokens[r], 2 * size, 3],
    (x) => communicator.allToAll(x, { split: 2, concat: 1, received: tokens }),
    (xs, r) =>
      concat(
        xs.map((x) => x.slice(2, 2 * r, 2 * r + 2)),
        1,
      ),
  );
  const sends = (from) => ranks.map((to) => 1 + ((from + to) % 3));
  await check(
    'allToAll, counts',
    (r) => [sends(r).reduce((a, b) => a + b), 2],
    (x) => communicator.allToAll(x, { split: 0, counts: sends(rank), received: ranks.map((r) => sends(r)[rank]) }),
    (xs, r) =>
      concat(
        xs.map((x, from) => cut(x, 0, sends(from), r)),
        0,
      ),
  );
  await check(
    'allReduce',
    same,
    (x) => communicator.allReduce(x),
    (xs) => total(xs),
  );
  await check(
    'allReduce, large',
    () => [3, 3001],
    (x) => communicator.allReduce(x),
    (xs) => total(xs),
  );
  await check(
    'broadcast',
    same,
    (x) => communicator.broadcast(x, size - 1),
    (xs) => add(xs[size - 1], runtime.zeros([3, 5])),
  );

  // A rank whose loss does not depend on what it got takes part in the gradient.
  const x = runtime.random([4], { seed: rank });
  const unused = pullback(({ x }) => ({ out: communicator.sendRecv(x, (rank + 1) % size, before(rank)), x }), { x });
  const ones = runtime.ones([4]);
  const { x: gradient } = unused.pull(rank === 0 ? { x: ones } : { out: ones, x: ones });
  errors.unused = await error(gradient, runtime.full([4], rank === size - 1 ? 1 : 2));

  const largest = communicator.allReduce(runtime.tensor([rank, -rank, 1]), { operation: 'max' });
  errors.max = await error(largest, runtime.tensor([size - 1, 0, 1]));
  const shared = pullback(({ x }) => ({ out: communicator.allReduce(x, { operation: 'max' }) }), {
    x: runtime.tensor([rank, 1]),
  });
  const { x: shares } = shared.pull({ out: runtime.tensor([1, 1]) });
  errors['gradient of max'] = await error(shares, runtime.tensor([rank === size - 1 ? size : 0, 1]));

  for (const dtype of ['f16', 'bf16', 'i32']) {
    const bytes = cast(runtime.tensor([rank, 2, 3]), dtype);
    errors[dtype] = await error(
      cast(communicator.allGather(bytes), 'f32'),
      runtime.tensor(ranks.flatMap((r) => [r, 2, 3])),
    );
  }

  // Exchanges that nothing waits for are under way together; what is sent is not written over.
  const a = runtime.full([50_000], rank);
  const b = communicator.sendRecv(a, (rank + 1) % size, before(rank));
  const c = communicator.sendRecv(a, before(rank), (rank + 1) % size);
  add(runtime.full([50_000], 9), runtime.zeros([50_000]), { out: a });
  errors['written over'] = await error(add(b, c), runtime.full([50_000], before(rank) + ((rank + 1) % size)));

  const half = await communicator.split(rank % 2, -rank);
  const members = ranks.filter((r) => r % 2 === rank % 2).reverse();
  errors.split = await error(half.allGather(runtime.tensor([rank])), runtime.tensor(members));
  const none = await communicator.split(rank === 0 ? undefined : 0);
  errors['split without a colour'] = (none === undefined) === (rank === 0) ? 0 : 1;
  await communicator.barrier();
  return errors;
}
