/** An ONNX model of one node, written as the protobuf messages of onnx.proto. */
import { additiveMask, isCausal, isFull } from './mask.mjs';

const FLOAT = 1;
const IR_VERSION = 8;
const ATTRIBUTE_FLOAT = 1;
const ATTRIBUTE_INT = 2;

/**
 * MultiHeadAttention of com.microsoft over q, k, v [1, n, h * d] with the problem's mask: causal as the operator's own
 * attribute, any other as `attention_bias` [1, 1, n, n].
 */
export function multiHeadAttention(problem) {
  const { n, h, d } = problem;
  const tokens = [1, n, h * d];
  const biased = !isFull(problem) && !isCausal(problem);
  const inputs = ['q', 'k', 'v', ...(biased ? ['', '', 'bias'] : [])];
  const node = message([
    ...inputs.map((name) => text(1, name)),
    text(2, 'out'),
    text(4, 'MultiHeadAttention'),
    bytes(5, intAttribute('num_heads', h)),
    bytes(5, floatAttribute('scale', 1 / Math.sqrt(d))),
    bytes(5, intAttribute('unidirectional', isCausal(problem) ? 1 : 0)),
    text(7, 'com.microsoft'),
  ]);
  const graph = message([
    bytes(1, node),
    text(2, 'attention'),
    ...['q', 'k', 'v'].map((name) => bytes(11, valueInfo(name, tokens))),
    ...(biased ? [bytes(11, valueInfo('bias', [1, 1, n, n]))] : []),
    bytes(12, valueInfo('out', tokens)),
  ]);
  return message([
    integer(1, IR_VERSION),
    bytes(7, graph),
    bytes(8, message([text(1, ''), integer(2, 17)])),
    bytes(8, message([text(1, 'com.microsoft'), integer(2, 1)])),
  ]);
}

/** The session and feeds of `multiHeadAttention` as a peer's call, for either build of onnxruntime. */
export async function prepareWith({ InferenceSession, Tensor }, options, problem) {
  const { n, h, d } = problem;
  const session = await InferenceSession.create(multiHeadAttention(problem), options);
  const tokens = [1, n, h * d];
  const feeds = Object.fromEntries(['q', 'k', 'v'].map((name) => [name, new Tensor('float32', problem[name], tokens)]));
  if (session.inputNames.includes('bias')) {
    feeds.bias = new Tensor('float32', additiveMask(problem), [1, 1, n, n]);
  }
  let out;
  return {
    async run() {
      ({ out } = await session.run(feeds));
    },
    result: () => out.data,
  };
}

function valueInfo(name, shape) {
  const dimensions = message(shape.map((extent) => bytes(1, message([integer(1, extent)]))));
  const tensor = message([integer(1, FLOAT), bytes(2, dimensions)]);
  return message([text(1, name), bytes(2, message([bytes(1, tensor)]))]);
}

function intAttribute(name, value) {
  return message([text(1, name), integer(3, value), integer(20, ATTRIBUTE_INT)]);
}

function floatAttribute(name, value) {
  const four = new Uint8Array(new Float32Array([value]).buffer);
  return message([text(1, name), [...varint((2 << 3) | 5), ...four], integer(20, ATTRIBUTE_FLOAT)]);
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
