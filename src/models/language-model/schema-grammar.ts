/** JSON schemas as grammars in EBNF of answers that they let through, all of them or fewer, or an error by name. */
import { isRecord, show } from '../../check';
import { ParameterError } from '../../errors';
import { choice, literal, repeated } from './grammar-text';
import { type Bound, numberGrammar } from './number-grammar';
import { CHARACTER, PLAIN, patternGrammar, plainBut } from './pattern-grammar';

type Schema = Readonly<Record<string, unknown>>;
interface Properties {
  readonly named: ReadonlyMap<string, unknown>;
  readonly key: string | undefined;
  readonly value: unknown;
}
interface Pair {
  /** Its rule's. */
  readonly name: string;
  readonly isRequired: boolean;
}
type Type = 'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean' | 'null';

/** How deep parts may nest, how many properties or choices there may be, and how many rules of pairs. */
const [MOST_DEPTH, MOST_PARTS, MOST_RULES] = [100, 500, 10_000];
/** Sizes of bounds, each digit of which is a choice. */
const [LEAST, MOST] = [1e-20, 1e20];
/** Words that say something of a value, by the type that it must have for them to. */
const WORDS = {
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  array: [
    'items',
    'prefixItems',
    'minItems',
    'maxItems',
    'unevaluatedItems',
    'additionalItems',
    'uniqueItems',
    'contains',
    'minContains',
    'maxContains',
  ],
  object: [
    'properties',
    'required',
    'additionalProperties',
    'minProperties',
    'maxProperties',
    'patternProperties',
    'propertyNames',
    'unevaluatedProperties',
    'dependentRequired',
    'dependentSchemas',
    'dependencies',
  ],
} as const;
const TYPES: readonly Type[] = ['object', 'array', 'string', 'number', 'boolean', 'null'];
/** What stands for a value by itself, in the order in which it is looked for. */
const WHOLES = ['$ref', 'const', 'enum', 'anyOf', 'oneOf', 'allOf'] as const;
const REFUSED = ['not', 'if', 'then', 'else', '$dynamicRef', '$recursiveRef'];
const ALL_WORDS = ['type', ...WHOLES, ...REFUSED, ...Object.values(WORDS).flat()];
const HEX = '[0-9a-fA-F]';
const [DATE, TIME] = [
  '\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))',
  '([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d+)?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)',
];
const LABEL = '[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?';
const OCTET = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
/** Strings of formats, such as all validators take; other formats say nothing of a string. */
const FORMATS: Readonly<Record<string, string>> = {
  date: DATE,
  time: TIME,
  'date-time': `${DATE}T${TIME}`,
  duration: 'P(\\d+W|\\d+D|\\d+M(\\d+D)?|\\d+Y(\\d+M(\\d+D)?)?|(\\d+D)?T(\\d+H(\\d+M(\\d+S)?)?|\\d+M(\\d+S)?|\\d+S))',
  uuid: `${HEX}{8}-${HEX}{4}-${HEX}{4}-${HEX}{4}-${HEX}{12}`,
  ipv4: `(${OCTET}\\.){3}${OCTET}`,
  ipv6: `(${HEX}{1,4}:){7}${HEX}{1,4}`,
  hostname: `${LABEL}(\\.${LABEL})*`,
  email: `[a-zA-Z0-9_+-]+(\\.[a-zA-Z0-9_+-]+)*@${LABEL}(\\.${LABEL})+`,
  uri: `[a-zA-Z][a-zA-Z0-9+-]*://${LABEL}(\\.${LABEL})*(:\\d{1,5})?(/([a-zA-Z0-9._~-]|%${HEX}{2})*)*(\\?([a-zA-Z0-9._~=&/-]|%${HEX}{2})*)?(#([a-zA-Z0-9._~-]|%${HEX}{2})*)?`,
};
const COMMON = `ws ::= [ \\n\\t]*
nothing ::= ""
string ::= "\\"" ${CHARACTER}* "\\""
number ::= ${numberGrammar(false)}
object ::= "{" ws (string ws ":" ws any ws ("," ws string ws ":" ws any ws)*)? "}"
array ::= "[" ws (any ws ("," ws any ws)*)? "]"
any ::= object | array | string | number | "true" | "false" | "null"
`;

