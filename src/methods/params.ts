/** Params of methods and models: checked by their schema, and described by it. */
import {
  type BaseIssue,
  type GenericSchema,
  type InferInput,
  type InferOutput,
  type ObjectEntries,
  type StrictObjectSchema,
  safeParse,
} from 'valibot';
import { isRecord, show } from '../check';
import { ParameterError } from '../errors';

export type ParamsSchema = StrictObjectSchema<ObjectEntries, undefined>;

export interface Param {
  readonly name: string;
  /** In words, such as `[integer >= -1, integer >= -1]`. */
  readonly type: string;
  readonly required: boolean;
  readonly default: unknown;
  readonly description: string;
}

export function describeParams({ entries }: ParamsSchema): Param[] {
  return Object.entries(entries as Readonly<Record<string, Described>>).map(([name, schema]) => ({
    name,
    type: typeText(schema),
    required: schema.type !== 'optional',
    default: schema.default,
    description: [...partsOf(schema), ...partsOf(schema.wrapped)].find(isOf('description'))?.description ?? '',
  }));
}

/** What a schema or an action of its pipe may have, by its kind. */
interface Described extends Pick<GenericSchema, 'type' | 'expects'> {
  readonly pipe?: readonly Described[];
  readonly wrapped?: Described;
  readonly options?: readonly Described[];
  readonly items?: readonly Described[];
  readonly item?: Described;
  readonly requirement?: unknown;
  readonly default?: unknown;
  readonly description?: string;
}

/** A schema and the actions of its pipes. */
const partsOf = (schema?: Described): readonly Described[] =>
  schema?.pipe?.flatMap(partsOf) ?? (schema ? [schema] : []);

const isOf = (type: string) => (part: Described) => part.type === type;

function typeText(schema: Described): string {
  const parts = partsOf(schema);
  const [{ type, wrapped, options = [], items = [], item, expects }] = parts as [Described];
  const limit = (of: string) => parts.find(isOf(of))?.requirement;
  switch (type) {
    case 'optional':
      return typeText(wrapped as Described);
    case 'picklist':
      return `one of ${options.join(', ')}`;
    case 'union':
      return options.map(typeText).join(' or ');
    case 'strict_tuple':
      return `[${items.map(typeText).join(', ')}]`;
    case 'array':
      return ['list of', lengths(limit('min_length'), limit('max_length')), `(${typeText(item as Described)})`]
        .filter(Boolean)
        .join(' ');
    case 'boolean':
      return 'true or false';
    case 'record':
      return 'object';
    case 'number': {
      const isInteger = parts.some((part) => /integer$/.test(part.type));
      const signs = { min_value: '>=', gt_value: '>', max_value: '<=', lt_value: '<' };
      const range = Object.entries(signs).flatMap(([of, sign]) =>
        limit(of) === undefined ? [] : `${sign} ${limit(of)}`,
      );
      return [isInteger ? 'integer' : 'finite float32 number', range.join(' and ')].filter(Boolean).join(' ');
    }
    default:
      return expects;
  }
}

const lengths = (least?: unknown, most?: unknown) =>
  most !== undefined ? `${least ?? 0} to ${most}` : least === undefined ? '' : `at least ${least}`;

/** Checks the params of a method or model and fills in defaults; a ParameterError names the wrong one. */
export function parseParams<Schema extends ParamsSchema>(
  what: string,
  schema: Schema,
  params: InferInput<Schema>,
): InferOutput<Schema> {
  if (!isRecord(params)) throw new ParameterError(`params of ${what} must be an object, got ${asJson(params)}`);
  const result = safeParse(schema, params);
  if (result.success) return result.output;
  // A name that is wrong explains one that is missing.
  const unknown = result.issues.find(({ path }) => !Object.hasOwn(schema.entries, String(path?.[0]?.key)));
  throw new ParameterError(complaint(what, schema, params, unknown ?? result.issues[0]));
}

/** Names the wrong param, even if the error lies within it, with its type and the given value. */
function complaint(what: string, schema: ParamsSchema, params: object, issue: BaseIssue<unknown>): string {
  const name = String(issue.path?.[0]?.key);
  const known = describeParams(schema);
  const param = known.find((candidate) => candidate.name === name);
  if (!param) return `${what} has no param '${name}': expected ${known.map((each) => each.name).join(', ')}`;
  return `param ${name} of ${what}: expected ${param.type}, got ${asJson(params[name as keyof typeof params])}`;
}

/** As params are written on the command line, but also for what JSON lacks, and only a few levels deep. */
function asJson(value: unknown, levels = 4): string {
  const inner = (each: unknown) => (levels > 0 ? asJson(each, levels - 1) : '...');
  if (Array.isArray(value)) return `[${value.map(inner).join(', ')}]`;
  if (typeof value === 'string') return JSON.stringify(value);
  if (!isRecord(value)) return show(value);
  return `{${Object.entries(value).map(([key, each]) => `${JSON.stringify(key)}: ${inner(each)}`)}}`;
}
