/** What a method is: one declaration from which the CLI, the tests, the benchmarks and the pages follow. */
import * as v from 'valibot';
import { ParameterError } from '../errors';
import type { Band } from '../masks/band';
import type { Control } from '../runtime/backend';
import type { HostTensor } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';

export interface Paper {
  readonly title: string;
  readonly arxiv: string;
  readonly year: number;
}

/** Exact counts of one forward call. */
export interface Cost {
  /** Multiplications and additions of the useful work. */
  readonly flops: number;
  /** Bytes of inputs and outputs, each counted once, in f32. */
  readonly bytes: number;
  /** Bytes of state carried between calls; 0 for methods without one. */
  readonly state: number;
  /** Share of the query-key pairs that are computed, for methods that are a mask. */
  readonly visited?: number;
}

export type Inputs = Readonly<Record<string, Tensor>>;
export type HostInputs = Readonly<Record<string, HostTensor>>;
/** Extents by letter, as the input specifications name them. */
export type Letters = Readonly<Record<string, number>>;

type ParamsSchema = v.StrictObjectSchema<v.ObjectEntries, undefined>;

export interface MethodSpec<Schema extends ParamsSchema> {
  readonly name: string;
  readonly family: string;
  /** One sentence: what it computes. */
  readonly summary: string;
  readonly paper?: Paper;
  /** Shapes in letters, such as 'b n h d'. */
  readonly inputs: Readonly<Record<string, string>>;
  readonly outputs: Readonly<Record<string, string>>;
  readonly params: Schema;
  /** The mask, for methods that are one. */
  mask?(params: v.InferOutput<Schema>): Band;
  /** The mathematics in float64, in host memory; shares no code with the fast path. */
  reference(inputs: HostInputs, params: v.InferOutput<Schema>): Record<string, HostTensor<'f64'>>;
  /** On the tensors' own runtime. */
  forward(inputs: Inputs, params: v.InferOutput<Schema>, control?: Control): Promise<Record<string, Tensor>>;
  cost(letters: Letters, params: v.InferOutput<Schema>): Cost;
  /** The settings worth comparing at these extents. */
  variants(letters: Letters): v.InferInput<Schema>[];
}

export interface Method<Schema extends ParamsSchema = ParamsSchema> extends MethodSpec<Schema> {
  /** Checks params from outside and fills in the defaults; a ParameterError names the one that is wrong. */
  parse(params: unknown): v.InferOutput<Schema>;
}

export function defineMethod<const Schema extends ParamsSchema>(spec: MethodSpec<Schema>): Method<Schema> {
  return {
    ...spec,
    parse(params) {
      const result = v.safeParse(spec.params, params);
      if (result.success) return result.output;
      const [issue] = result.issues;
      const path = v.getDotPath(issue);
      const known = Object.keys(spec.params.entries).join(', ');
      if (issue.type === 'strict_object') {
        throw new ParameterError(
          path
            ? `${spec.name} has no param '${path}': expected ${known}`
            : `params of ${spec.name} must be an object, got ${issue.received}`,
        );
      }
      throw new ParameterError(
        `param ${path} of ${spec.name} must be ${issue.expected ?? 'valid'}, got ${issue.received}`,
      );
    },
  };
}