/** @throws {ParameterError} a schema that is none, that nothing fits, or that says what is not kept */
export function schemaGrammar(schema: unknown): string {
  return new SchemaGrammar(schema).text();
}

class SchemaGrammar {
  readonly #root: unknown;
  readonly #rules: string[] = [];
  /** Names of rules by the schema that they are of; undefined for those that nothing fits. */
  readonly #names = new Map<unknown, string | undefined>();
  readonly #kinds = new Map<unknown, readonly Type[]>();
  #count = 0;

  constructor(root: unknown) {
    this.#root = root;
  }

  text(): string {
    const value = this.#value(this.#root, '#', [], 0);
    if (value === undefined) fail('#', 'must let something through', this.#root);
    return `root ::= ${value}\n${COMMON}${this.#rules.join('\n')}\n`;
  }

  /** The name of the rule of a value; undefined if there is none. `within` are schemas whose value is this one's. */
  #value(schema: unknown, place: string, within: readonly unknown[], depth: number): string | undefined {
    if (schema === true) return 'any';
    if (schema === false) return undefined;
    if (!isRecord(schema)) fail(place, 'must be an object or a boolean', schema);
    if (within.includes(schema)) fail(place, 'must not be a value of itself', schema);
    if (this.#names.has(schema)) return this.#names.get(schema);
    if (depth > MOST_DEPTH) fail(place, `must not nest deeper than ${MOST_DEPTH}`, schema);
    const words = ALL_WORDS.filter((word) => Object.hasOwn(schema, word));
    for (const word of words) if (REFUSED.includes(word)) fail(`${place}/${word}`, 'is not kept', schema[word]);
    if (words.length === 0) return 'any';
    // Before what it is made of, which may have it as a part.
    const name = `v${this.#count++}`;
    this.#names.set(schema, name);
    const choices = this.#choices(schema, words, place, [...within, schema], depth + 1);
    if (choices.length > 0) this.#rules.push(`${name} ::= ${choice(choices)}`);
    else this.#names.set(schema, undefined);
    return this.#names.get(schema);
  }

  /** Each as the terms that it is made of. Nothing at the end keeps the library from joining rules that begin alike. */
  #choices(
    schema: Schema,
    words: readonly string[],
    place: string,
    within: readonly unknown[],
    depth: number,
  ): string[][] {
    const types = typesOf(schema, place);
    const whole = WHOLES.find((word) => words.includes(word));
    if (!whole)
      return types.flatMap((type) => {
        const text = this.#ofType(type, schema, place, depth);
        return text === undefined ? [] : [[text, 'nothing']];
      });
    const beside = words.find((word) => word !== whole && (word !== 'type' || whole === '$ref'));
    if (beside) fail(`${place}/${beside}`, `is not kept beside ${whole}`, schema[beside]);
    const value = (part: unknown, place: string) => {
      const name = this.#value(part, place, within, depth);
      return name === undefined ? [] : [[name]];
    };
    if (whole === '$ref') return value(this.#target(schema, place), String(schema.$ref));
    if (whole === 'const' || whole === 'enum') {
      const all = whole === 'const' ? [schema.const] : listOf(schema, whole, place);
      const own = all.filter((each) => types.some((type) => isOfType(each, type)));
      return own.map((each) => [...Array.from(JSON.stringify(each), literal), 'nothing']);
    }
    const parts = listOf(schema, whole, place).map((part) => typed(part, schema));
    if (whole === 'allOf' && parts.length > 1) fail(`${place}/allOf`, 'is kept of one part alone', parts);
    if (whole === 'oneOf') this.#checkDisjoint(parts, `${place}/oneOf`);
    return parts.flatMap((part, at) => {
      const other = words.includes('type') && this.#kindsOf(part).find((kind) => !types.map(kindOf).includes(kind));
      if (other) fail(`${place}/${whole}/${at}`, `must be of the type beside ${whole}`, part);
      return value(part, `${place}/${whole}/${at}`);
    });
  }

  #target({ $ref }: Schema, place: string): unknown {
    const names = typeof $ref === 'string' && /^#(?:\/|$)/.test($ref) ? $ref.split('/').slice(1) : undefined;
    let target: unknown = names && this.#root;
    for (const name of names ?? []) {
      const own = decoded(name).replaceAll('~1', '/').replaceAll('~0', '~');
      target = Object.hasOwn(Object(target), own) ? (target as Schema)[own] : undefined;
    }
    if (target === undefined) fail(`${place}/$ref`, 'must be a place in the schema, as #/$defs/name', $ref);
    return target;
  }

