import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectClose } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { createRuntime, type Runtime, type Tensor } from '../../index';
import { initial } from '../../nn';
import { decodePicture } from '../../pictures';
import { differentiate } from '../../tape';
import { normal } from '../../tensor/random';
import { adamw, train } from '../../train';
import type { LabelledPictures } from '../../train/pictures';
import { lookForRegions, lookTwice, type Viewer } from './look';
import { predictorParameters, regionLogits, regionLoss } from './predictor';
import { regionsQuality } from './quality';
import { boxOfCell, sceneBatch, sceneMaker } from './scenes';
import { loadViewer } from './trained';
import { askedOf, predictorTraining, taught, tensorsOf, viewerTraining } from './training';
import { answered, attentionTo, type Block, placesOf, viewerConfig, viewerParameters } from './viewer';
import { cropped, keptPlaces, squared, toSource } from './views';
import { ANSWERS, KINDS, parseQuestion } from './words';

/** Garments of 8 x 8 pixels: each class lights rows of its own. */
function garments(count: number): LabelledPictures {
  const labels = Int32Array.from({ length: count }, (_, at) => at % 10);
  const pixels = Uint8Array.from({ length: 64 * count }, (_, at) =>
    ((Math.floor(at / 8) % 8) ^ (at % 8)) % 10 === (labels[Math.floor(at / 64)] as number) % 8 ? 250 : 40,
  );
  return { shape: [count, 8, 8, 1], pixels, labels };
}

const CONFIG = viewerConfig({
  side: 4,
  width: 8,
  heads: 2,
  hidden: 8,
  layers: 2,
  frozen: 1,
  predictor: 1,
  teacher: { layer: 1, heads: [0, 1] },
});
const OPTIONS = { config: CONFIG, pictures: garments(40), seed: 3, batch: 2, steps: 4 };

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', threads: 1 });
});
afterAll(() => runtime.dispose());

const viewerOf = (seed: number): Viewer => ({
  config: CONFIG,
  parameters: initial({ parameters: { ...viewerParameters(CONFIG), ...predictorParameters(CONFIG) } }, runtime, seed),
});

describe('views', () => {
  test('boxes go back to the pixels of a picture that was padded to a square', () => {
    expect(toSource([2, 3, 5, 7], { width: 336, height: 336 }, 24)).toEqual({
      left: 28,
      top: 42,
      right: 70,
      bottom: 98,
    });
    // 672 x 336: 28 pixels a place, and 168 of them above the picture.
    expect(toSource([0, 5, 2, 8], { width: 672, height: 336 }, 24)).toEqual({ left: 0, top: 0, right: 56, bottom: 56 });
    expect(toSource([20, 10, 24, 24], { width: 672, height: 336 }, 24)).toEqual({
      left: 560,
      top: 112,
      right: 672,
      bottom: 336,
    });
    expect(toSource([0, 0, 24, 5], { width: 672, height: 336 }, 24)).toBeUndefined();
  });

  test('a square has the picture in its middle, and a box what it touches', () => {
    const picture = { width: 2, height: 4, rgb: Float32Array.from({ length: 24 }, (_, at) => 1 + at) };
    const square = squared(picture);
    expect([square.width, square.height, square.rgb[0], square.rgb[3]]).toEqual([4, 4, 0, 1]);
    expect([...cropped(square, { left: 1.2, top: 2.9, right: 2, bottom: 3.1 }).rgb]).toEqual([13, 14, 15, 19, 20, 21]);
  });

  test('masked upscaling keeps what lies on marked places', () => {
    const isMarked = (x: number, y: number) => (x === 2 && y === 1) || (x === 4 && y === 2);
    // Three by two places as six by six.
    expect(keptPlaces(isMarked, [2, 1, 5, 3], 6)).toEqual([0, 1, 6, 7, 12, 23, 28, 29, 34, 35]);
    expect(keptPlaces(() => true, [1, 1, 3, 3], 4)).toHaveLength(16);
  });
});

