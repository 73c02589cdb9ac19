/** A user's view of a method's params, derived from their schema. */
import type { GenericSchema, ObjectEntries, StrictObjectSchema } from 'valibot';

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
      return `list of ${lengths(limit('min_length'), limit('max_length'))} (${typeText(item as Described)})`;
    case 'boolean':
      return 'true or false';
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

const lengths = (least: unknown = 0, most?: unknown) =>
  most === undefined ? `at least ${least}` : `${least} to ${most}`;
