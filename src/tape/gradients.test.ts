/** The gradient that each op tells the tape, on every backend. */
import { test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { expectGradients, type GradientCase } from '../../test/tape-gradients';
import {
  add,
  attention,
  batchNorm,
  concat,
  contiguous,
  conv,
  convTranspose,
  cumulativeSum,
  elementwise,
  elu,
  embedding,
  focus,
  gatedDeltaRule,
  gather,
  gelu,
  linearAttention,
  logSumExp,
  max,
  mean,
  multiply,
  pad,
  parallax,
  power,
  reciprocal,
  reluAttention,
  rsqrt,
  scatterAdd,
  sigmoid,
  silu,
  sin,
  subtract,
  sum,
  type Tensor,
  tanh,
  topK,
} from '../index';
import * as masks from '../masks';
import * as scores from '../scores';
import { hostTensor } from '../tensor/host';

const QKV = { q: [1, 5, 2, 3], k: [1, 5, 1, 3], v: [1, 5, 1, 2] };
const positive = (x: Tensor) => add(multiply(x, x), x.runtime.tensor([0.5], []));

const CASES: Readonly<Record<string, GradientCase>> = {
  add: { fn: ({ a, b }) => add(a!, b!), inputs: { a: [3, 4], b: [4] } },
  subtract: { fn: ({ a, b }) => subtract(a!, b!), inputs: { a: [3, 4], b: [3, 1] } },
  multiply: { fn: ({ a, b }) => multiply(a!, b!), inputs: { a: [3, 4], b: [4] } },
  elementwise: {
    fn: ({ x }) => ({
      ...{ elu: elu(x!), gelu: gelu(x!), sigmoid: sigmoid(x!), silu: silu(x!), sin: sin(x!), tanh: tanh(x!) },
      ...{ power: power(x!, 3), reciprocal: reciprocal(positive(x!)), rsqrt: rsqrt(positive(x!)) },
    }),
    inputs: { x: [2, 5] },
  },
  views: {
    fn: ({ x }) => ({
      left: contiguous(x!.slice(1, 0, 2)),
      right: multiply(contiguous(x!.slice(1, 1, 4)), contiguous(x!.slice(1, 1, 4).permute([1, 0]).reshape([3, 3]))),
      expanded: contiguous(x!.reshape([3, 1, 4]).expand([2, 3, 2, 4])),
    }),
    inputs: { x: [3, 4] },
  },
  parallax: {
    fn: ({ q, r, k, v }) => ({ ...parallax(q!, r!, k!, v!, { causal: true }) }),
    inputs: { ...QKV, r: QKV.q },
  },
  concat: { fn: ({ x, y }) => concat([x as Tensor<'f32'>, y as Tensor<'f32'>], 1), inputs: { x: [2, 3], y: [2, 1] } },
  pad: {
    fn: ({ x }) => {
      const widths = [
        [1, 2],
        [0, 3],
      ] as const;
      return pad(x!, widths, { value: 2 });
    },
    inputs: { x: [2, 3] },
  },
  reductions: {
    fn: ({ x }) => ({
      ...{ all: sum(x!), last: sum(x!, { axes: [-1] }), outer: mean(x!, { axes: [0, 2], keepDims: true }) },
      ...{ max: max(x!, { axes: [1] }), inner: max(x!, { axes: [0, 2] }), logSumExp: logSumExp(x!, { axes: [2] }) },
    }),
    inputs: { x: [2, 3, 4] },
  },
  topK: { fn: ({ x }) => ({ ...topK(x!, 2) }), inputs: { x: [3, 5] } },
  cumulativeSum: { fn: ({ x }) => cumulativeSum(x!, { reverse: true }), inputs: { x: [2, 5] } },
  embedding: {
    fn: ({ table, indices }) => embedding(table!, indices!),
    inputs: { table: [4, 3], indices: hostTensor(Int32Array.of(1, 3, 1, 0, 1, 2), [2, 3], 'i32') },
  },
  gather: {
    fn: ({ table, indices }) => gather(table!, indices!),
    inputs: { table: [4, 3], indices: hostTensor(Int32Array.of(1, 3, 1, 0, 1), [5], 'i32') },
  },
  scatterAdd: {
    fn: ({ values, indices }) => scatterAdd(values!, indices!, 4),
    inputs: { values: [5, 3], indices: hostTensor(Int32Array.of(1, 3, 1, 0, 1), [5], 'i32') },
  },
  attention: {
    fn: ({ q, k, v }) => ({ ...attention(q!, k!, v!, { causal: true, score: scores.softcap(3) }) }),
    inputs: QKV,
  },
  'attention under a mask': {
    fn: ({ q, k, v }) => attention(q!, k!, v!, { mask: masks.blocks(2, masks.band(0, 0)) }).out,
    inputs: QKV,
  },
  linearAttention: {
    fn: ({ q, k, v, initialState }) => ({
      ...linearAttention(q!, k!, v!, { causal: true, decay: [0.9, 0.7], initialState }),
    }),
    inputs: { ...QKV, initialState: [1, 2, 3, 2] },
  },
  'linearAttention with denominators': {
    fn: ({ q, k, v, initialState, initialKeySum }) => ({
      ...linearAttention(positive(q!), positive(k!), v!, {
        ...{ causal: true, decay: [0.9, 0.7], normalise: true, epsilon: 0.5 },
        ...{ initialState, initialKeySum: positive(initialKeySum!) },
      }),
    }),
    inputs: { ...QKV, initialState: [1, 2, 3, 2], initialKeySum: [1, 2, 3] },
  },
  gatedDeltaRule: {
    fn: ({ q, k, v, g, beta, initialState }) => ({
      ...gatedDeltaRule(q!, k!, v!, multiply(positive(g!), g!.runtime.tensor([-0.2], [])), sigmoid(beta!), {
        initialState,
      }),
    }),
    inputs: {
      q: [1, 5, 1, 3],
      k: [1, 5, 1, 3],
      v: [1, 5, 1, 2],
      g: [1, 5, 1],
      beta: [1, 5, 1],
      initialState: [1, 1, 3, 2],
    },
  },
  reluAttention: { fn: ({ q, k, v }) => reluAttention(q!, k!, v!, { block: 3 }), inputs: QKV },
  conv: {
    fn: ({ x, weight, bias }) =>
      conv(x!, weight!, {
        ...{ bias, groups: 2, dilation: [1, 2], stride: [2, 1], padding: [[2, 1], 'same'], edges: 'reflect' },
        epilogue: elementwise((x) => x * x),
      }),
    inputs: { x: [1, 4, 3, 4], weight: [2, 2, 2, 2], bias: [2] },
  },
  convTranspose: {
    fn: ({ x, weight, bias }) =>
      convTranspose(x!, weight!, { bias, stride: [2, 1], padding: 1, outputPadding: [1, 0], channelsFirst: true }),
    inputs: { x: [2, 3, 3, 2], weight: [3, 2, 3, 3], bias: [2] },
  },
  batchNorm: {
    fn: ({ x, gain, bias }) => batchNorm(x!, gain!, bias!).out,
    inputs: { x: [6, 2], gain: [2], bias: [2] },
  },
  'batchNorm with statistics': {
    fn: ({ x, gain, bias, mean, variance }) =>
      batchNorm(x!, gain!, bias!, { statistics: { mean: mean!, variance: positive(variance!) } }).out,
    inputs: { x: [4, 2], gain: [2], bias: [2], mean: [2], variance: [2] },
  },
  focus: {
    fn: ({ x, exponents }) => focus(x!, add(positive(exponents!), exponents!.runtime.tensor([1], []))),
    inputs: { x: [3, 4], exponents: [3, 1] },
  },
};

describeOnBackends('the tape', (runtime) => {
  test.each(Object.keys(CASES))('%s: gradients as differences tell them', async (name) => {
    await expectGradients(runtime(), CASES[name] as GradientCase);
  });
});