  /** The kinds of values that may fit, all where there is no type. A schema that is a value of itself is refused elsewhere. */
  #kindsOf(schema: unknown, depth = 0): readonly Type[] {
    if (!isRecord(schema)) return TYPES;
    const known = this.#kinds.get(schema);
    if (known) return known;
    if (depth > MOST_DEPTH) fail('#', `must not nest deeper than ${MOST_DEPTH}`, schema);
    this.#kinds.set(schema, []);
    const values = valuesOf(schema);
    const parts = Object.hasOwn(schema, '$ref')
      ? [this.#target(schema, '#')]
      : (schema.anyOf ?? schema.oneOf ?? schema.allOf);
    const kinds = values
      ? values.map((value) => TYPES.find((type) => isOfType(value, type)) as Type)
      : Array.isArray(parts)
        ? parts.flatMap((part) => this.#kindsOf(part, depth + 1))
        : Object.hasOwn(schema, 'type')
          ? typesOf(schema, '#').map(kindOf)
          : TYPES;
    this.#kinds.set(schema, [...new Set(kinds)]);
    return this.#kinds.get(schema) as readonly Type[];
  }

  /** That no value fits several parts: their types differ, their values, or those of a property that all must have. */
  #checkDisjoint(parts: readonly unknown[], place: string): void {
    if (parts.length > MOST_PARTS) fail(place, `must have at most ${MOST_PARTS} parts`, parts.length);
    const all = parts.map((part) => this.#resolved(part));
    for (const [at, a] of all.entries())
      for (const [before, b] of all.slice(0, at).entries()) {
        const shared = namesOf(a, place).filter((name) => namesOf(b, place).includes(name));
        const property = (schema: Schema, name: string) =>
          this.#resolved((schema.properties as Schema | undefined)?.[name]);
        const differ = this.#differ(a, b) || shared.some((name) => this.#differ(property(a, name), property(b, name)));
        if (!differ)
          fail(place, 'must have parts of which no two fit the same value (anyOf may)', [parts[before], parts[at]]);
      }
  }

  #differ(a: Schema, b: Schema): boolean {
    const [own, others] = [a, b].map((schema) => valuesOf(schema)?.map((value) => JSON.stringify(value)));
    if (own && others) return !own.some((value) => others.includes(value));
    const kinds = this.#kindsOf(b);
    return !this.#kindsOf(a).some((kind) => kinds.includes(kind));
  }

