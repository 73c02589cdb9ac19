/** onnxruntime-node: native code, ops of matrices as graphs of one operator. */
import * as ort from 'onnxruntime-node';
import { intAttribute, intsAttribute, prepareWith } from './onnx-model.mjs';

const FLOAT16 = 10;

export function open({ threads }) {
  const options = { executionProviders: ['cpu'], intraOpNumThreads: threads, interOpNumThreads: 1 };
  return { threads, prepare: (problem) => prepareWith(ort, options, nodeOf(problem)) };
}

/** The graph on x [n, d] and, for some ops, y. */
function nodeOf({ op, x, y, n, d }) {
  const matrix = (name, data) => ({ name, data, shape: [n, d] });
  const inputs = y ? [matrix('x', x), matrix('y', y)] : [matrix('x', x)];
  const node = (operator, more) => ({
    operator,
    domain: '',
    attributes: [],
    inputs,
    outputs: { out: [n, d] },
    ...more,
  });
  const sums = (axes, shape) =>
    node('ReduceSum', {
      attributes: [intAttribute('keepdims', 0)],
      inputs: [...inputs, { name: 'axes', data: BigInt64Array.from(axes, BigInt), shape: [axes.length] }],
      outputs: { out: shape },
    });
  switch (op) {
    case 'f32-f16':
      return node('Cast', { attributes: [intAttribute('to', FLOAT16)], type: 'float16' });
    case 'row-sums':
      return sums([1], [n]);
    case 'sum-all':
      return sums([0, 1], []);
    case 'row-maxima':
      return node('ReduceMax', {
        attributes: [intsAttribute('axes', [1]), intAttribute('keepdims', 0)],
        outputs: { out: [n] },
      });
    case 'transpose':
      return node('Transpose', { outputs: { out: [d, n] } });
    case 'add':
      return node('Add');
    case 'gelu':
      return node('Gelu', { domain: 'com.microsoft' });
    case 'softmax-rows':
      return node('Softmax');
    case 'layer-norm-rows':
      return node('LayerNormalization', {
        inputs: [...inputs, { name: 'scale', data: new Float32Array(d).fill(1), shape: [d] }],
      });
    case 'product':
      return node('MatMul');
    default:
      throw new Error(`it has no ${op}`);
  }
}
