/** Gradients of random graphs against differences of the reference; SACCADE_GRAPHS=n tries so many, SACCADE_SEED=n others. */
import { expect, inject, test } from 'vitest';
import { scoped } from '../../test/scoped';
import {
  add,
  attention,
  concat,
  contiguous,
  createRuntime,
  cumulativeSum,
  differentiate,
  layerNorm,
  map,
  matmul,
  multiply,
  type Runtime,
  recompute,
  sigmoid,
  sin,
  sum,
  type Tensor,
} from '../index';
import { type HostTensor, toFloat64 } from '../tensor/host';

const GRAPHS = Number(process.env.SACCADE_GRAPHS ?? 60);
const [SIDE, NODES] = [4, 9];
const SHAPE = [SIDE, SIDE];
/** Inputs are multiples of 1 / 256 and directions of 1 / 8, so that float32 holds each that is moved. */
const STEP = 2 ** -8;

type Draw = (below: number) => number;

/** The same numbers from the same seed (mulberry32). */
function drawFrom(seed: number): Draw {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const matrix = (draw: Draw, most: number, unit: number) =>
  Float32Array.from({ length: SIDE * SIDE }, () => (draw(2 * most + 1) - most) * unit);
const dense = (x: Tensor) => (x.isContiguous ? x : contiguous(x));
const rows = (x: Tensor, from: number, past: number) => dense(x.slice(0, from, past)) as Tensor<'f32'>;
const heads = (x: Tensor) => dense(x).reshape([1, SIDE, 1, SIDE]);
const blended = (x: Tensor, y: Tensor) => map((x, y) => Math.tanh(x * y) + 0.5 * x, x, y);

/** What makes new matrices of some: operands are drawn anew, so often one is taken twice. */
const STEPS: readonly ((pick: () => Tensor, draw: Draw) => Tensor | readonly Tensor[])[] = [
  (pick) => add(pick(), pick()),
  (pick) => map((x) => Math.tanh(x), multiply(pick(), pick())),
  (pick) => [sigmoid(pick()), sin(pick())],
  (pick) => map((x, y) => Math.tanh(x * y), [pick(), pick(), pick()], pick()),
  (pick) => map((x, y, z) => [x * 0.5 + Math.sin(y), Math.cos(z) * y], pick(), pick(), rows(pick(), 1, 2)),
  (pick) => {
    const table = dense(pick());
    return map((x, { table }) => Math.tanh(x * table[6]!) + table[3]!, [pick(), table], {
      captured: { table: table as Tensor & Record<number, number> },
    });
  },
  (pick) => pick().permute([1, 0]),
  (pick, draw) => {
    const from = draw(SIDE - 1);
    return concat([rows(pick(), from, from + 2), rows(pick(), 1, 3)], 0);
  },
  (pick) => {
    const x = dense(pick()) as Tensor<'f32'>;
    return contiguous(concat([x, x], 1).slice(1, 2, 2 + SIDE));
  },
  (pick) => contiguous(rows(pick(), 2, 3).expand(SHAPE)),
  (pick) => add(sum(dense(pick()), { axes: [1], keepDims: true }), pick().slice(0, 0, 1)),
  (pick) => map((x) => Math.tanh(x), matmul(dense(pick()), dense(pick()).permute([1, 0]))),
  (pick) => attention(heads(pick()), heads(pick()), heads(pick()), { causal: true }).out.reshape(SHAPE),
  (pick) => {
    const x = heads(pick());
    return attention(x, x, x).out.reshape(SHAPE);
  },
  (pick) => {
    const x = dense(pick());
    return layerNorm(x, {
      gain: x.slice(0, 0, 1).reshape([SIDE]),
      bias: x.slice(0, 0, 1).reshape([SIDE]),
      epsilon: 0.5,
    });
  },
  (pick) => map((x) => Math.sin(x), cumulativeSum(dense(pick()))),
  (pick) =>
    recompute((x: Tensor, of: { y: readonly Tensor[] }) => blended(blended(x, of.y[0]!), of.y[1]!), pick(), {
      y: [pick(), pick()],
    }),
];

interface Graph {
  readonly inputs: readonly Float32Array[];
  readonly constant: Float32Array;
  /** Which attempts to write in place were let through, as the first run finds them. */
  readonly written: boolean[];
  loss(inputs: readonly Tensor[], constant: Tensor): Tensor;
}

function graphOf(seed: number): Graph {
  const draw = drawFrom(seed);
  const inputs = Array.from({ length: 1 + draw(3) }, () => matrix(draw, 300, 1 / 256));
  const [constant, weights, program] = [matrix(draw, 300, 1 / 256), matrix(draw, 8, 1 / 8), draw(2 ** 31)];
  const written: boolean[] = [];
  let isKnown = false;
  return {
    inputs,
    constant,
    written,
    loss(given, constant) {
      const own = drawFrom(program);
      const nodes = [...given, constant];
      let attempt = 0;
      const inPlace = () => {
        const at = attempt++;
        if (isKnown && !written[at]) return;
        try {
          map((c) => 0.75 * c - 0.25, constant, { out: constant });
          written[at] = true;
        } catch {
          written[at] = false;
        }
      };
      // Of late ones rather than early ones.
      const pick = () => nodes[Math.max(own(nodes.length), own(nodes.length))] as Tensor;
      for (let made = 0; made < NODES; made++) {
        if (own(3) === 0) inPlace();
        const step = STEPS[own(STEPS.length)] as (typeof STEPS)[number];
        nodes.push(...[step(pick, own)].flat());
      }
      isKnown = true;
      const scale = constant.runtime.tensor(weights, SHAPE);
      return [pick(), ...nodes.slice(-2)].map((x) => sum(multiply(x, scale))).reduce((a, b) => add(a, b));
    },
  };
}

const upload = (runtime: Runtime, values: Float32Array) => runtime.tensor(values, SHAPE);

/** Along a direction of each input: the gradients of the tape, and differences. */
async function slopesOf(seed: number, runtime: Runtime, reference: Runtime) {
  const graph = graphOf(seed);
  const found: Float32Array[] = [];
  await scoped(runtime, async () => {
    const inputs = graph.inputs.map((values) => upload(runtime, values));
    const constant = upload(runtime, graph.constant);
    const { gradients } = differentiate((tracked) => graph.loss(tracked, constant), inputs);
    for (const gradient of gradients) found.push((await gradient.read()) as Float32Array);
  });
  const draw = drawFrom(seed + 1);
  const slopes: { readonly actual: number; readonly expected: number; readonly size: number }[] = [];
  for (const [at, gradient] of found.entries()) {
    const direction = matrix(draw, 8, 1 / 8);
    const lossAt = async (step: number) => {
      let loss = 0;
      await scoped(reference, async () => {
        const moved = graph.inputs.map((values, each) =>
          upload(reference, each === at ? values.map((value, i) => value + step * direction[i]!) : values),
        );
        const result = graph.loss(moved, upload(reference, graph.constant));
        await reference.finish();
        loss = toFloat64(reference.backend.known(result) as HostTensor)[0] as number;
      });
      return loss;
    };
    const [near, far] = [
      (await lossAt(STEP)) - (await lossAt(-STEP)),
      (await lossAt(2 * STEP)) - (await lossAt(-2 * STEP)),
    ];
    const expected = (8 * near - far) / (12 * STEP);
    const terms = [...gradient].map((value, i) => value * (direction[i] as number));
    slopes.push({
      actual: terms.reduce((a, b) => a + b, 0),
      expected,
      size: terms.reduce((a, b) => a + Math.abs(b), 1),
    });
  }
  return slopes;
}

test.each(['reference', 'wasm'] as const)(
  'random graphs have the gradients that differences tell: %s',
  async (backend) => {
    using runtime = await createRuntime({ backend });
    using reference = await createRuntime({ backend: 'reference' });
    let [reached, largest] = [0, 0];
    for (let graph = 0; graph < GRAPHS; graph++) {
      const seed = 100_000 * inject('seed') + graph;
      for (const [at, { actual, expected, size }] of (await slopesOf(seed, runtime, reference)).entries()) {
        if (expected !== 0) reached++;
        largest = Math.max(largest, Math.abs(actual - expected) / size);
        expect(Math.abs(actual - expected) / size, `graph ${seed}, input ${at}: ${actual}, ${expected}`).toBeLessThan(
          2e-4,
        );
      }
    }
    expect(reached).toBeGreaterThan(GRAPHS);
    if (process.env.SACCADE_GRAPHS)
      console.log(`${GRAPHS} graphs on ${backend}: ${reached} slopes, off by ${largest} at most`);
  },
);
