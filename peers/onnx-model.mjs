/** ONNX models of one node, written as the protobuf messages of onnx.proto, and how onnxruntime runs them. */
import { additiveMask, headsOfMask, isCausal, isFull } from './mask.mjs';

const IR_VERSION = 8;
const OPSETS = { '': 17, 'com.microsoft': 1 };
const ELEMENT = { float32: 1, int32: 6, int64: 7, float16: 10 };
const ATTRIBUTE = { float: 1, int: 2, ints: 7 };

/**
 * MultiHeadAttention over q, k, v [1, n, h * d]: causal by the operator's own attribute, any other mask as
 * `attention_bias` [1, 1, n, n]. Kernels that take no notice of the attribute and want a bias of each head have every
 * mask as [1, h, n, n].
 */
export function multiHeadAttention(problem, { biasOfEachHead = false } = {}) {
  const { n, h, d } = problem;
  const causal = isCausal(problem) && !biasOfEachHead;
  const biased = !isFull(problem) && !causal;
  return {
    operator: 'MultiHeadAttention',
    attributes: [
      intAttribute('num_heads', h),
      floatAttribute('scale', 1 / Math.sqrt(d)),
      intAttribute('unidirectional', causal ? 1 : 0),
    ],
    inputs: [
      ...tokens(problem),
      ...(biased ? [null, null, attentionBias(problem, biasOfEachHead || headsOfMask(problem) > 1 ? h : 1)] : []),
    ],
    outputs: { out: [1, n, h * d] },
  };
}

/** GroupQueryAttention, which is always causal and knows windows: a width counts the query's own key. */
export function groupQueryAttention(problem) {
  const { n, h, g = h, d, left, right } = problem;
  if (right !== 0) throw new Error('GroupQueryAttention is always causal');
  const cache = [1, g, n, d];
  return {
    operator: 'GroupQueryAttention',
    attributes: [
      intAttribute('num_heads', h),
      intAttribute('kv_num_heads', g),
      floatAttribute('scale', 1 / Math.sqrt(d)),
      ...(left === -1 ? [] : [intAttribute('local_window_size', left + 1)]),
    ],
    inputs: [
      ...tokens(problem),
      null,
      null,
      { name: 'lengths', data: Int32Array.of(n - 1), shape: [1] },
      { name: 'total', data: Int32Array.of(n), shape: [1] },
    ],
    outputs: { out: [1, n, h * d], keys: cache, values: cache },
  };
}

/** A session and its feeds as a peer's call, for either build of onnxruntime. */
export async function prepareWith({ InferenceSession, Tensor }, options, node) {
  const session = await InferenceSession.create(model(node), options);
  const given = node.inputs.filter(Boolean);
  const feeds = Object.fromEntries(given.map(({ name, data, shape }) => [name, new Tensor(typeOf(data), data, shape)]));
  let out;
  return {
    async run() {
      ({ out } = await session.run(feeds, ['out']));
    },
    result: () => Float32Array.from(out.data),
  };
}

function attentionBias(problem, heads) {
  const { n } = problem;
  const mask = additiveMask(problem);
  const size = n * n;
  const data = new Float32Array(heads * size);
  for (let head = 0; head < heads; head++) {
    const own = Math.floor((head * mask.length) / (heads * size)) * size;
    data.set(mask.subarray(own, own + size), head * size);
  }
  return { name: 'bias', data, shape: [1, heads, n, n] };
}

function tokens({ q, k, v, n }) {
  return Object.entries({ q, k, v }).map(([name, data]) => ({ name, data, shape: [1, n, data.length / n] }));
}

function typeOf(data) {
  if (data instanceof Int32Array) return 'int32';
  return data instanceof BigInt64Array ? 'int64' : 'float32';
}

/** An input that is null is an optional one left out, which ONNX writes as an empty name. */
export function model({ operator, domain = 'com.microsoft', attributes, inputs, outputs, type = 'float32' }) {
  const node = message([
    ...inputs.map((input) => text(1, input?.name ?? '')),
    ...Object.keys(outputs).map((name) => text(2, name)),
    text(4, operator),
    ...attributes.map((attribute) => bytes(5, attribute)),
    text(7, domain),
  ]);
  const graph = message([
    bytes(1, node),
    text(2, operator),
    ...inputs.filter(Boolean).map(({ name, data, shape }) => bytes(11, valueInfo(name, typeOf(data), shape))),
    ...Object.entries(outputs).map(([name, shape]) => bytes(12, valueInfo(name, type, shape))),
  ]);
  return message([
    integer(1, IR_VERSION),
    bytes(7, graph),
    ...Object.entries(OPSETS).map(([domain, version]) => bytes(8, message([text(1, domain), integer(2, version)]))),
  ]);
}

function valueInfo(name, type, shape) {
  const dimensions = message(shape.map((extent) => bytes(1, message([integer(1, extent)]))));
  const tensor = message([integer(1, ELEMENT[type]), bytes(2, dimensions)]);
  return message([text(1, name), bytes(2, message([bytes(1, tensor)]))]);
}

export function intAttribute(name, value) {
  return message([text(1, name), integer(3, value), integer(20, ATTRIBUTE.int)]);
}

export function intsAttribute(name, values) {
  const fields = values.map((value) => integer(8, value));
  return message([text(1, name), ...fields, integer(20, ATTRIBUTE.ints)]);
}

function floatAttribute(name, value) {
  const four = new Uint8Array(new Float32Array([value]).buffer);
  return message([text(1, name), [...varint((2 << 3) | 5), ...four], integer(20, ATTRIBUTE.float)]);
}

function message(fields) {
  return Uint8Array.from(fields.flatMap((field) => [...field]));
}

function integer(field, value) {
  return [...varint(field << 3), ...varint(value)];
}

function text(field, value) {
  return bytes(field, new TextEncoder().encode(value));
}

function bytes(field, content) {
  return [...varint((field << 3) | 2), ...varint(content.length), ...content];
}

function varint(value) {
  const groups = [];
  for (; value > 127; value = Math.floor(value / 128)) groups.push((value % 128) | 128);
  return [...groups, value];
}
