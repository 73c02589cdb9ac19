import { Ajv2020 } from 'ajv/dist/2020.js';
import { beforeAll, describe, expect, test } from 'vitest';
import { resolvePackage } from '../../packages';
import { grammarFunctions } from './grammar-work';
import { schemaGrammar } from './schema-grammar';

const TOKENS = [
  '<end>',
  ...Array.from({ length: 95 }, (_, at) => String.fromCharCode(32 + at)),
  ...['\n', '\t', '\r', '\x01', '\x7f', 'é', '漢', '字', '😀'],
  ...['ab', '": "', '12', '"}', '\\"', '\\n', '\\u00', 'a"'],
];
const BLANK = /^[ \n\t]+$/;
let answers = 0;
let state = 7;
/** A number in [0, 1) and one below `count`, the same in each run. */
function uniform(): number {
  state = (state + 0x6d2b79f5) | 0;
  const mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
const below = (count: number) => Math.floor(uniform() * count);
const pick = <Item>(items: readonly Item[]) => items[below(items.length)] as Item;

beforeAll(() =>
  grammarFunctions.openGrammars({
    library: resolvePackage('@mlc-ai/web-xgrammar') as string,
    tokens: TOKENS,
    kind: 'raw',
    size: TOKENS.length,
    ends: [0],
  }),
);

/** An answer of tokens that are drawn, which is ended where it may be once it is long; undefined if it does not end. */
async function answerTo(schema: unknown): Promise<string | undefined> {
  const id = answers++;
  await grammarFunctions.match(id, { kind: 'schema', text: schemaGrammar(schema) }, []);
  let text = '';
  for (let step = 0; step < 400; step++) {
    const bits = (await grammarFunctions.allowed(id)) as Int32Array;
    const may = TOKENS.flatMap((_, at) => (((bits[at >> 5] as number) >> (at & 31)) & 1 ? [at] : []));
    expect(may, `${text} has something that comes next`).not.toEqual([]);
    if (may.includes(0) && (uniform() < 0.7 || step > 100)) return end(id, text);
    const others = may.filter((token) => token > 0);
    if (others.length === 0) return end(id, text);
    const full = others.filter((token) => !BLANK.test(TOKENS[token] as string));
    const closing = step > 100 ? full.filter((token) => /^["}\]]$/.test(TOKENS[token] as string)) : [];
    const from = [closing, uniform() < 0.95 ? full : [], others].find((tokens) => tokens.length > 0) as number[];
    const token = pick(from);
    grammarFunctions.accept(id, token);
    text += TOKENS[token];
  }
  grammarFunctions.drop(id);
  return undefined;
}

function end(id: number, text: string): string {
  grammarFunctions.drop(id);
  return text;
}

/** Which of these it lets through. */
async function taken(schema: unknown, texts: readonly string[]): Promise<string[]> {
  const format = { kind: 'schema', text: schemaGrammar(schema) } as const;
  const found: string[] = [];
  for (const text of texts) {
    const id = answers++;
    await grammarFunctions.match(id, format, []);
    const tokens = [...Array.from(text, (letter) => TOKENS.indexOf(letter)), 0];
    let isTaken = true;
    for (const token of tokens) {
      const bits = (await grammarFunctions.allowed(id)) as Int32Array;
      isTaken = (((bits[token >> 5] as number) >> (token & 31)) & 1) === 1;
      if (!isTaken) break;
      grammarFunctions.accept(id, token);
    }
    grammarFunctions.drop(id);
    if (isTaken) found.push(text);
  }
  return found;
}

const validator = (schema: object) => new Ajv2020({ strict: false, validateFormats: false }).compile(schema);
const PATTERNS = [
  '^a|b$',
  '^[a-c]{2,4}$',
  '\\d+',
  '^(foo|bar|foz)*$',
  '^[^"x]+$',
  '^(?:a|(b))(?<n>c)?$',
  '^.{3}$',
  '^"\\\\$',
  '\\n$',
];
const bound = () =>
  pick([0, -0, 0.1, 10, 99, 100, 1e-7, 1e20, 999.999, below(400) - 200, below(40) - 20, (uniform() - 0.5) * 1000]);

function randomSchema(depth: number): unknown {
  const parts = (count: number) => Array.from({ length: count }, () => randomSchema(depth - 1));
  const least = below(3);
  const kinds: (() => object | boolean)[] = [
    () => ({
      type: 'string',
      ...pick([{}, { pattern: pick(PATTERNS) }, { minLength: least, maxLength: least + below(4) }]),
    }),
    () => ({
      type: 'string',
      format: pick(['date-time', 'duration', 'uuid', 'ipv4', 'ipv6', 'email', 'uri', 'hostname']),
    }),
    () => {
      const [a, b] = [bound(), bound()].sort((a, b) => a - b);
      const from = pick([{}, { minimum: a }, { exclusiveMinimum: a }]);
      return { type: pick(['integer', 'number']), ...from, ...pick([{}, { maximum: b }, { exclusiveMaximum: b }]) };
    },
    () => ({
      enum: [pick(['a', 'ab', 'b"\\\n', '漢']), pick(['abc', 1, null, { x: [1, 'é'] }]), pick(['a', -0.5, []])],
    }),
    () => pick([true, {}, { title: 'x' }, { type: ['null', 'boolean'] }, { $ref: '#/$defs/part' }, { type: 'object' }]),
  ];
  const nested: (() => object)[] = [
    () => ({ anyOf: parts(1 + below(3)) }),
    () => ({ type: 'array', ...pick([{}, { items: randomSchema(depth - 1) }]), prefixItems: parts(1 + below(2)) }),
    () => ({ items: randomSchema(depth - 1), minItems: least, maxItems: least + below(3) }),
    () => {
      const names = ['a', 'b', 'ab', 'é', 'a"', '', '漢字'].slice(below(4)).slice(0, below(4));
      const properties = Object.fromEntries(names.map((name) => [name, randomSchema(depth - 1)]));
      const required = names.filter(() => uniform() < 0.5);
      const additionalProperties = pick([true, false, randomSchema(depth - 1)]);
      return { type: 'object', properties, required, ...pick([{}, { additionalProperties }, { maxProperties: 2 }]) };
    },
    () => ({ type: 'object', patternProperties: { [pick(PATTERNS)]: randomSchema(depth - 1) } }),
    () => ({ propertyNames: { pattern: pick(PATTERNS) }, additionalProperties: randomSchema(depth - 1) }),
    () => ({ propertyNames: { enum: ['a', 'b'] }, additionalProperties: randomSchema(depth - 1), required: ['a'] }),
  ];
  return pick(depth > 0 ? [...kinds, ...nested, ...nested] : kinds)();
}

const twice = (name: string) => [{ $ref: `#/$defs/${name}` }, { $ref: `#/$defs/${name}` }];
/** Parts of which each is either of the next one, twice, and the last one nothing. */
const chain = Object.fromEntries(
  Array.from({ length: 40 }, (_, at) => [`p${at}`, at < 39 ? { anyOf: twice(`p${at + 1}`) } : { enum: [] }]),
);

describe('an answer to a schema', () => {
  test('fits it, whatever is drawn', async () => {
    let count = 0;
    for (let round = 0; round < 30; round++) {
      const part = randomSchema(0);
      const schema = {
        properties: { it: randomSchema(3) },
        $defs: { part: typeof part === 'object' && '$ref' in (part as object) ? true : part },
      };
      const given = JSON.parse(JSON.stringify(schema));
      for (let draw = 0; draw < 2; draw++) {
        const text = await answerTo(given);
        if (text === undefined) continue;
        count++;
        const isValid = validator(given)(JSON.parse(text));
        expect(isValid, `${JSON.stringify(given)} lets ${JSON.stringify(text)} through`).toBe(true);
      }
    }
    expect(count).toBeGreaterThan(40);
  });

  test('is any number between its bounds, and no other', async () => {
    for (let round = 0; round < 30; round++) {
      const type = pick(['integer', 'number']);
      const from = pick([{}, { minimum: bound() }, { exclusiveMinimum: bound() }]);
      const schema = { type, ...from, ...pick([{}, { maximum: bound() }, { exclusiveMaximum: bound() }]) };
      const bounds = [...Object.values(schema)].filter((value) => typeof value === 'number');
      const near = [...bounds, 0, 7, -130].flatMap((value) => [
        value,
        value - 1,
        value + 1,
        value * 10,
        value / 10,
        value + 1e-3,
        value - 1e-3,
      ]);
      const texts = [
        ...new Set(near.map((value) => String(type === 'integer' ? Math.round(value) : Number(value.toFixed(6))))),
      ];
      const plain = texts.filter((text) => !text.includes('e'));
      const fits = plain.filter((text) => validator(schema)(Number(text)));
      if (fits.length === 0) continue;
      expect(await taken(schema, plain), JSON.stringify(schema)).toEqual(fits);
    }
  });

  test('has a name that is declared once, with what was declared', async () => {
    const properties = { a: { type: 'integer' }, ab: { type: 'integer' } };
    const schema = { type: 'object', properties, required: ['a', 'c'], additionalProperties: { type: 'string' } };
    const texts = [
      '{"a":1,"c":"x"}',
      '{"a":1,"ab":2,"c":"x","b":"y","abc":""}',
      '{"a":1,"c":"x","a":"y"}',
      '{"a":1,"c":"x","ab":""}',
      '{"a":1}',
    ];
    expect(await taken(schema, texts)).toEqual(texts.slice(0, 2));
  });

  test.each(['^(a|ab|abc)$', '^[^a"\\\\]$', 'b', '^["\\\\]$', '^[à-ü]$', '^\\s\\S$', '^a{2}?b*$|^c', 'a$', '^$'])(
    'has the strings of a pattern: %s',
    async (pattern) => {
      const plain = [
        '',
        'a',
        'b',
        'é',
        '😀',
        'ab',
        'abc',
        'aba',
        ' b',
        'aa',
        'aab',
        'c',
        'cc',
        '"',
        '\\',
        '\t',
        '\x01',
      ];
      const texts = [...plain, '\\nb', '\\tb', '\\n漢', '\\"', '\\\\'].map((text) => `"${text}"`);
      const fits = texts.filter((text) => {
        try {
          return new RegExp(pattern, 'u').test(JSON.parse(text));
        } catch {
          return false;
        }
      });
      expect(await taken({ type: 'string', pattern }, texts)).toEqual(fits);
    },
  );

  test.each<[string, unknown]>([
    ['#/type must be one or some of', { type: 'wrong' }],
    ['#/not is not kept', { not: {} }],
    ['#/properties/a/multipleOf is not kept', { properties: { a: { type: 'number', multipleOf: 0.1 } } }],
    ['#/uniqueItems is not kept', { type: 'array', uniqueItems: true }],
    ['#/maxLength is not kept beside pattern', { pattern: 'a', maxLength: 3 }],
    ['#/format is not kept beside pattern', { pattern: 'a', format: 'date' }],
    ['#/maxLength is not kept beside enum', { enum: ['a'], maxLength: 3 }],
    ['#/minimum is not kept beside $ref', { $ref: '#/$defs/a', minimum: 3, $defs: { a: {} } }],
    ['#/required is not kept beside anyOf', { anyOf: [{}], required: ['a'] }],
    ['#/anyOf/1 must be of the type beside anyOf', { type: 'string', anyOf: [{ const: 'a' }, { const: 1 }] }],
    ['#/allOf is kept of one part alone', { allOf: [{ minimum: 1 }, { maximum: 2 }] }],
    ['#/oneOf must have parts of which no two fit', { oneOf: [{ type: 'integer' }, { type: 'number' }] }],
    ['#/oneOf must have parts of which no two fit', { oneOf: [{ properties: {} }, { type: 'integer' }] }],
    ['#/propertyNames is not kept beside properties', { properties: {}, propertyNames: { pattern: 'a' } }],
    ['#/patternProperties is kept of one pattern', { patternProperties: { a: {}, b: {} } }],
    ['#/minProperties above 1 is kept where', { minProperties: 2 }],
    [
      '#/properties must be at most 500',
      { properties: Object.fromEntries(Array.from({ length: 501 }, (_, at) => [at, {}])) },
    ],
    [
      'must not be a value of itself',
      { type: 'string', anyOf: [{ $ref: '#/$defs/a' }], $defs: { a: { anyOf: twice('a') } } },
    ],
    ['# must let something through', { $ref: '#/$defs/p0', $defs: chain }],
    ['#/$ref must be a place in the schema', { $ref: 'other.json' }],
    ['must not be a value of itself', { anyOf: [{ $ref: '#' }, { type: 'null' }] }],
    ['must not nest deeper than 100', JSON.parse(`${'{"items":'.repeat(5000)}{}${'}'.repeat(5000)}`)],
    [
      'must not nest deeper than 100',
      { type: 'null', anyOf: [JSON.parse(`${'{"allOf":['.repeat(5000)}{}${']}'.repeat(5000)}`)] },
    ],
    ['#/pattern must be a pattern that can be kept: it looks around', { pattern: '^(?!a)' }],
    [
      '#/pattern must be a pattern that can be kept: groups deeper',
      { pattern: `${'('.repeat(3000)}${')'.repeat(3000)}` },
    ],
    ['#/pattern must be a pattern that can be kept: Invalid', { pattern: '(' }],
    ['#/pattern must be a pattern that can be kept: a class of nothing', { pattern: '^[]$' }],
    ['#/maximum must be 0 or a number of a size', { type: 'number', maximum: '3' }],
    ['#/minimum must be 0 or a number of a size', { minimum: 1e300 }],
    ['# must let something through', { propertyNames: { enum: ['a'] }, required: ['b'] }],
    ['# must let something through', { type: 'integer', minimum: 1.5, maximum: 1.9 }],
  ])('is refused where it could not fit: %s', (message, schema) => {
    expect(() => schemaGrammar(schema)).toThrow(message);
  });

  test('has days that there are', async () => {
    const days = ['2026-01-31', '2026-04-30', '2026-12-29', '2026-02-28', '2026-02-30', '2026-04-31', '2026-13-01'];
    const texts = days.map((day) => `"${day}"`);
    expect(await taken({ type: 'string', format: 'date' }, texts)).toEqual(texts.slice(0, 4));
    const times = texts.map((text) => text.replace(/"$/, 'T12:00:00Z"'));
    expect(await taken({ type: 'string', format: 'date-time' }, times)).toEqual(times.slice(0, 4));
  });

  test('is of the type beside its choices', async () => {
    const schema = { type: 'string', anyOf: [{ maxLength: 1 }, { pattern: '^ab$' }] };
    expect(await taken(schema, ['"a"', '"ab"', '"abc"', '1'])).toEqual(['"a"', '"ab"']);
    expect(await taken({ type: 'string', anyOf: [{}] }, ['"a"', '1'])).toEqual(['"a"']);
  });

  test('has no names that are not strings', async () => {
    const schema = { type: 'object', propertyNames: { type: ['integer', 'string'], pattern: '^a$' } };
    expect(await taken(schema, ['{}', '{"a":1}', '{1:1}', '{"1":1}'])).toEqual(['{}', '{"a":1}']);
    expect(await taken({ ...schema, propertyNames: { type: 'integer' } }, ['{}', '{"a":1}', '{1:1}'])).toEqual(['{}']);
  });

  test.each<[string, readonly object[]]>([
    ['types', [{ type: 'string' }, { type: 'integer' }, { enum: [null] }]],
    ['values', [{ const: 'a' }, { const: 'b' }]],
    [
      'a property that all must have',
      ['a', 'b'].map((name) => ({ properties: { kind: { const: name } }, required: ['kind'] })),
    ],
  ])('may be one of several that differ by %s', (_, oneOf) => {
    expect(() => schemaGrammar({ oneOf })).not.toThrow();
  });
});
