import { type JsonSchema, toJsonSchema } from '@valibot/to-json-schema';
import type { ParamsSchema } from './params';

/** Params as JSON Schema, which cannot say what float32 can hold, nor infinity. Apart from what pages load with every method. */
export function paramsJsonSchema(schema: ParamsSchema): JsonSchema {
  return toJsonSchema(schema, { typeMode: 'input', ignoreActions: ['check', 'finite'] });
}
