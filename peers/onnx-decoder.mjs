/** Decoders of Qwen 3's architecture in onnxruntime: a graph as transformers.js runs them, of the weights of a GGUF file. */
import { closeSync, fstatSync, openSync, readSync, writeFileSync } from 'node:fs';
import { dirname, join as pathOf } from 'node:path';
import { field, integer, join, tensorOf, text } from './onnx-products.mjs';

const [FLOAT, INT] = [1, 6];
const BLOCK = 32;
const BLOCK_BYTES = { q8: 34, q4: 18 };

/** A session as a peer's call; `load(path, bytes)` makes it of a file, which external weights lie beside, or its content. */
export async function prepareDecoder({ Tensor }, load, problem) {
  const { file, config, kind, n, checked, tokens } = problem;
  const { num_hidden_layers: layers, num_key_value_heads: g, head_dim: d, hidden_size: width } = config;
  const gguf = reader(file, problem);
  const bytes = modelOf(problem, gguf);
  const path = pathOf(dirname(file), `${problem.type}-${process.pid}.onnx`);
  const session = await load(path, bytes, (content) => writeFileSync(path, content));
  const rows = new Map();
  const embed = (token) => {
    if (!rows.has(token)) rows.set(token, gguf.row('model.embed_tokens.weight', token, width));
    return rows.get(token);
  };
  const names = Array.from({ length: layers }, (_, at) => [`k${at}`, `v${at}`]).flat();
  const empty = Object.fromEntries(
    names.map((name) => [name, new Tensor('float32', new Float32Array(), [1, g, 0, d])]),
  );
  /** The logits behind tokens from one place to another, and keys and values of all. */
  async function advance(past, from, to) {
    const x = new Float32Array((to - from) * width);
    for (let at = from; at < to; at++) x.set(embed(tokens[at]), (at - from) * width);
    return session.run({
      x: new Tensor('float32', x, [1, to - from, width]),
      lengths: new Tensor('int32', Int32Array.of(to - 1), [1]),
      total: new Tensor('int32', Int32Array.of(to), [1]),
      ...past,
    });
  }
  const pastOf = (results) => Object.fromEntries(names.map((name) => [name, results[`new_${name}`]]));
  const before = await advance(empty, 0, checked);
  const after = await advance(pastOf(before), checked, checked + 1);
  const found = [before, after].flatMap(({ logits }) => [...logarithms(logits.data)]);
  const past = kind === 'step' && n > 0 ? pastOf(await advance(empty, 0, n)) : empty;
  return {
    run: () => (kind === 'step' ? advance(past, n, n + 1) : advance(empty, 0, n)),
    result: async () => Float32Array.from(found),
  };
}

function logarithms(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const sum = logits.reduce((all, logit) => all + Math.exp(logit - most), 0);
  return logits.map((logit) => logit - most - Math.log(sum));
}

/** The tensors of a GGUF file whose places are known from the end of its head, which is where their bytes end less their own. */
function reader(file, { tensors, type }) {
  const places = new Map(tensors.map((tensor) => [tensor.checkpoint, tensor]));
  const { offset, bytes } = tensors.at(-1);
  const handle = openSync(file);
  const { size } = fstatSync(handle);
  const start = size - (offset + Math.ceil(bytes / BLOCK) * BLOCK);
  const read = (from, length) => {
    const buffer = Buffer.alloc(length);
    for (let done = 0; done < length; ) done += readSync(handle, buffer, done, length - done, from + done);
    return buffer;
  };
  process.on('exit', () => closeSync(handle));
  return {
    place: (name) => ({ ...places.get(name), at: start + places.get(name).offset }),
    blocks: (name) => read(start + places.get(name).offset, places.get(name).bytes),
    row(name, index, width) {
      const from = start + places.get(name).offset;
      if (type === 'f32') return new Float32Array(read(from + 4 * index * width, 4 * width).buffer);
      const rowBytes = (width / BLOCK) * BLOCK_BYTES[type];
      const raw = read(from + index * rowBytes, rowBytes);
      return Float32Array.from({ length: width }, (_, at) => codeAt(raw, type, at) * 2 ** -8);
    },
  };
}

