/**
 * Score modifiers in WGSL.
 *
 * `scoreCode` gives what a kernel with a modifier needs. A kernel puts `shader` into its variant (equal shaders are equal
 * pipelines: captured numbers and extents are numbers of the dispatch and no part of it), and in its body calls
 *
 *   modified(score, b, h, q, k)         the new score, of a scaled score, its batch, query head, query and key (u32)
 *   modified_slope(score, b, h, q, k)   d new score / d score: for 'gradients' and 'tables'
 *   table_index0(..), table_factor0(..) for 'tables', and so on for each of `shader.places`: an element of a captured
 *                                       table that the new score changes with (i32; outside of it there is none), and how
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
import { typedValue } from '../../../expressions/typed';
import type { Extent } from '../../../masks/mask';
import type { Kernel, OperandSpec, Region } from '../../../runtime/webgpu/kernel';
import { type Words, Writer } from '../../../runtime/webgpu/kernels/expressions';
import type { FunctionName } from '../../../runtime/webgpu/kernels/functions';
import type { Workspace } from '../../../runtime/webgpu/queue';
import { type Score, tablesOf } from '../../../scores/score';

/** What a pipeline depends on; plain data. */
export interface ScoreShader {
  /** Whether there is a modifier. */
  readonly modifies: boolean;
  /** From functions.ts. */
  readonly functions: readonly FunctionName[];
  readonly text: string;
  readonly operands: Readonly<Record<string, OperandSpec>>;
  readonly numbers: NonNullable<Kernel['numbers']>;
  /** How many places read captured tables. */
  readonly places: number;
}

/** A modifier for one problem. */
export interface ScoreCode {
  readonly shader: ScoreShader;
  readonly numbers: Readonly<Record<string, number>>;
  /** Of each place, where its table lies among the elements of all tables that change the score. */
  readonly places: readonly { readonly first: number; readonly length: number }[];
  readonly tables: readonly Words[];
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
const NO_SCORE: ScoreCode = { shader: PLAIN, numbers: {}, places: [], tables: [], owner: PLAIN };

/** Problems for which the code of a modifier is kept. */
const KEPT = 16;
const known = new WeakMap<Score, BoundedMap<string, ScoreCode>>();

/** The code of a modifier for problems of that extent; a ParameterError for what 32 bits cannot hold. */
export function scoreCode(score: Score | undefined, extent: Extent, purpose: Purpose): ScoreCode {
  if (!score) return NO_SCORE;
  const codes = known.get(score) ?? new BoundedMap<string, ScoreCode>(KEPT);
  known.set(score, codes);
  const { b, h, n, m } = extent;
  return codes.get([b, h, n, m, purpose].join(), () => write(score, extent, purpose));
}

/** The operands of its shader. */
export function scoreOperands({ tables, owner }: ScoreCode, workspace: Workspace): Record<string, Region> {
  if (tables.length === 0) return {};
  return { score_tables: workspace.keep(owner, tables.map(nameOf).join(), () => joined(tables)) };
}

function write(score: Score, extent: Extent, purpose: Purpose): ScoreCode {
  const writer = new Writer();
  const add = (name: string, expression: Score['expression'], results?: 'integer') => {
    const { value, tables } = typedValue(score.name, expression, extent, results);
    writer.add(name, [value], { parameters: 'score: f32, b: u32, h: u32, q: u32, k: u32', inputs: ['score'], tables });
  };
  add('modified', score.expression);
  if (purpose !== 'scores') add('modified_slope', score.derivative);
  const places = purpose === 'tables' ? score.tables : [];
  places.forEach(({ index, factor }, at) => {
    add(`table_index${at}`, index, 'integer');
    add(`table_factor${at}`, factor);
  });
  const all = tablesOf(score);
  const { functions, text, numbers, values, tables } = writer.code();
  return {
    shader: {
      ...{ modifies: true, functions, text, numbers, places: places.length },
      operands: tables.length > 0 ? { score_tables: { access: 'read' } } : {},
    },
    numbers: values,
    places: places.map(({ table }) => ({
      first: all.slice(0, all.indexOf(table)).reduce((sum, { values }) => sum + values.length, 0),
      length: table.values.length,
    })),
    tables,
    owner: score,
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