  #resolved(schema: unknown): Schema {
    let found = schema;
    for (let step = 0; isRecord(found) && Object.hasOwn(found, '$ref') && step < MOST_DEPTH; step++)
      found = this.#target(found, '#');
    return isRecord(found) ? found : {};
  }

  #ofType(type: Type, schema: Schema, place: string, depth: number): string | undefined {
    if (type === 'null') return '"null"';
    if (type === 'boolean') return '("true" | "false")';
    if (type === 'string') return stringGrammar(schema, place);
    if (type === 'array') return this.#array(schema, place, depth);
    if (type === 'object') return this.#object(schema, place, depth);
    if (schema.multipleOf !== undefined && (type === 'number' || schema.multipleOf !== 1))
      fail(`${place}/multipleOf`, 'is not kept', schema.multipleOf);
    return numberGrammar(type === 'integer', bound(schema, 'minimum', 1, place), bound(schema, 'maximum', -1, place));
  }

  #array(schema: Schema, place: string, depth: number): string | undefined {
    for (const word of ['uniqueItems', 'contains', 'minContains', 'maxContains', 'additionalItems'])
      if (schema[word] ?? false) fail(`${place}/${word}`, 'is not kept', schema[word]);
    const prefix = schema.prefixItems === undefined ? [] : listOf(schema, 'prefixItems', place);
    const [least, most] = counts(schema, 'Items', place);
    if (least > most) return undefined;
    const item = (part: unknown, place: string) => {
      const value = this.#value(part, place, [], depth);
      return value && `${value} ws`;
    };
    const first = prefix.slice(0, most).map((part, at) => item(part, `${place}/prefixItems/${at}`));
    const end = first.indexOf(undefined);
    const items = end < 0 ? first : first.slice(0, end);
    const others = end < 0 ? (schema.items ?? schema.unevaluatedItems ?? prefix.length === 0) : false;
    const other = items.length < most ? item(others, `${place}/items`) : undefined;
    if (!other && items.length < least) return undefined;
    const isOptional = items.length === 0 && least === 0 && other;
    if (items.length === 0 && other) items.push(other);
    const tail = other ? repeated(`"," ws ${other}`, least - items.length, most - items.length) : '';
    const text = `${items.join(' "," ws ')} ${tail}`;
    return `"[" ws ${isOptional ? `(${text})?` : text} "]"`;
  }

  #object(schema: Schema, place: string, depth: number): string | undefined {
    for (const word of ['dependentRequired', 'dependentSchemas', 'dependencies'])
      if (schema[word] !== undefined) fail(`${place}/${word}`, 'is not kept', schema[word]);
    const [least, most] = counts(schema, 'Properties', place);
    if (least > most) return undefined;
    const required = namesOf(schema, place);
    const { named, key, value } = this.#properties(schema, required, place, depth);
    if (named.size > MOST_PARTS) fail(`${place}/properties`, `must be at most ${MOST_PARTS}`, named.size);
    const pairs: Pair[] = [];
    for (const [name, part] of named) {
      const rule = this.#value(part, `${place}/properties/${name}`, [], depth);
      const isRequired = required.includes(name);
      if (rule) {
        const pair = `k${this.#rules.length}`;
        this.#rules.push(`${pair} ::= ${literal(JSON.stringify(name))} ws ":" ws ${rule} ws`);
        pairs.push({ name: pair, isRequired });
      } else if (isRequired) return undefined;
    }
    const rule = key && this.#value(value, `${place}/additionalProperties`, [], depth);
    const other = rule && `${key} ws ":" ws ${rule} ws`;
    // A name may be written twice.
    if (least > 1 && other) fail(`${place}/minProperties`, 'above 1 is kept where all names are known alone', least);
    const inner = this.#pairs(pairs, other, least, most);
    return inner === undefined ? undefined : `"{" ws ${inner} "}"`;
  }

  /** Values by names that are known, and the grammar of other names, if there may be any, with their value. */
  #properties(schema: Schema, required: readonly string[], place: string, depth: number): Properties {
    const { propertyNames } = schema;
    const properties = recordOf(schema, 'properties', place);
    const patterns = Object.entries(recordOf(schema, 'patternProperties', place) ?? {});
    const said = schema.additionalProperties ?? schema.unevaluatedProperties;
    const value = said ?? properties === undefined;
    const named = new Map<string, unknown>(Object.entries(properties ?? {}));
    if (propertyNames !== undefined) {
      if (properties || patterns.length > 0)
        fail(`${place}/propertyNames`, 'is not kept beside properties', propertyNames);
      const names = isRecord(propertyNames) ? valuesOf(propertyNames) : undefined;
      if (names) {
        for (const name of names) if (typeof name === 'string') named.set(name, value);
        for (const name of required) if (!named.has(name)) named.set(name, false);
        return { named, key: undefined, value };
      }
      if (!isRecord(propertyNames) || required.length > 0)
        fail(`${place}/propertyNames`, 'is kept as an object without required beside it', propertyNames);
      const isName = typesOf(propertyNames, `${place}/propertyNames`).includes('string');
      const text = isName && { ...propertyNames, type: 'string' };
      return { named, key: this.#value(text, `${place}/propertyNames`, [], depth), value };
    }
    const [pattern, ...more] = patterns;
    if (pattern) {
      if (more.length > 0 || properties || required.length > 0) {
        const expected = 'is kept of one pattern, without properties or required beside it';
        fail(`${place}/patternProperties`, expected, schema.patternProperties);
      }
      const text = patternGrammar(pattern[0], `${place}/patternProperties`);
      return { named, key: `"\\"" (${text}) "\\""`, value: pattern[1] };
    }
    // What it is, additional properties say, if anything does.
    for (const name of required) if (!named.has(name)) named.set(name, said ?? true);
    const plain = [...named.keys()].filter((name) => JSON.stringify(name).length === name.length + 2);
    return { named, key: `"\\"" ${otherThan(plain, 0)} "\\""`, value };
  }

  /** Pairs in their order, of which required ones come, and so many in all; others behind them. */
  #pairs(pairs: readonly Pair[], other: string | undefined, least: number, most: number): string | undefined {
    const known = new Map<string, string | undefined>();
    const from = (at: number, isFirst: boolean, least: number, most: number): string | undefined => {
      const pair = pairs[at];
      if (!pair) {
        if (!other) return least > 0 ? undefined : '';
        if (most === 0) return '';
        if (!isFirst) return repeated(`"," ws ${other}`, least, most);
        const text = `${other} ${repeated(`"," ws ${other}`, least - 1, most - 1)}`;
        return least > 0 ? text : `(${text})?`;
      }
      const key = `${at} ${isFirst} ${least} ${most}`;
      if (known.has(key)) return known.get(key);
      const rest = most > 0 ? from(at + 1, false, Math.max(0, least - 1), most - 1) : undefined;
      const without = pair.isRequired ? undefined : from(at + 1, isFirst, least, most);
      const taken = rest !== undefined && `${isFirst ? '' : '"," ws '}${pair.name} ${rest}`;
      const all = [taken, without === '' ? '""' : without].filter((text) => typeof text === 'string');
      if (this.#rules.length > MOST_RULES) fail('#', `must make at most ${MOST_RULES} rules`, this.#rules.length);
      const name = `p${this.#rules.length}`;
      if (all.length > 0) this.#rules.push(`${name} ::= ${all.join(' | ')}`);
      known.set(key, all.length > 0 ? name : undefined);
      return known.get(key);
    };
    return from(0, true, least, most);
  }
}

