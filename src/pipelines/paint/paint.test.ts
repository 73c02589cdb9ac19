import { describe, expect, test } from 'vitest';
import { expectClose } from '../../../test/expect';
import fixture from '../../../test/fixtures/pipelines.json';
import { scoped } from '../../../test/scoped';
import { createRuntime, type Runtime, type Tensor } from '../../index';
import { initial } from '../../nn';
import type { Described } from '../../nn/module';
import { map } from '../../ops/map/map';
import { sum } from '../../ops/reduce';
import { differentiate } from '../../tape';
import { sizeOf } from '../../tensor/shape';
import { cosineSchedule, denoised, linearSchedule, noised, spacedSteps } from '../diffusion';
import { frechetDistance } from '../frechet';
import { codecLoss, codecParameters } from './codec';
import { drawnGarments, GARMENTS } from './garments';
import { judgeLoss, judgeParameters } from './judge';
import { mapLatents } from './latent-mapper';
import { paint } from './paint';
import { parsePrompt, promptOf, vocabularySize } from './prompts';
import { scenes } from './scenes';
import { type NetworkName, Studio } from './studio';
import { parametersOf, type TrainStore, trainNetwork } from './train';
import { painterParameters, predicted } from './unet';

const WARDROBE = { pictures: drawnGarments(12, 1), words: GARMENTS };

/** The tensors of the fixture's script. */
function wave(shape: readonly number[], name: string): Float32Array {
  const seed = [...name].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 101;
  return Float32Array.from(
    { length: sizeOf(shape) },
    (_, i) => 0.5 * Math.sin(1.7 * i + 0.9 * seed) + 0.1 * Math.cos(0.3 * i),
  );
}

const withRuntime = async (work: (runtime: Runtime) => Promise<void>) => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  await scoped(runtime, () => work(runtime));
};

describe('diffusion', () => {
  const { linear, cosine, mixed, ddpm, ddim } = fixture.diffusion;

  test("schedules and steps are PyTorch's", () =>
    withRuntime(async (runtime) => {
      expectClose(linearSchedule(10), linear, 1e-12);
      expectClose(cosineSchedule(10), cosine, 1e-12);
      const of = (name: string) => runtime.tensor(wave([6], name), [6]);
      const [from, to] = [linear[7] as number, linear[6] as number];
      const { x, velocity } = noised(of('x'), of('noise'), runtime.tensor([from], [1]));
      expectClose(await x.read(), mixed, 1e-6);
      for (const [eta, expected] of [
        [0, ddim],
        [1, ddpm],
      ] as const)
        expectClose(await denoised(x, velocity, of('fresh'), { from, to, eta }).read(), expected, 1e-6);
      expectClose(await denoised(x, velocity, undefined, { from, to: 1, eta: 1 }).read(), wave([6], 'x'), 1e-5);
    }));

  test('takes steps that are there', () => {
    expect(spacedSteps(cosineSchedule(10), 5)).toEqual([9, 7, 5, 3, 1]);
    expect(() => spacedSteps(cosineSchedule(10), 11)).toThrow('count must be an integer from 1 to 10, got 11');
  });
});

test("the Frechet distance is scipy's", () =>
  withRuntime(async (runtime) => {
    const a = { width: 4, x: wave([9, 4], 'a') };
    const b = { width: 4, x: wave([12, 4], 'b').map((each) => 1.5 * each + 0.2) };
    expect(await frechetDistance(runtime, a, b)).toBeCloseTo(fixture.frechet, 5);
    expect(await frechetDistance(runtime, a, a)).toBeCloseTo(0, 10);
    await expect(frechetDistance(runtime, a, { width: 2, x: [1, 2, 3, 4] })).rejects.toThrow(
      'features must be of one width, got 4 and 2',
    );
    await expect(frechetDistance(runtime, { width: 2, x: [1, 2] }, { width: 2, x: [1, 2] })).rejects.toThrow(
      'x of a must have at least two rows of 2 features',
    );
  }));

