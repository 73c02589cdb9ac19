/** A user's view of a method's params, derived from their schema. */
import { type JsonSchema, toJsonSchema } from '@valibot/to-json-schema';
import type { ObjectEntries, StrictObjectSchema } from 'valibot';

export type ParamsSchema = StrictObjectSchema<ObjectEntries, undefined>;

export interface Param {
  readonly name: string;
  /** In words, such as `[integer >= -1, integer >= -1]`. */
  readonly type: string;
  readonly required: boolean;
  readonly default: unknown;
  readonly description: string;
}

export function describeParams(schema: ParamsSchema): Param[] {
  const { properties = {}, required = [] } = paramsJsonSchema(schema);
  return Object.entries(properties).map(([name, property]) => {
    const details = property as JsonSchema;
    return {
      name,
      type: typeText(details),
      required: required.includes(name),
      default: details.default,
      description: details.description ?? '',
    };
  });
}

/** As JSON Schema, which cannot say what float32 can hold. */
export function paramsJsonSchema(schema: ParamsSchema): JsonSchema {
  return toJsonSchema(schema, { typeMode: 'input', ignoreActions: ['check'] });
}

function typeText(schema: JsonSchema): string {
  const { type, items, minimum, maximum, exclusiveMinimum, enum: choices, anyOf } = schema;
  if (choices) return `one of ${choices.join(', ')}`;
  if (anyOf) return anyOf.map((option) => typeText(option as JsonSchema)).join(' or ');
  if (Array.isArray(items)) return `[${items.map((item) => typeText(item as JsonSchema)).join(', ')}]`;
  if (type === 'array') return listText(schema);
  if (type === 'boolean') return 'true or false';
  const range = [
    minimum !== undefined && `>= ${minimum}`,
    exclusiveMinimum !== undefined && `> ${exclusiveMinimum}`,
    maximum !== undefined && `<= ${maximum}`,
  ].filter(Boolean);
  return [type === 'number' ? 'finite float32 number' : type, range.join(' and ')].filter(Boolean).join(' ');
}

/** Such as `list of 1 to 3 (integer >= 2)`. */
function listText({ items, minItems = 0, maxItems }: JsonSchema): string {
  const length = maxItems === undefined ? `at least ${minItems}` : `${minItems} to ${maxItems}`;
  return `list of ${length} (${typeText(items as JsonSchema)})`;
}