/** Names that are none of these. */
function otherThan(names: readonly string[], depth: number): string {
  if (names.length === 0) return `${PLAIN}*`;
  const heads = new Map<string, string[]>();
  for (const name of names) {
    const [head] = name;
    if (head) heads.set(head, [...(heads.get(head) ?? []), name.slice(head.length)]);
  }
  const letters = new Set([...heads.keys()].map((head) => head.codePointAt(0) as number));
  const other = plainBut(letters, Math.max(...letters) < 128);
  const all = [
    ...(names.includes('') ? [] : ['""']),
    ...(other ? [`${other} ${PLAIN}*`] : []),
    // What begins as a very long name is left out.
    ...(depth < MOST_DEPTH ? [...heads] : []).map(([head, ends]) => `${literal(head)} ${otherThan(ends, depth + 1)}`),
  ];
  return `(${all.join(' | ')})`;
}

const kindOf = (type: Type): Type => (type === 'integer' ? 'number' : type);
const valuesOf = (schema: Schema): readonly unknown[] | undefined =>
  Object.hasOwn(schema, 'const') ? [schema.const] : Array.isArray(schema.enum) ? schema.enum : undefined;

function isOfType(value: unknown, type: Type): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  return type === 'object' ? isRecord(value) : typeof value === type;
}

/** The types that it names, or those of which it says anything; all if it says nothing of any. */
function typesOf(schema: Schema, place: string): readonly Type[] {
  if (!Object.hasOwn(schema, 'type')) {
    const said = TYPES.filter((type) => WORDS[type as keyof typeof WORDS]?.some((word) => Object.hasOwn(schema, word)));
    return said.length > 0 ? said : TYPES;
  }
  const types = [schema.type].flat() as Type[];
  const known = [...TYPES, 'integer'];
  if (types.length === 0 || !types.every((type) => known.includes(type)))
    fail(`${place}/type`, `must be one or some of ${known.join(', ')}`, schema.type);
  return types.includes('number') ? types.filter((type) => type !== 'integer') : types;
}