describe("networks and their gradients are PyTorch's", () => {
  const cases: readonly [keyof typeof fixture & NetworkName, Described, (runtime: Runtime) => Loss][] = [
    ['codec', codecParameters, codecCase],
    ['judge', judgeParameters(6), judgeCase],
    ['painter', painterParameters(vocabularySize(GARMENTS)), painterCase],
  ];
  test.each(cases)('%s', (name, described, lossOf) =>
    withRuntime(async (runtime) => {
      const trained = Object.entries(described).filter(([, { isBuffer }]) => !isBuffer);
      const entries = trained.map(([each, { shape }]) => {
        const rows = Math.sqrt(Math.max(1, sizeOf(shape.slice(1))));
        const base = each.includes('norm') && each.endsWith('weight') ? 1 : 0;
        const values = wave(shape, each).map((value) => value / rows + base);
        return [each, runtime.tensor(values, shape)] as const;
      });
      const { loss, gradients } = differentiate(lossOf(runtime), Object.fromEntries(entries));
      const { value, gradients: expected } = fixture[name];
      expectClose(await loss.read(), [value], 1e-3);
      for (const [each, along] of Object.entries(expected)) {
        const gradient = gradients[each] as Tensor;
        const values = wave(gradient.shape, `${each}'`);
        const found = ((await gradient.read()) as Float32Array).reduce(
          (sum, slope, at) => sum + slope * values[at]!,
          0,
        );
        expect(Math.abs(found - along), each).toBeLessThan(2e-3 * (1 + Math.abs(along)));
      }
    }),
  );

  type Loss = (p: Record<string, Tensor>) => Tensor;

  const halfWave = (runtime: Runtime) =>
    runtime.tensor(
      wave([2, 64, 64, 1], 'x').map((each) => 0.5 + each / 2),
      [2, 64, 64, 1],
    );

  function codecCase(runtime: Runtime): Loss {
    const noise = runtime.tensor(wave([2, 16, 16, 4], 'noise'), [2, 16, 16, 4]);
    return (p) => codecLoss(p, { x: halfWave(runtime), noise });
  }

  function judgeCase(runtime: Runtime): Loss {
    const present = runtime.tensor([1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1], [2, 6]);
    return (p) => judgeLoss(p, { x: halfWave(runtime), present });
  }

  function painterCase(runtime: Runtime): Loss {
    const shape = [2, 16, 16, 4];
    const tokens = Int32Array.of(0, 2, 5, 4, 2, 8, 1, 1, 1, 1, 1, 1, 0, ...new Array(11).fill(1));
    const glance = {
      x: runtime.tensor(wave(shape, 'x'), shape),
      times: [0.3, 1],
      tokens: runtime.tensor(tokens, [2, 12], 'i32'),
    };
    const by = runtime.tensor(wave(shape, 'out'), shape);
    return (p) => sum(map((x, by) => x * by, predicted(p, glance), by));
  }
});

describe('prompts', () => {
  test('say what there is to paint', () => {
    expect(promptOf(['shirt', 'umbrella', 'trousers', 'dress'])).toBe('a shirt, an umbrella, trousers and a dress');
    const { tokens, subjects, classes, length } = parsePrompt('A hat, and a SHOE', GARMENTS);
    expect([[...subjects], [...classes], length]).toEqual([[2, 5], [5, 3], 7]);
    expect(tokens[2]).toBe(2 + 3 + 5);
  });

  test.each([
    ['a hat and a dog', "the prompt has the unknown word 'dog': a prompt may name shirt, trousers"],
    ['', 'the prompt names nothing to paint: a prompt may name shirt'],
    ['and a', 'the prompt names nothing to paint'],
    ['a hat and a hat', "the prompt must name each garment once, got 'a hat and a hat'"],
    ['a a a a a a a a a a hat', 'a prompt may have 10 words, got 11'],
  ])('refuse %j', (text, message) => {
    expect(() => parsePrompt(text, GARMENTS)).toThrow(message);
  });
});

test('scenes have the garments of their prompts, the same by whatever batch', () => {
  const all = scenes(WARDROBE, 6, 3);
  const last = scenes(WARDROBE, 2, 3, 4);
  expect(last.prompts).toEqual(all.prompts.slice(4));
  expect(last.x).toEqual(all.x.slice(4 * 64 * 64));
  for (const [at, prompt] of all.prompts.entries()) {
    const classes = all.classes[at] as number[];
    expect(parsePrompt(prompt, GARMENTS).classes).toEqual(classes);
    const bright = [0, 1, 2, 3].filter((quarter) =>
      all.x
        .subarray(at * 4096, (at + 1) * 4096)
        .some((x, place) => x > 0.2 && 2 * Math.floor(place / 2048) + Number(place % 64 >= 32) === quarter),
    );
    expect(bright.length).toBe(classes.length);
  }
});

