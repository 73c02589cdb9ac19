/**
 * Score modifiers in WGSL.
 *
 * `scoreCode` gives what a kernel with a modifier needs. A kernel puts `shader` into its variant (equal shaders are equal
 * pipelines: captured numbers and extents are numbers of the dispatch, captured tensors operands, and no part of it), and
 * in its body calls
 *
 *   modified(score, b, h, q, k)         the new score, of a scaled score, its batch, query head, query and key (u32)
 *   modified_slope(score, b, h, q, k)   d new score / d score: for 'gradients' and 'tables'
 *   table_index0(..), table_factor0(..) for 'tables', and so on for each of `shader.places`: an element of a captured
 *                                       table or tensor that the new score changes with (i32; outside there is none), and how
 *
 *   const code = scoreCode(call.score, extent, 'gradients');
 *   const kernel = kernelFor({ .., score: code.shader });   // { operands: { .., ...score.operands },
 *                                                           //   numbers: { .., ...score.numbers },
 *                                                           //   body: functions(..., ...score.functions) + score.text + .. }
 *   dispatch: { kernel, operands: { .., ...scoreOperands(code, workspace) }, numbers: { .., ...code.numbers }, .. }
 *
 * Without a modifier the new score is the score. Values are f32, or i32 where they are integers throughout
 * (expressions/typed.ts); what is rounded is rounded after each operation. Bits, remainders, comparisons, zeros, infinities
 * and NaN are JavaScript's. All captured tables are one operand of 32-bit words.
 */

import { BoundedMap } from '../../../bounded-map';
import type { Expression } from '../../../expressions/expression';
import { typedValue } from '../../../expressions/typed';
import type { Extent } from '../../../masks/mask';
import type { Kernel, OperandSpec, Region } from '../../../runtime/webgpu/kernel';
import {
  tensorOperands,
  tensorSizes,
  tensorsCode,
  type Words,
  Writer,
} from '../../../runtime/webgpu/kernels/expressions';
import type { FunctionName } from '../../../runtime/webgpu/kernels/functions';
import type { Workspace } from '../../../runtime/webgpu/plan';
import type { Score } from '../../../scores/score';
import type { Tensor } from '../../../tensor/tensor';

/** What a pipeline depends on; plain data. */
export interface ScoreShader {
  /** Whether there is a modifier. */
  readonly modifies: boolean;
  /** From functions.ts. */
  readonly functions: readonly FunctionName[];
  readonly text: string;
  readonly operands: Readonly<Record<string, OperandSpec>>;
  readonly numbers: NonNullable<Kernel['numbers']>;
  /** How many places read captured tables and tensors. */
  readonly places: number;
}

/** A modifier for one problem. */
export interface ScoreCode {
  readonly shader: ScoreShader;
  readonly numbers: Readonly<Record<string, number>>;
  readonly tables: readonly Words[];
  readonly tensors: readonly Tensor[];
  readonly owner: object;
}

type Purpose = 'scores' | 'gradients' | 'tables';

const PLAIN: ScoreShader = {
  modifies: false,
  functions: [],
  text: `
fn modified(score: f32, b: u32, h: u32, q: u32, k: u32) -> f32 { return score; }
fn modified_slope(score: f32, b: u32, h: u32, q: u32, k: u32) -> f32 { return 1.0; }`,
  operands: {},
  numbers: {},
  places: 0,
};
const NO_SCORE: ScoreCode = { shader: PLAIN, numbers: {}, tables: [], tensors: [], owner: PLAIN };

/** Problems for which the code of a modifier is kept. */
const KEPT = 16;
const known = new WeakMap<Expression, BoundedMap<string, ScoreCode>>();

/** The code of a modifier for problems of that extent; a ParameterError for what 32 bits cannot hold. */
export function scoreCode(score: Score | undefined, extent: Extent, purpose: Purpose): ScoreCode {
  if (!score) return NO_SCORE;
  const codes = known.get(score.expression) ?? new BoundedMap<string, ScoreCode>(KEPT);
  known.set(score.expression, codes);
  const { b, h, n, m } = extent;
  const code = codes.get([b, h, n, m, purpose].join(), () => write(score, extent, purpose));
  if (score.numbers.length === 0 && score.tensors.length === 0) return code;
  const tensors = score.tensors.map(({ tensor }) => tensor);
  const numbers = Object.fromEntries(score.numbers.map((value, at) => [`c${at}`, value]));
  return { ...code, tensors, numbers: { ...code.numbers, ...numbers, ...tensorSizes(tensors) } };
}

/** The operands of its shader. */
export function scoreOperands({ tables, tensors, owner }: ScoreCode, workspace: Workspace): Record<string, Region> {
  const operands = tensorOperands(tensors);
  if (tables.length === 0) return operands;
  return { ...operands, score_tables: workspace.keep(owner, tables.map(nameOf).join(), () => joined(tables)) };
}

function write(score: Score, extent: Extent, purpose: Purpose): ScoreCode {
  const writer = new Writer();
  const names = score.tensors.map(({ name }) => name);
  const add = (name: string, expression: Expression, results?: 'integer') => {
    const { value, tables } = typedValue(score.name, expression, extent, results, names);
    writer.add(name, [value], { parameters: 'score: f32, b: u32, h: u32, q: u32, k: u32', inputs: ['score'], tables });
  };
  add('modified', score.expression);
  if (purpose !== 'scores') add('modified_slope', score.derivative);
  const places = purpose === 'tables' ? score.tables : [];
  places.forEach(({ index, factor }, at) => {
    add(`table_index${at}`, index, 'integer');
    add(`table_factor${at}`, factor);
  });
  const { functions, text, numbers, values, tables } = writer.code();
  const captured = tensorsCode(names.map(() => 'f32'));
  return {
    shader: {
      modifies: true,
      functions: [...captured.functions, ...functions],
      places: places.length,
      text: `${captured.text}${text}`,
      operands: { ...captured.operands, ...(tables.length > 0 && { score_tables: { access: 'read' } as const }) },
      numbers: { ...captured.numbers, ...numbers },
    },
    numbers: values,
    tables,
    tensors: [],
    owner: score.expression,
  };
}

/** Names that tell tables apart. */
const names = new WeakMap<Words, string>();
let named = 0;

function nameOf(table: Words): string {
  const name = names.get(table) ?? `${named++}`;
  names.set(table, name);
  return name;
}

function joined(tables: readonly Words[]): Int32Array {
  const parts = tables.map((table) => new Int32Array(table.buffer, table.byteOffset, table.length));
  // One alone may be large, and is copied to the device as it is.
  if (parts.length === 1) return parts[0] as Int32Array;
  const words = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let first = 0;
  for (const part of parts) {
    words.set(part, first);
    first += part.length;
  }
  return words;
}
