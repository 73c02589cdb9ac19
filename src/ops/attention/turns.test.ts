/** Maps of tiles that take longer than a turn, on every backend. */
import { afterEach, expect, test, vi } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { outcomeOf } from '../../../test/expect';
import { attention, attentionBackward, createRuntime, DisposedError, type Runtime } from '../../index';
import { full } from '../../masks/band';
import { KeyWords } from '../../masks/key-words';
import type { Mask } from '../../masks/mask';

const N = 400;

/** A clock by which every step lasts longer than a turn. */
function slowClock(): void {
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => (now += 1000));
}
afterEach(() => {
  vi.restoreAllMocks();
});

/** The first third of the keys, without a closed form; `asked` counts the tiles of queries. */
function firstThird() {
  const past = Math.floor(N / 3);
  const mask = {
    name: 'first third',
    asked: 0,
    sees: (_i: number, j: number) => j < past,
    words(queries: ArrayLike<number>) {
      mask.asked++;
      const words = new KeyWords();
      words.push(0, queries.length === 32 ? -1 : 2 ** queries.length - 1);
      words.push(past, 0);
      return words;
    },
  } satisfies Mask & { asked: number };
  return mask;
}

const inputsOf = (runtime: Runtime) => [1, 2, 3].map((seed) => runtime.random([1, N, 1, 4], { seed }));

describeOnBackends('maps in turns', (runtime) => {
  const isReference = () => runtime().backend.name === 'reference';

  test('a call that is cancelled meanwhile rejects with the reason, and leaves nothing half-built', async () => {
    const [q, k, v] = inputsOf(runtime());
    const mask = firstThird();
    const { live } = runtime().memory();
    slowClock();
    const controller = new AbortController();
    const shares: number[] = [];
    const onProgress = (share: number) => {
      shares.push(share);
      if (shares.length === 3) controller.abort(new RangeError('enough'));
    };
    const outcome = outcomeOf(attention(q!, k!, v!, { mask, signal: controller.signal, onProgress }));
    if (isReference()) return void (await outcome);
    await expect(outcome).rejects.toThrow('enough');
    expect(mask.asked).toBe(3);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares.at(-1)).toBeLessThan(0.5);
    expect(runtime().memory().live).toBe(live);

    const out = await outcomeOf(attention(q!, k!, v!, { mask }));
    const tiles = mask.asked - 3;
    expect(tiles).toBeGreaterThanOrEqual(Math.ceil(N / 32));
    await outcomeOf(attention(q!, k!, v!, { mask }));
    expect(mask.asked).toBe(tiles + 3);
    // A copy of the mask is another mask.
    vi.restoreAllMocks();
    expect(await outcomeOf(attention(q!, k!, v!, { mask: { ...mask } }))).toEqual(out);
  });

  test('forward and backward, progress never goes back and ends at 1', async () => {
    const [q, k, v] = inputsOf(runtime());
    slowClock();
    for (const backward of [false, true]) {
      const shares: number[] = [];
      const control = { mask: firstThird(), onProgress: (share: number) => shares.push(share) };
      const { out, lse } = attention(q!, k!, v!, backward ? { mask: control.mask } : control);
      await out.read();
      control.mask = firstThird();
      if (backward) await outcomeOf(attentionBackward(q!, k!, v!, { out, lse, gradOut: out }, control));
      expect(shares).toEqual([...shares].sort((a, b) => a - b));
      expect(shares.filter((share) => share === 1)).toHaveLength(1);
      expect(shares.at(-1)).toBe(1);
      if (!isReference()) expect(shares.length).toBeGreaterThan(N / 32);
    }
  });

  test('what is called later takes effect later', async () => {
    const [q, k, v, out, lse] = [...inputsOf(runtime()), runtime().empty([1, N, 1, 4]), runtime().empty([1, N, 1])];
    const expected = await outcomeOf(attention(q!, k!, v!, { mask: full() }));
    slowClock();
    for (const mask of [firstThird(), full()]) attention(q!, k!, v!, { mask, out: out!, lse: lse! });
    expect(await out!.read()).toEqual(expected);
  });
});

test('a runtime that is disposed meanwhile makes the call reject', async () => {
  const runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const [q, k, v] = inputsOf(runtime);
  const mask = firstThird();
  slowClock();
  const { out } = attention(q!, k!, v!, { mask, onProgress: () => runtime.dispose() });
  await expect(out.read()).rejects.toThrow(DisposedError);
  expect(mask.asked).toBe(1);
});
