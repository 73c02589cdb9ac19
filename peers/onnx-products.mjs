/** Products of rows and weights in onnxruntime: a model of one node for each of several matrices, which a run computes in turn. */
const ELEMENT = { float32: 1, uint8: 2, int8: 3, int32: 6 };
const BLOCK = 32;
/** What stands for 0 among integers without a sign. */
const ZERO = 128;

/** A session as a peer's call, of `products` a run. */
export async function prepareProducts({ InferenceSession, Tensor }, options, problem) {
  const { n, d, columns, copies, type, x } = problem;
  const session = await InferenceSession.create(modelOf(problem), options);
  const data = type === 'integer' ? Uint8Array.from(x, (value) => value + ZERO) : x;
  const feeds = { x: new Tensor(type === 'integer' ? 'uint8' : 'float32', data, [n, d]) };
  let results;
  return {
    products: copies,
    async run() {
      results = await session.run(feeds);
    },
    result: () => Float32Array.from(results.out0.data, Number).subarray(0, n * columns),
  };
}

function modelOf(problem) {
  const { n, d, columns, copies, type } = problem;
  const isInteger = type === 'integer';
  const { operator, domain, attributes, weights } = nodeOf(problem);
  const all = Array.from({ length: copies }, (_, copy) => copy);
  const graph = join([
    ...all.map((copy) =>
      field(
        1,
        join([
          text(1, 'x'),
          ...weights.map(({ name }) => text(1, `${name}${copy}`)),
          text(2, `out${copy}`),
          text(4, operator),
          ...attributes.map(([name, value]) => field(5, join([text(1, name), integer(3, value), integer(20, 2)]))),
          text(7, domain),
        ]),
      ),
    ),
    text(2, 'products'),
    ...all.flatMap((copy) => weights.map((weight) => field(5, tensorOf(`${weight.name}${copy}`, weight)))),
    field(11, valueInfo('x', isInteger ? 'uint8' : 'float32', [n, d])),
    ...all.map((copy) => field(12, valueInfo(`out${copy}`, isInteger ? 'int32' : 'float32', [n, columns]))),
  ]);
  const opset = (domain, version) => field(8, join([text(1, domain), integer(2, version)]));
  return new Uint8Array(join([integer(1, 8), field(7, graph), opset('', 17), opset('com.microsoft', 1)]));
}

/** The node and its weights, whose rows are repeated up to the columns. */
function nodeOf({ d, columns, type, weights, codes, scales }) {
  if (type === 'f32') {
    const data = transposed(weights, d, columns, Float32Array);
    return {
      operator: 'MatMul',
      domain: '',
      attributes: [],
      weights: [{ name: 'w', type: 'float32', shape: [d, columns], data }],
    };
  }
  if (type === 'integer') {
    const data = transposed(codes, d, columns, Int8Array);
    return {
      operator: 'MatMulInteger',
      domain: '',
      attributes: [],
      weights: [
        { name: 'w', type: 'int8', shape: [d, columns], data },
        { name: 'zero', type: 'uint8', shape: [], data: Uint8Array.of(ZERO) },
      ],
    };
  }
  const bits = type === 'q8' ? 8 : 4;
  const blocks = d / BLOCK;
  return {
    operator: 'MatMulNBits',
    domain: 'com.microsoft',
    attributes: Object.entries({ K: d, N: columns, bits, block_size: BLOCK, accuracy_level: 4 }),
    weights: [
      {
        name: 'w',
        type: 'uint8',
        shape: [columns, blocks, (BLOCK * bits) / 8],
        data: bytesOf(codes, bits, d * columns),
      },
      { name: 's', type: 'float32', shape: [columns * blocks], data: repeated(scales, columns * blocks) },
    ],
  };
}

const repeated = (first, length) => Float32Array.from({ length }, (_, i) => first[i % first.length]);

function transposed(first, d, columns, Numbers) {
  const data = new Numbers(d * columns);
  const rows = first.length / d;
  for (let c = 0; c < columns; c++) for (let k = 0; k < d; k++) data[k * columns + c] = first[(c % rows) * d + k];
  return data;
}

/** Codes above the middle of their range; of 4 bits two neighbours in a byte. */
function bytesOf(codes, bits, length) {
  if (bits === 8) return Uint8Array.from({ length }, (_, i) => codes[i % codes.length] + ZERO);
  const at = (i) => codes[i % codes.length] + 8;
  return Uint8Array.from({ length: length / 2 }, (_, i) => at(2 * i) | (at(2 * i + 1) << 4));
}

export const tensorOf = (name, { type, shape, data }) =>
  join([
    ...shape.map((extent) => integer(1, extent)),
    integer(2, ELEMENT[type]),
    text(8, name),
    field(9, Buffer.from(data.buffer, data.byteOffset, data.byteLength)),
  ]);

function valueInfo(name, type, shape) {
  const dimensions = join(shape.map((extent) => field(1, integer(1, extent))));
  return join([text(1, name), field(2, field(1, join([integer(1, ELEMENT[type]), field(2, dimensions)])))]);
}

export const join = (parts) => Buffer.concat(parts);
export const text = (number, value) => field(number, Buffer.from(value));
export const field = (number, content) => Buffer.concat([varint((number << 3) | 2), varint(content.length), content]);
export const integer = (number, value) => Buffer.concat([varint(number << 3), varint(value)]);

function varint(value) {
  const groups = [];
  for (; value > 127; value = Math.floor(value / 128)) groups.push((value % 128) | 128);
  return Buffer.from([...groups, value]);
}