function listOf(schema: Schema, word: string, place: string): readonly unknown[] {
  const list = schema[word];
  return Array.isArray(list) ? list : fail(`${place}/${word}`, 'must be an array', list);
}

/** A part with the type beside it, unless it has one or is made of parts itself. */
function typed(part: unknown, { type }: Schema): unknown {
  const isPlain = isRecord(part) && !['type', ...WHOLES].some((word) => Object.hasOwn(part, word));
  return isPlain && type !== undefined ? { type, ...part } : part;
}

/** Those that are required. */
function namesOf(schema: Schema, place: string): readonly string[] {
  const names = schema.required === undefined ? [] : listOf(schema, 'required', place);
  const isOne = (name: unknown): name is string => typeof name === 'string';
  return names.every(isOne) ? names : fail(`${place}/required`, 'must be names', names);
}

function recordOf(schema: Schema, word: string, place: string): Schema | undefined {
  const record = schema[word];
  return record === undefined || isRecord(record) ? record : fail(`${place}/${word}`, 'must be an object', record);
}

/** The least and the most of it. */
function counts(schema: Schema, of: 'Items' | 'Length' | 'Properties', place: string): [least: number, most: number] {
  const count = (word: string, preset: number) => {
    const value = schema[word] ?? preset;
    const isOne = value === preset || (Number.isSafeInteger(value) && (value as number) >= 0);
    return isOne ? (value as number) : fail(`${place}/${word}`, 'must be a whole number of at least 0', value);
  };
  return [count(`min${of}`, 0), count(`max${of}`, Number.POSITIVE_INFINITY)];
}

/** The bound that says more; `step` leads into what it lets through. */
function bound(schema: Schema, word: 'minimum' | 'maximum', step: 1 | -1, place: string): Bound | undefined {
  const open = word === 'minimum' ? 'exclusiveMinimum' : 'exclusiveMaximum';
  const bounds = [word, open].flatMap((name): Bound[] => {
    const value = schema[name];
    if (value === undefined) return [];
    const size = Math.abs(Number(value));
    if (typeof value !== 'number' || (size > 0 && size < LEAST) || !(size <= MOST))
      fail(`${place}/${name}`, `must be 0 or a number of a size from ${LEAST} to ${MOST}`, value);
    return [{ value, isOpen: name === open }];
  });
  return bounds.sort((a, b) => step * (b.value - a.value) || Number(b.isOpen) - Number(a.isOpen))[0];
}

function stringGrammar(schema: Schema, place: string): string | undefined {
  const { pattern, format } = schema;
  if (pattern !== undefined && typeof pattern !== 'string') fail(`${place}/pattern`, 'must be a text', pattern);
  const known = typeof format === 'string' && Object.hasOwn(FORMATS, format) ? `^(?:${FORMATS[format]})$` : undefined;
  const [least, most] = counts(schema, 'Length', place);
  const isCounted = least > 0 || most < Number.POSITIVE_INFINITY;
  if (pattern !== undefined && known) fail(`${place}/format`, 'is not kept beside pattern', format);
  const text = pattern ?? known;
  const length = least > 0 ? 'minLength' : 'maxLength';
  if (isCounted && text !== undefined)
    fail(`${place}/${length}`, `is not kept beside ${known ? 'format' : 'pattern'}`, schema[length]);
  if (least > most) return undefined;
  if (text !== undefined) return `"\\"" (${patternGrammar(text, `${place}/pattern`)}) "\\""`;
  return isCounted ? `"\\"" ${repeated(PLAIN, least, most)} "\\""` : 'string';
}

/** The part of an address as a text. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function fail(place: string, expected: string, got: unknown): never {
  throw new ParameterError(`schema of format: ${place} ${expected}, got ${show(got)}`);
}