test('questions are of known words, in order', () => {
  const red = parseQuestion('Which RED shoe?');
  expect([red, parseQuestion('which shoe')]).toEqual([
    [0, 2, 6],
    [0, 1, 6],
  ]);
  expect(() => parseQuestion('which purple shoe')).toThrow(
    "has the word 'purple', which the model does not know: it knows which, red,",
  );
  for (const wrong of ['', 'shoe', 'which', 'which red', 'which shoe red', 'which red red shoe', 'which shoe top'])
    expect(() => parseQuestion(wrong), wrong).toThrow(
      "question must be 'which', a colour or none, and shoe or top, got",
    );
  expect(() => parseQuestion(5 as never)).toThrow('question must be a string, got 5');
});

test('scenes have what is asked for once, and a second view of it', () => {
  const make = sceneMaker(garments(40));
  for (let seed = 0; seed < 20; seed++) {
    const { questions, garments: placed, picture } = make(seed);
    expect([picture.width, placed.length]).toEqual([32, 16]);
    for (const { words, answer, cell } of questions) {
      expect(placed[cell]).toBe(answer);
      const kind = Object.values(KINDS)[(words[2] as number) - 6] as readonly number[];
      const isOnly = placed.filter((label) => kind.includes(label)).length === 1;
      expect(isOnly || words[1] !== 1, 'only a single garment goes without its colour').toBe(true);
    }
  }
  expect(boxOfCell(6, 12, 4)).toEqual([6, 3, 9, 6]);
  const batch = sceneBatch([make(1), make(2)], CONFIG, 5, true);
  expect(batch).toEqual(sceneBatch([make(1), make(2)], CONFIG, 5, true));
  expect(batch.second?.pixels).toHaveLength(2 * 64 * 3);
  expect([...batch.answers].some((answer) => answer >= 0)).toBe(true);
});

test('each question sees all places and its own words; attention to places is the share of the softmax', () =>
  scoped(runtime, async () => {
    const { parameters } = viewerOf(1);
    const make = sceneMaker(garments(40));
    const asked = askedOf(tensorsOf(runtime, sceneBatch([make(1), make(2)], CONFIG, 0, true), CONFIG));
    const { logits, blocks } = answered(parameters, asked, CONFIG);
    const words = await asked.words.read();
    // The last question alone has the same answer.
    const alone = runtime.tensor(Int32Array.from([...words.slice(21, 24), ...words.slice(45, 48)]), [2, 3], 'i32');
    const own = answered(parameters, { ...asked, words: alone }, CONFIG);
    const [all, last] = [await logits.read(), await own.logits.read()];
    expectClose(last.slice(0, 10), all.slice(70, 80), 1e-5);
    expectClose(last.slice(10), all.slice(150), 1e-5);

    const n = placesOf(asked, CONFIG);
    const seen = await attentionTo(own.blocks[1] as Block, n, n, [0, 1]).read();
    for (const row of [seen.subarray(0, n), seen.subarray(n)]) {
      const sum = row.reduce((a, b) => a + b, 0);
      // The rest goes to the three words.
      expect(sum).toBeGreaterThan(0.5);
      expect(sum).toBeLessThan(1);
    }
    const { q, k, lse } = blocks[1] as Block;
    const [qs, ks, sums] = [await q.read(), await k.read(), await lse.read()];
    const t = n + 24;
    const at = (head: number) => {
      const product = [0, 1, 2, 3].reduce(
        (sum, c) => sum + (qs[((n + 23) * 2 + head) * 4 + c] as number) * (ks[(5 * 2 + head) * 4 + c] as number),
        0,
      );
      return Math.exp(product / 2 - (sums[(n + 23) * 2 + head] as number));
    };
    expect(qs.length).toBe(2 * t * 8);
    expect(seen[5]).toBeCloseTo((at(0) + at(1)) / 2, 5);
  }));