describe('painting', () => {
  /** Networks that have not learned anything, but whose last layers are not zeros. */
  function studio(runtime: Runtime): Studio {
    const of = (name: NetworkName) => {
      const parameters = Object.fromEntries(
        Object.entries(parametersOf(name, GARMENTS)).map(([each, parameter]) => [
          each,
          each.endsWith('.out.weight') ? { ...parameter, initial: { std: 0.05 } } : parameter,
        ]),
      );
      return initial({ parameters }, runtime, 1);
    };
    const networks = { codec: of('codec'), judge: of('judge'), painter: of('painter') };
    return new Studio(runtime, GARMENTS, networks.codec, networks.judge, networks.painter);
  }
  const PROMPT = 'a shirt and a bag';

  test('is the same by its seed, and by settings that change nothing', () =>
    withRuntime(async (runtime) => {
      const own = studio(runtime);
      const plain = await paint(own, PROMPT, { steps: 2 });
      expect([plain.picture.length, plain.present.length, plain.passes]).toEqual([4096, 6, 4]);
      expect(plain.maps.map(({ length }) => length)).toEqual([256, 256]);
      const nothing = { ratio: 0, alpha: 0 };
      expect((await paint(own, PROMPT, { steps: 2, prune: nothing })).picture).toEqual(plain.picture);
      expect((await paint(own, PROMPT, { steps: 2, seed: 1 })).picture).not.toEqual(plain.picture);
      const before = runtime.memory().live;
      for (const prune of [
        { ratio: 0.5, shared: 2 },
        { ratio: 0.75, way: 'merge' },
        { ratio: 0.5, recover: 'before', base: 'random' },
      ] as const) {
        const other = await paint(own, PROMPT, { steps: 2, prune });
        expect(other.picture).not.toEqual(plain.picture);
        expectClose(other.picture, plain.picture, 0.2);
      }
      expect(runtime.memory().live).toBe(before);
    }));

  test('chooses the first noise with the best scores', () =>
    withRuntime(async (runtime) => {
      const own = studio(runtime);
      const live = runtime.memory().live;
      const settings = { steps: 2, prune: { ratio: 0.5, shared: 2 } };
      const seedOf = (round: number) => 3 + 2 ** 33 * round;
      const paintWith = (rounds: number, round = 0) =>
        paint(own, PROMPT, { ...settings, seed: seedOf(round), mapper: { rounds } });
      const single = [await paintWith(1, 0), await paintWith(1, 1), await paintWith(1, 2)];
      const totals = single.map(({ mapped }) => mapped!.scores.missing + mapped!.scores.overlap);
      const best = single[totals.indexOf(Math.min(...totals))]!;
      const { picture, mapped, maps, passes } = await paintWith(3);
      expect([picture, maps, mapped!.scores]).toEqual([best.picture, best.maps, best.mapped!.scores]);
      expect([mapped!.before, mapped!.distance]).toEqual([single[0]!.mapped!.scores, 0]);
      // Each noise takes a step to where the layout is settled, and a look there; then comes the last step.
      expect(passes).toBe(3 * (2 + 1) + 2);
      const plain = await paint(own, PROMPT, { ...settings, seed: seedOf(single.indexOf(best)) });
      expect([plain.picture, plain.mapped]).toEqual([picture, undefined]);
      const abort = new AbortController();
      const control = { signal: abort.signal, onProgress: () => abort.abort(new Error('enough')) };
      await expect(paint(own, PROMPT, { ...settings, mapper: {} }, control)).rejects.toThrow('enough');
      expect(runtime.memory().live).toBe(live);
    }));

  test('moves the first noise within its distance, and tries others', () =>
    withRuntime(async (runtime) => {
      const { painter } = studio(runtime);
      const prompt = parsePrompt(PROMPT, GARMENTS);
      const options = { rounds: 2, steps: 2, last: 3, missing: 0.001, learningRate: 0.02, distance: 1e-3 };
      const live = runtime.memory().live;
      const found = await mapLatents(runtime, painter, prompt, 5, options);
      expect([found.passes, found.backward]).toEqual([3 + 3 + 4, 2 + 2 + 3]);
      expect(found.distance).toBeGreaterThan(0);
      expect(found.distance).toBeLessThanOrEqual(1e-3);
      expect(found.scores.missing + found.scores.overlap).toBeLessThan(found.before.missing + found.before.overlap);
      found.noise.dispose();
      expect(runtime.memory().live).toBe(live);
      const good = await mapLatents(runtime, painter, prompt, 5, { ...options, missing: 1, overlap: 1 });
      expect([good.passes, good.backward, good.distance]).toEqual([1, 1, 0]);
    }));

  test('refuses what leaves nothing to do', () =>
    withRuntime(async (runtime) => {
      const own = studio(runtime);
      await expect(paint(own, 'a shirt', { mapper: {} })).rejects.toThrow(
        'the latent mapper keeps subjects apart and needs two in the prompt, got 1',
      );
      await expect(paint(own, PROMPT, { prune: { ratio: 0.8 } })).rejects.toThrow(
        'ratio must be from 0 to 0.75, which leaves one place of each patch of 2 x 2, got 0.8',
      );
    }));
});

test('trainings go on from where they were cut off, as if they had not been', () =>
  withRuntime(async (runtime) => {
    const settings = { seed: 3, steps: 3, batch: 2, learningRate: 1e-3 };
    const whole = await trainNetwork(runtime, 'codec', WARDROBE, settings);
    let file: Uint8Array | undefined;
    const store: TrainStore = {
      read: async () => file,
      write: async (written) => {
        file = written;
      },
    };
    const abort = new AbortController();
    const control = { store, signal: abort.signal, onStep: () => abort.abort(new Error('cut off')) };
    await expect(trainNetwork(runtime, 'codec', WARDROBE, settings, control)).rejects.toThrow('cut off');
    const again = await trainNetwork(runtime, 'codec', WARDROBE, settings, { store });
    expect(again).toEqual(whole);
    const codec = Object.fromEntries(Object.entries(whole).map(([name, host]) => [name, runtime.fromHost(host)]));
    const painter = await trainNetwork(runtime, 'painter', WARDROBE, { ...settings, steps: 1 }, { codec });
    expect(Object.keys(painter)).toEqual(Object.keys(parametersOf('painter', GARMENTS)));
  }));