/** The integer of a number among blocks. */
function codeAt(raw, type, at) {
  const start = Math.floor(at / BLOCK) * BLOCK_BYTES[type] + 2;
  const place = at % BLOCK;
  if (type === 'q8') return (raw[start + place] << 24) >> 24;
  const byte = raw[start + (place % 16)];
  return (place < 16 ? byte & 15 : byte >> 4) - 8;
}

function modelOf({ file, config, tensors, type, n, checked }, gguf) {
  const { num_attention_heads: h, num_key_value_heads: g, head_dim: d, rms_norm_eps: epsilon } = config;
  const nodes = [];
  const weights = [];
  let count = 0;
  const node = (operator, inputs, attributes = [], outputs = [`t${count++}`], domain = '') => {
    nodes.push(
      join([
        ...inputs.map((input) => text(1, input)),
        ...outputs.map((output) => text(2, output)),
        text(4, operator),
        ...attributes.map((attribute) => field(5, attribute)),
        text(7, domain),
      ]),
    );
    return outputs[0];
  };
  const numbers = (name, data, shape, kind = 'float32') => {
    weights.push(tensorOf(name, { type: kind, shape, data }));
    return name;
  };
  const shapes = Object.fromEntries(tensors.map(({ checkpoint, shape }) => [checkpoint, shape]));
  const norm = (x, name) => {
    const [size] = shapes[name];
    return node(
      'SimplifiedLayerNormalization',
      [x, numbers(name, new Float32Array(size).fill(1), [size])],
      [whole('axis', -1), float('epsilon', epsilon), whole('stash_type', 1)],
    );
  };
  const linear = (x, name, output) => {
    const [N, K] = shapes[name];
    const outputs = output ? [output] : undefined;
    if (type === 'f32') {
      weights.push(external(name, [N, K], gguf.place(name), file));
      return node('FusedMatMul', [x, name], [whole('transB', 1)], outputs, 'com.microsoft');
    }
    const bits = type === 'q8' ? 8 : 4;
    const raw = gguf.blocks(name);
    const codes = packed(raw, type, N * K);
    numbers(`${name}.codes`, codes, [N, K / BLOCK, (BLOCK * bits) / 8], 'uint8');
    numbers(`${name}.scales`, new Float32Array((N * K) / BLOCK).fill(2 ** -8), [(N * K) / BLOCK]);
    const settings = Object.entries({ K, N, bits, block_size: BLOCK, accuracy_level: 4 });
    const inputs = [x, `${name}.codes`, `${name}.scales`];
    return node(
      'MatMulNBits',
      inputs,
      settings.map(([key, value]) => whole(key, value)),
      outputs,
      'com.microsoft',
    );
  };
  const reshape = (x, shape) => {
    const name = `s${count++}`;
    weights.push(
      join([
        integer(1, shape.length),
        integer(2, 7),
        text(8, name),
        field(9, Buffer.from(BigInt64Array.from(shape, BigInt).buffer)),
      ]),
    );
    return node('Reshape', [x, name]);
  };
  const most = Math.max(n, checked) + 2;
  const angles = (of) =>
    Float32Array.from({ length: (most * d) / 2 }, (_, at) => {
      const pair = at % (d / 2);
      return of(Math.floor(at / (d / 2)) * config.rope_theta ** ((-2 * pair) / d));
    });
  numbers('cos', angles(Math.cos), [most, d / 2]);
  numbers('sin', angles(Math.sin), [most, d / 2]);
  let x = 'x';
  for (let at = 0; at < config.num_hidden_layers; at++) {
    const own = (name) => `model.layers.${at}.${name}.weight`;
    const y = norm(x, own('input_layernorm'));
    const normed = (name, heads) => {
      const parts = reshape(linear(y, own(`self_attn.${name}_proj`)), [1, -1, heads, d]);
      return reshape(norm(parts, own(`self_attn.${name}_norm`)), [1, -1, heads * d]);
    };
    const inputs = [normed('q', h), normed('k', g), linear(y, own('self_attn.v_proj')), `k${at}`, `v${at}`];
    const attended = node(
      'GroupQueryAttention',
      [...inputs, 'lengths', 'total', 'cos', 'sin'],
      [whole('num_heads', h), whole('kv_num_heads', g), whole('do_rotary', 1), whole('rotary_interleaved', 0)],
      [`a${at}`, `new_k${at}`, `new_v${at}`],
      'com.microsoft',
    );
    x = node('Add', [x, linear(attended, own('self_attn.o_proj'))]);
    const z = norm(x, own('post_attention_layernorm'));
    const gate = linear(z, own('mlp.gate_proj'));
    const activated = node('Mul', [gate, node('Sigmoid', [gate])]);
    const product = node('Mul', [activated, linear(z, own('mlp.up_proj'))]);
    x = node('Add', [x, linear(product, own('mlp.down_proj'))]);
  }
  weights.push(
    join([integer(1, 1), integer(2, 7), text(8, 'last'), field(9, Buffer.from(BigInt64Array.of(-1n).buffer))]),
  );
  const last = node('Gather', [norm(x, 'model.norm.weight'), 'last'], [whole('axis', 1)]);
  linear(last, 'model.embed_tokens.weight', 'logits');
  const caches = Array.from({ length: config.num_hidden_layers }, (_, at) => [`k${at}`, `v${at}`]).flat();
  const graph = join([
    ...nodes.map((each) => field(1, each)),
    text(2, 'decoder'),
    ...weights.map((each) => field(5, each)),
    field(11, value('x', FLOAT, [1, 'n', config.hidden_size])),
    field(11, value('lengths', INT, [1])),
    field(11, value('total', INT, [1])),
    ...caches.map((name) => field(11, value(name, FLOAT, [1, g, 'past', d]))),
    field(12, value('logits', FLOAT, [1, 1, config.vocab_size])),
    ...caches.map((name) => field(12, value(`new_${name}`, FLOAT, [1, g, 'all', d]))),
  ]);
  const opset = (domain, version) => field(8, join([text(1, domain), integer(2, version)]));
  return join([integer(1, 8), field(7, graph), opset('', 17), opset('com.microsoft', 1)]);
}