test("the predictor's map is the mean over heads of products, and open labels have no loss", () =>
  scoped(runtime, async () => {
    const { parameters } = viewerOf(2);
    const tokens = runtime.tensor(normal(19 * 8, 4), [1, 19, 8]);
    const map = await regionLogits(parameters, tokens, 16, CONFIG).read();
    const host = (name: string) => parameters[name]!.read() as Promise<Float32Array>;
    const [q, k] = [
      await host('twig_layers.0.self_attn.q_proj.weight'),
      await host('twig_layers.0.self_attn.k_proj.weight'),
    ];
    const rows = await tokens.read();
    const normed = (at: number) => {
      const row = [...rows.subarray(8 * at, 8 * at + 8)];
      return row.map((x) => x / Math.sqrt(row.reduce((sum, each) => sum + each * each, 0) / 8));
    };
    const times = (w: Float32Array, x: number[]) =>
      Array.from({ length: 8 }, (_, o) => x.reduce((sum, each, i) => sum + each * (w[8 * o + i] as number), 0));
    const [query, key] = [times(q, normed(18)), times(k, normed(7))];
    const heads = [0, 4].map(
      (first) => [0, 1, 2, 3].reduce((sum, c) => sum + query[first + c]! * key[first + c]!, 0) / 2,
    );
    expect(map[7]).toBeCloseTo((heads[0]! + heads[1]!) / 2, 4);

    const logits = { x: runtime.tensor([2, -1, 30, 0.5], [1, 1, 4]) };
    const labels = runtime.tensor(Int32Array.of(1, 0, -100, 0), [1, 1, 4], 'i32');
    const { loss, gradients } = differentiate(({ x }) => regionLoss(x!, labels), logits);
    const losses = [Math.log(1 + Math.exp(-2)), Math.log(1 + Math.exp(-1)), Math.log(1 + Math.exp(0.5))];
    expect((await loss.read())[0]).toBeCloseTo(losses.reduce((a, b) => a + b) / 3, 6);
    const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
    expectClose(await gradients.x!.read(), [(sigmoid(2) - 1) / 3, sigmoid(-1) / 3, 0, sigmoid(0.5) / 3], 1e-6);
    const open = runtime.tensor(new Int32Array(4).fill(-100), [1, 1, 4], 'i32');
    expect((await regionLoss(logits.x, open).read())[0]).toBe(0);
  }));

test('both trainings lower their losses, the second without touching the model', async () => {
  const trained = async (training: ReturnType<typeof viewerTraining>, steps: number) => {
    using optimizer = adamw(training.parameters, { learningRate: 0.02 });
    const { parameters, buffers, batches, loss } = training;
    const { losses } = await train({
      parameters,
      buffers,
      optimizer,
      steps,
      batches: (index) => batches(index % 4),
      loss,
    });
    const mean = (some: readonly number[]) => some.reduce((a, b) => a + b, 0) / some.length;
    expect(mean(losses.slice(-4))).toBeLessThan(mean(losses.slice(0, 4)));
  };
  const viewer = viewerTraining(runtime, OPTIONS);
  await trained(viewer, 24);
  // So that it attends to few places, of which labels can be made.
  const query = viewer.parameters['layers.1.self_attn.q_proj.weight'] as Tensor<'f32'>;
  viewer.parameters['layers.1.self_attn.q_proj.weight'] = runtime.tensor(
    (await query.read()).map((each) => 100 * each),
    [8, 8],
  );
  query.dispose();
  const before = await viewer.parameters['lm_head.weight']!.read();
  const predictor = predictorTraining(runtime, viewer.parameters, OPTIONS);
  await trained(predictor, 16);
  expect(await viewer.parameters['lm_head.weight']!.read()).toEqual(before);
  const start = await viewer.parameters['layers.1.self_attn.k_proj.weight']!.read();
  expect(await predictor.parameters['twig_layers.0.self_attn.k_proj.weight']!.read()).not.toEqual(start);

  const parameters = { ...viewer.parameters, ...predictor.parameters };
  const { questions, figures } = await regionsQuality(runtime, { config: CONFIG, parameters }, OPTIONS.pictures, {
    scenes: 2,
  });
  expect(questions).toBeGreaterThan(9);
  expect(Object.keys(figures)).toEqual(['before', 'atTruth', 'attention', 'after', 'predictor', 'found']);
  for (const { value } of Object.values(figures)) expect(value >= 0 && value <= 1).toBe(true);
  for (const tensor of Object.values(parameters)) tensor.dispose();
  expect(runtime.memory().live).toBe(0);
});

