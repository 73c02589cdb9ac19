import { readFileSync } from 'node:fs';
import { zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { openWeights } from '../open';

const fixture = (name: string) => readFileSync(new URL(`../../../test/fixtures/${name}`, import.meta.url));

/** In what `checkpoint.pth` and the like hold, by make-checkpoints.py. */
const HELD: Record<string, [type: string, shape: number[], elements: unknown[]]> = {
  transposed: ['f64', [4, 3], [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]],
  part: ['f64', [2, 2], [4, 6, 8, 10]],
  repeated: ['f32', [2, 3], [1.5, 1.5, 1.5, 1.5, 1.5, 1.5]],
  parameter: ['f32', [2], [1, 1]],
  empty: ['f32', [0, 3], []],
  float16: ['f16', [3], [0x3c00, 0, 0x4200]],
  bfloat16: ['bf16', [3], [0x3f80, 0, 0x4040]],
  int64: ['i64', [3], [1n, 0n, 3n]],
  int32: ['i32', [3], [1, 0, 3]],
  int8: ['i8', [3], [1, 0, 3]],
  uint8: ['u8', [3], [1, 0, 3]],
  bool: ['u8', [3], [1, 0, 1]],
  '1.num_batches_tracked': ['i64', [], [1n]],
};

describe.each(['checkpoint.pth', 'checkpoint-5.pth', 'checkpoint-old.pth'])('%s', (name) => {
  test('tensors of the model, and what else there is by name', async () => {
    await using weights = await openWeights(new File([fixture(name)], name));
    expect(weights.format).toBe('pytorch');
    expect([...weights.tensors.keys()].slice(0, 4)).toEqual(['0.weight', '0.bias', '1.weight', '1.bias']);
    for (const [name, [type, shape, elements]] of Object.entries(HELD)) {
      const { dtype, shape: own, data } = await weights.read(name);
      expect([name, dtype, own, [...data]]).toEqual([name, type, shape, elements]);
    }
    const { data } = await weights.read('part', { rows: [1, 2] });
    expect([...data]).toEqual([8, 10]);
    expect({ ...weights.metadata }).toEqual({
      epoch: 3,
      best: 0.25,
      large: 2n ** 80n,
      rng: 'a tensor u8 [16]',
      optimizer: "a dictionary of 2: 'state', 'param_groups'",
      scheduler: expect.stringMatching(/^a dictionary of 8: 'milestones', /),
      settings: "a dictionary of 6: 'dtype', 'device', 'size', 'tags', 'raw', 'note'",
    });
  });
});

/** A pickle by the names of its instructions and their bytes; texts are short ones. */
function pickle(...parts: (string | number[])[]): Uint8Array {
  return Uint8Array.from(
    ['\x80\x02', ...parts, '.'].flatMap((part) =>
      [...part].map((each) => (typeof each === 'string' ? each.charCodeAt(0) : each)),
    ),
  );
}
const text = (content: string) => `X${String.fromCharCode(content.length)}\0\0\0${content}`;
const global = (module: string, name: string) => `c${module}\n${name}\n`;

/** A storage of f32 under key 0, of so many elements. */
const storage = (elements: number) =>
  `(${text('storage')}${global('torch', 'FloatStorage')}${text('0')}${text('cpu')}K${String.fromCharCode(elements)}tQ`;
const rebuilt = (offset: string, shape: string, strides: string) =>
  `${global('torch._utils', '_rebuild_tensor_v2')}(${storage(4)}${offset}${shape}${strides}\x89)tR`;
const TENSOR = rebuilt('K\0', 'K\x04\x85', 'K\x01\x85');

/** A checkpoint of the pickle, with a storage of four numbers. */
function archive(pickle: Uint8Array, more: Record<string, Uint8Array> = {}): Uint8Array {
  const numbers = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
  return zipSync({ 'a/data.pkl': pickle, 'a/data/0': numbers, ...more }, { level: 0 });
}

async function namesOf(file: Uint8Array): Promise<string[]> {
  const weights = await openWeights(new File([file as Uint8Array<ArrayBuffer>], 'x.pth'));
  return [...weights.tensors.keys()];
}

test('containers of tensors by dotted names', async () => {
  expect(await namesOf(archive(pickle(TENSOR)))).toEqual(['tensor']);
  expect(await namesOf(archive(pickle('](', TENSOR, TENSOR, 'e')))).toEqual(['0', '1']);
  const nested = pickle('}(', text('a'), '}(', text('b'), TENSOR, text('c'), ']', TENSOR, 'au', text('adam'), 'N', 'u');
  expect(await namesOf(archive(nested))).toEqual(['a.b', 'a.c.0']);
  const optimizer = pickle(
    '}(',
    text('enc'),
    '}',
    text('w'),
    TENSOR,
    's',
    text('optimizer'),
    '}',
    text('m'),
    TENSOR,
    'su',
  );
  expect(await namesOf(archive(optimizer))).toEqual(['enc.w']);
  const twice = pickle('}(', text('a'), '}q\0', text('w'), TENSOR, 's', text('b'), 'h\0u');
  const weights = await openWeights(archive(twice));
  expect([[...weights.tensors.keys()], { ...weights.metadata }]).toEqual([['a.w'], { b: "the same as 'a'" }]);
});

test('storages that view others, and texts, as old programs wrote them', async () => {
  const view = storage(4).replace('tQ', '(U\x01vK\x01K\x02ttQ');
  const part = `${global('torch._utils', '_rebuild_tensor')}(${view}K\x01K\x02\x85K\x01\x85tR`;
  const weights = await openWeights(archive(pickle('}U\x01w', part, 's')));
  expect(await weights.read('w')).toEqual({ dtype: 'f32', shape: [2], data: Float32Array.of(3, 4) });
});

const LONG = String.fromCharCode(0xff);
const RUN = [global('os', 'system'), text('x'), '\x85R'];
test('types that are not read are told', async () => {
  const weights = await openWeights(new File([fixture('checkpoint-unread.pth')], 'x.pth'));
  expect([...weights.tensors.values()].map(({ name, type, shape }) => [name, type, shape])).toEqual([
    ['i16', 'I16', [2]],
    ['f8', 'F8_E4M3', [3]],
    ['complex', 'C64', [2, 1]],
    ['f32', 'f32', [2]],
  ]);
  expect([...(await weights.read('f32')).data]).toEqual([1, 1]);
  await expect(weights.read('f8')).rejects.toThrow("x.pth: tensor 'f8' has elements of type F8_E4M3: f32, ");
});

const refused: readonly [string, Uint8Array | Buffer, string][] = [
  ['a function', archive(pickle(...RUN)), "x.pth wants 'os.system': only tensors in plain containers are read"],
  ['a function by its text', archive(pickle(text('os'), text('system'), '\x93')), "x.pth wants 'os.system'"],
  ['a class, as real files have', fixture('checkpoint-code.pth'), "x.pth wants 'argparse.Namespace'"],
  ['an instruction that makes objects', archive(pickle('})\x81')), 'x.pth wants the instruction 129 of pickles'],
  ['a call of a value', archive(pickle('K\x01)R')), 'its pickle calls what is not a function'],
  ['a call of a name', archive(pickle(global('torch', 'FloatStorage'), ')R')), 'calls what is not a function'],
  ['values that are not there', archive(pickle('0')), 'its pickle takes a value that is not there'],
  ['values before a mark', archive(pickle('K\x01(a')), 'its pickle takes a value that is not there'],
  ['a mark that is not there', archive(pickle('K\x01t')), 'its pickle takes values from a mark that is not there'],
  ['a memory that is not there', archive(pickle('h\x07')), 'its pickle takes value 7, which it did not keep'],
  ['half an item', archive(pickle('}(K\x01u')), 'its pickle sets items of what is not a dictionary'],
  ['items of a list', archive(pickle('](K\x01K\x02u')), 'its pickle sets items of what is not a dictionary'],
  ['elements of a dictionary', archive(pickle('}K\x01a')), 'its pickle adds to what is not a list'],
  ['attributes of a number', archive(pickle('K\x01}b')), 'its pickle gives attributes to what is not a dictionary'],
  ['no end', archive(pickle('}').slice(0, -1)), 'x.pth: a pickle takes 1 bytes, 0 are left'],
  ['a text beyond the file', archive(pickle(`X${LONG.repeat(4)}`)), 'a text of its pickle takes 4294967295 bytes'],
  [
    'bytes beyond all files',
    archive(pickle(`\x8e${LONG.repeat(8)}`)),
    'bytes of its pickle takes 18446744073709552000 bytes',
  ],
  ['an integer of 4 GiB', archive(pickle(`\x8b${LONG.repeat(4)}`)), 'its pickle has an integer of 4294967295 bytes'],
  ['a text that is not UTF-8', archive(pickle('X\x01\0\0\0\xff')), 'a text of its pickle is not UTF-8'],
  ['a line without an end', archive(pickle(`c${'a'.repeat(300)}`)), 'its pickle has a line without an end'],
  ['a dictionary within itself', archive(pickle(`}q\0${text('a')}h\0s`)), "x.pth: 'a' is within itself"],
  [
    'a model that wraps itself',
    archive(pickle(`}q\0${text('model')}h\0s`)),
    'x.pth: containers are nested deeper than 64',
  ],
  [
    'lists in lists',
    archive(pickle(`}${text('a')}`.repeat(70), TENSOR, 's'.repeat(70))),
    'x.pth: containers are nested deeper than 64',
  ],
  [
    'a storage of other sizes',
    archive(pickle(TENSOR.replace('cpuK\x04', 'cpuK\x05'))),
    "storage '0' has 16 bytes, 5 elements of f32 take 20",
  ],
  [
    'a storage that is not there',
    archive(pickle(TENSOR.replace(text('0'), text('9')))),
    "tensor 'tensor': there is no storage '9'",
  ],
  [
    'a tensor beyond its storage',
    archive(pickle(rebuilt('K\x01', 'K\x04\x85', 'K\x01\x85'))),
    "a tensor [4] with strides [1] from 1 on goes beyond the 4 elements of storage '0'",
  ],
  [
    'strides of another length',
    archive(pickle(rebuilt('K\0', 'K\x04\x85', ')'))),
    'a tensor of shape [4], strides [] and offset 0',
  ],
  ['a negative offset', archive(pickle(rebuilt('J\xff\xff\xff\xff', 'K\x04\x85', 'K\x01\x85'))), 'offset -1'],
  [
    'a repeated element',
    archive(pickle(rebuilt('K\0', `J${LONG.repeat(3)}\x7f\x85`, 'K\0\x85'))),
    "tensor 'tensor' [2147483647] repeats elements",
  ],
  [
    'a tensor of no storage',
    archive(pickle(global('torch._utils', '_rebuild_tensor_v2'), '(K\x01K\x01))\x89)tR')),
    'a tensor of shape []',
  ],
  [
    'a pair that is none',
    archive(pickle(global('collections', 'OrderedDict'), ']K\x01a\x85R')),
    'an OrderedDict is made of 1, expected pairs',
  ],
  ['a reference to something else', archive(pickle('K\x01Q')), 'a storage is described by 1'],
  [
    'big-endian elements',
    archive(pickle(TENSOR), { 'a/byteorder': Buffer.from('big') }),
    "x.pth: elements must be little-endian, got 'big'",
  ],
  ['a program', archive(pickle(TENSOR), { 'a/constants.pkl': pickle('N') }), 'x.pth is a program of TorchScript'],
  [
    'no pickle',
    zipSync({ 'a.txt': Buffer.from('a') }, { level: 0 }),
    'is a zip archive without a checkpoint of PyTorch: unpack it',
  ],
  ['compression', zipSync({ 'a/data.pkl': Buffer.alloc(1000) }), "zip entry 'a/data.pkl' is compressed"],
  ['half an archive', archive(pickle(TENSOR)).subarray(0, 100), 'x.pth: zip: not a zip archive, or cut short'],
  ['another pickle', pickle('K\x01'), 'x.pth is a pickle, but no checkpoint of PyTorch'],
  ['a pickle of a function', pickle(...RUN), "x.pth wants 'os.system'"],
  ['an old checkpoint cut short', fixture('checkpoint-old.pth').subarray(0, -20), 'storage '],
];

test.each(refused)('%s is refused', async (_, file, message) => {
  await expect(namesOf(file)).rejects.toThrow(message);
});

test('a pickle that makes more than its file is refused before it takes memory', async () => {
  await expect(namesOf(archive(pickle('}'.repeat(200_000))))).rejects.toThrow(/take more memory than \d+ bytes/);
  // 2^40 names for one dictionary.
  const doubled = Array.from(
    { length: 40 },
    (_, at) =>
      `}(${text('a')}h${String.fromCharCode(at)}${text('b')}h${String.fromCharCode(at)}uq${String.fromCharCode(at + 1)}`,
  );
  expect(await namesOf(archive(pickle('}', text('w'), TENSOR, 'sq\0', ...doubled)))).toHaveLength(1);
  // The same as a list that holds itself twice, forty times over, where texts are expected.
  const lists = Array.from({ length: 40 }, (_, at) => {
    const [before, now] = [String.fromCharCode(at), String.fromCharCode(at + 1)];
    return at === 0 ? ']q\x01' : `](h${before}h${before}eq${now}`;
  });
  const last = `h${String.fromCharCode(40)}`;
  for (const [part, message] of [
    [`${last}${text('x')}\x93`, 'names a global by what is not a text'],
    [`${global('torch', 'device')}${last}\x85R`, undefined],
    [`}${last}Ns`, undefined],
    [`}(${last}N${text('model')}}${text('w')}${TENSOR}su`, undefined],
  ] as const) {
    const given = namesOf(archive(pickle(...lists, part)));
    if (message) await expect(given).rejects.toThrow(message);
    else expect((await given).length).toBeLessThan(2);
  }
  // One long name within each of many.
  const long = `X\0\0\x10\0${'a'.repeat(2 ** 20)}`;
  const many = Array.from({ length: 9 }, (_, at) => `${text(String(at))}${TENSOR}`).join('');
  await expect(namesOf(archive(pickle('}', long, '}(', many, 'us')))).rejects.toThrow('or names of 8388608 characters');
  // A dictionary of ten thousand pairs, made a thousand times.
  const pairs = `K\x01K\x02\x86q\0](${'h\0'.repeat(10_000)}eq\x01`;
  const dictionaries = `${global('collections', 'OrderedDict')}h\x01\x85R0`.repeat(1000);
  await expect(namesOf(archive(pickle(pairs, dictionaries)))).rejects.toThrow('take more memory');
});

test('an old storage of another length is found when it is read', async () => {
  const bytes = Uint8Array.from(fixture('checkpoint-old.pth'));
  const weights = await openWeights(bytes);
  const { source } = weights.tensors.get('0.weight') as NonNullable<ReturnType<typeof weights.tensors.get>>;
  const content = Buffer.from(await source.read(0, source.size));
  bytes[Buffer.from(bytes).indexOf(content) - 8] = 7;
  const damaged = await openWeights(bytes);
  await expect(damaged.read('0.weight')).rejects.toThrow('must have 6 elements, got 7');
});