/** Codes above the middle of their range; of 4 bits neighbours lie in a byte. */
function packed(raw, type, count) {
  if (type === 'q8') return Uint8Array.from({ length: count }, (_, at) => codeAt(raw, type, at) + 128);
  return Uint8Array.from(
    { length: count / 2 },
    (_, at) => (codeAt(raw, type, 2 * at) + 8) | ((codeAt(raw, type, 2 * at + 1) + 8) << 4),
  );
}

/** A tensor whose numbers lie in another file. */
function external(name, shape, { at, bytes }, file) {
  const entries = { location: file.split('/').at(-1), offset: String(at), length: String(bytes) };
  return join([
    ...shape.map((extent) => integer(1, extent)),
    integer(2, FLOAT),
    text(8, name),
    ...Object.entries(entries).map(([key, entry]) => field(13, join([text(1, key), text(2, entry)]))),
    integer(14, 1),
  ]);
}

/** An input or a result; extents that are not known have names. */
function value(name, type, shape) {
  const dimensions = shape.map((extent) => field(1, typeof extent === 'string' ? text(2, extent) : integer(1, extent)));
  return join([text(1, name), field(2, field(1, join([integer(1, type), field(2, join(dimensions))])))]);
}

const whole = (name, number) =>
  join([text(1, name), number < 0 ? join([Buffer.of(24), negative(number)]) : integer(3, number), integer(20, 2)]);

function float(name, number) {
  const four = Buffer.alloc(4);
  four.writeFloatLE(number);
  return join([text(1, name), Buffer.of(21), four, integer(20, 1)]);
}

/** As protobuf writes negative integers, in ten bytes. */
function negative(number) {
  let rest = BigInt.asUintN(64, BigInt(number));
  const bytes = [];
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}