test('labels are those of the attention of the model, without what all questions attend to', () =>
  scoped(runtime, async () => {
    const { parameters } = viewerOf(1);
    const make = sceneMaker(garments(40));
    const asked = askedOf(tensorsOf(runtime, sceneBatch([make(1)], CONFIG, 0, false), CONFIG));
    const { blocks } = answered(parameters, asked, CONFIG);
    const labels = await taught(blocks, placesOf(asked, CONFIG), CONFIG).read();
    expect(labels.length).toBe(8 * 16);
    expect(new Set(labels).size).toBeLessThanOrEqual(3);
    expect([...labels].every((label) => [1, 0, -100].includes(label))).toBe(true);
  }));

describe('a second look', () => {
  test('is at the boxes, and none without a region', () =>
    scoped(runtime, async () => {
      const viewer = viewerOf(1);
      const { picture } = sceneMaker(garments(40))(7);
      const none = await lookTwice(runtime, viewer, picture, 'which shoe', { threshold: 1 });
      expect([none.after, none.boxes, none.second]).toEqual([undefined, [], []]);
      expect(none.before).toHaveLength(ANSWERS.length);
      expect(none.before.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 6);
      const words = parseQuestion('which red top');
      const at = (...boxes: (readonly [number, number, number, number])[]) =>
        lookForRegions(runtime, viewer, picture, [{ words, boxes }], { upscaling: 'boxes' });
      const [one] = await at([1, 0, 4, 2]);
      expect(one?.sources).toEqual([{ left: 8, top: 0, right: 32, bottom: 16 }]);
      expect(one?.after?.map(({ name }) => name).sort()).toEqual([...ANSWERS].sort());
      expect(one?.after).not.toEqual(one?.before);
      const [two] = await at([0, 0, 2, 2], [3, 3, 4, 4]);
      expect(two?.second).toHaveLength(2);
      expect((await at([0, 0, 1, 1], [2, 2, 3, 3], [0, 3, 1, 4]))[0]?.second).toEqual([]);
    }));

  test('refuses what it cannot look with', async () => {
    const { picture } = sceneMaker(garments(40))(7);
    const refuses = (viewer: Viewer, options: object, message: string) =>
      expect(lookTwice(runtime, viewer, picture, 'which shoe', options)).rejects.toThrow(message);
    await refuses({ config: CONFIG, parameters: {} }, {}, "parameters of viewer must have 'vision.names.weight'");
    const whole = viewerOf(1);
    await refuses(whole, { upscaling: 'none' }, "upscaling must be one of masked, boxes, got 'none'");
    for (const tensor of Object.values(whole.parameters)) tensor.dispose();
    expect(() => viewerConfig({ side: 10 })).toThrow('side must be a multiple of the 4 cells of a picture, got 10');
    expect(() => viewerConfig({ layers: 3 })).toThrow('frozen and predictor must be at most the 3 layers, got 2 and 2');
    expect(() => viewerTraining(runtime, { ...OPTIONS, pictures: { ...garments(9) } })).toThrow('got no ankle boot');
  });
});

test('the model that comes along finds a shoe in a scene of its kind, and looks at it again', async () => {
  const viewer = await loadViewer(runtime);
  const picture = await decodePicture('garments.png', await readFile('docs/regions/garments.png'));
  const { before, after, boxes, map } = await lookTwice(runtime, viewer, picture, 'which red shoe');
  expect(before).toHaveLength(ANSWERS.length);
  // The garment in the last cell of the first row.
  const [most] = [...(map as Float32Array).entries()].sort(([, a], [, b]) => b - a);
  expect([Math.floor(most![0] / 36), Math.floor((most![0] % 12) / 3)]).toEqual([0, 3]);
  expect(boxes.length).toBeGreaterThan(0);
  expect(after).toHaveLength(ANSWERS.length);
  for (const tensor of Object.values(viewer.parameters)) tensor.dispose();
});
