/** Pools, resizes, shuffles and patches of pictures. */
import { expect, test } from 'vitest';
import { describeOnBackends, isOnGpu } from '../../../test/backends';
import { expectClose, expectRefusal } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { expectAsInPyTorch } from '../../../test/vision';
import { adaptivePool, fold, pixelShuffle, pixelUnshuffle, pool, resize, type Tensor, unfold } from '../../index';

const first = { channelsFirst: true } as const;
const OPS = {
  pool: ({ x }: Inputs, options: object) => pool(x!, { ...options, ...first } as never),
  adaptivePool: ({ x }: Inputs, options: object) => adaptivePool(x!, { ...options, ...first }),
  resize: ({ x }: Inputs, options: object) => resize(x!, { ...options, ...first } as never),
  pixelShuffle: ({ x }: Inputs, { factor }: { factor: number }) => pixelShuffle(x!, factor, first),
  pixelUnshuffle: ({ x }: Inputs, { factor }: { factor: number }) => pixelUnshuffle(x!, factor, first),
  unfold: ({ x }: Inputs, options: object) => unfold(x!, { ...options, ...first } as never),
  fold: ({ x }: Inputs, options: object) => fold(x!, { ...options, ...first } as never),
};
type Inputs = Readonly<Record<string, Tensor | undefined>>;

describeOnBackends('pictures', (runtime) => {
  test('are pooled, resized, shuffled and unfolded as in PyTorch, with gradients', async () => {
    await expectAsInPyTorch(runtime(), OPS);
  });

  test.skipIf(isOnGpu)('with channels last are as with channels first', async () => {
    await scoped(runtime(), async () => {
      const x = runtime().random([2, 4, 6, 8], { seed: 1 });
      const turned = x.permute([0, 3, 1, 2]);
      const back = (y: Tensor) => (y.rank === 4 ? y.permute([0, 2, 3, 1]) : y.permute([0, 2, 1]));
      const pairs: readonly (readonly [Tensor, Tensor])[] = [
        [pool(x, { size: 2, kind: 'max' }), pool(turned, { size: 2, kind: 'max', ...first })],
        [adaptivePool(x), adaptivePool(turned, first)],
        [resize(x, { size: [3, 9] }), resize(turned, { size: [3, 9], ...first })],
        [pixelShuffle(x, 2), pixelShuffle(turned, 2, first)],
        [pixelUnshuffle(x, 2), pixelUnshuffle(turned, 2, first)],
      ];
      for (const [last, other] of pairs) {
        expect(last.shape).toEqual(back(other).shape);
        expectClose(await last.read(), (await back(other).toHost()).data as Float32Array, 1e-6);
      }
      // Patches that do not overlap come back as they were.
      const patches = unfold(x, { size: 2, stride: 2 });
      expect(patches.shape).toEqual([2, 6, 32]);
      expectClose(await fold(patches, { size: 2, stride: 2, shape: [4, 6] }).read(), await x.read(), 0);
    });
  });

  test.skipIf(isOnGpu)('refuse what does not fit, by name', async () => {
    using x = runtime().random([1, 4, 3, 2]);
    using patches = runtime().random([1, 5, 8]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => pool(x, { size: 4 }), 'size of pool reaches over 4 elements, more than the 3 of x [1, 4, 3, 2]');
    await refuse(
      () => pool(x, { size: 2, padding: 2 }),
      'padding must be at most half of the window of 2 elements, got 2',
    );
    await refuse(
      () => pool(x, {} as never),
      'size must be an integer >= 1, or one for each spatial axis, got undefined',
    );
    await refuse(
      () => resize(x, { size: 2, mode: 'area', antialias: true }),
      'antialias must be false of mode area, got true',
    );
    await refuse(
      () => resize(x, { size: 2, mode: 'nearest', alignCorners: true }),
      'alignCorners must be false of mode nearest',
    );
    await refuse(() => resize(x, { size: 2 ** 20 }), '2^31 or more');
    await refuse(() => pixelShuffle(x, 2), 'x [1, 4, 3, 2] must have a multiple of 4 channels, got 2');
    await refuse(() => pixelUnshuffle(x, 2), 'x [1, 4, 3, 2] must have rows and columns that 2 divides, got 4 and 3');
    await refuse(() => fold(patches, { size: 2, shape: [3, 3] }), 'x must have 4 places, and a multiple of 4 channels');
  });
});
