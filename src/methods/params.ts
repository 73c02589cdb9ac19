/** What a method's params look like to a user, derived from their schema. */
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

/** As JSON Schema, whose numbers are finite without saying so. */
export function paramsJsonSchema(schema: ParamsSchema): JsonSchema {
  return toJsonSchema(schema, { typeMode: 'input', ignoreActions: ['finite'] });
}

function typeText({ type, items, minimum, maximum, exclusiveMinimum, enum: choices }: JsonSchema): string {
  if (choices) return `one of ${choices.join(', ')}`;
  if (Array.isArray(items)) return `[${items.map((item) => typeText(item as JsonSchema)).join(', ')}]`;
  if (type === 'boolean') return 'true or false';
  const range = [
    minimum !== undefined && `>= ${minimum}`,
    exclusiveMinimum !== undefined && `> ${exclusiveMinimum}`,
    maximum !== undefined && `<= ${maximum}`,
  ].filter(Boolean);
  return [type === 'number' ? 'finite number' : type, range.join(' and ')].filter(Boolean).join(' ');
}
