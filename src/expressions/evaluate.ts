/** Evaluation in float64, exactly as JavaScript would: of one pair of query and key, or over elements. */
import { getOrMake } from '../bounded-map';
import type { Expression, InputName } from './expression';
import { OPERATIONS } from './operations';
import { stepsOf, stepsOfAll } from './steps';

/** Values that are the same for all pairs of a head, including the captured numbers c0, ... and tensors t0, .... */
export interface Fixed extends Readonly<Record<'b' | 'h' | 'n' | 'm', number>> {
  readonly numbers?: readonly number[];
  readonly tensors?: readonly Float64Array[];
}

/** One element for each step, as operations take arrays. */
const memories = new WeakMap<Expression, Float64Array[]>();

/** The value at one point; booleans are 0 and 1. */
export function evaluate(expression: Expression, q: number, k: number, fixed: Fixed, score = Number.NaN): number {
  const steps = stepsOf(expression);
  const values = getOrMake(memories, expression, () => steps.map(() => new Float64Array(1)));
  for (let at = 0; at < steps.length; at++) {
    const { node, args } = steps[at]!;
    const out = values[at]!;
    if ('value' in node) out[0] = node.value;
    else if ('name' in node) {
      const { name } = node;
      if (name[0] === 't') values[at] = fixed.tensors![Number(name.slice(1))]!;
      else if (name[0] === 'c') out[0] = fixed.numbers![Number(name.slice(1))]!;
      else out[0] = name === 'q' ? q : name === 'k' ? k : name === 'score' ? score : fixed[name as 'b'];
    } else {
      const x = values[args[0]!]!;
      if ('table' in node) out[0] = node.table.values[x[0]!] ?? Number.NaN;
      else OPERATIONS[node.operation].loop(out, x, values[args[1] ?? 0]!, values[args[2] ?? 0]!, 1);
    }
  }
  return values[steps.length - 1]![0]!;
}

/** Number expressions over `count` elements each of their inputs. */
export function evaluateAll(
  expressions: readonly Expression[],
  count: number,
  inputOf: (name: InputName) => Float64Array,
): Float64Array[] {
  const { steps, roots } = stepsOfAll(expressions);
  const values: Float64Array[] = [];
  for (const { node, args } of steps) {
    if ('name' in node) values.push(inputOf(node.name));
    else {
      const out = new Float64Array(count);
      const operand = (at: number) => values[args[at] ?? args[0] ?? 0] ?? out;
      if ('value' in node) out.fill(node.value);
      else if ('table' in node) out.set(operand(0).map((index) => node.table.values[index] ?? Number.NaN));
      else OPERATIONS[node.operation].loop(out, operand(0), operand(1), operand(2), count);
      values.push(out);
    }
  }
  return roots.map((root) => values[root] as Float64Array);
}
